"""Passwords: right ones pass, others do not, whatever they are made of."""

from __future__ import annotations

import time
from typing import Final

import pytest

from backend.errors import ValidationFailed
from backend.services.accounts.passwords import check_new_password, hash_password, verify_password

COST: Final = 10


@pytest.mark.parametrize("password", ["correct horse", "pässwörd 🔑", "nul\0inside", "x" * 1024])
async def test_a_password_is_known_again(password: str) -> None:
    hashed = await hash_password(password, cost=COST)
    assert await verify_password(password, hashed, cost=COST)
    assert not await verify_password(password[:-1], hashed, cost=COST)


async def test_two_hashes_of_a_password_differ() -> None:
    assert await hash_password("correct horse", cost=COST) != await hash_password(
        "correct horse", cost=COST
    )


async def test_no_account_is_wrong_after_the_same_time() -> None:
    hashed = await hash_password("correct horse", cost=COST)

    async def fastest(password_hash: str | None) -> float:
        times = []
        for _ in range(5):
            started = time.process_time()
            assert not await verify_password("wrong", password_hash, cost=COST)
            times.append(time.process_time() - started)
        return min(times)

    # Of the processor, and the fastest of five: the machine's noise only ever adds time.
    assert 0.6 < await fastest(None) / await fastest(hashed) < 1.6


@pytest.mark.parametrize(
    "password",
    ["password", "Password1", "12345678", "QWERTYUIOP", " iloveyou ", "football", "trustno1"],
)
def test_a_password_that_everybody_tries_is_refused(password: str) -> None:
    with pytest.raises(ValidationFailed, match="most used") as caught:
        check_new_password(password, "newPassword")
    assert [(error.field, error.code) for error in caught.value.errors] == [
        ("newPassword", "COMMON_PASSWORD")
    ]


@pytest.mark.parametrize("password", ["correct horse battery", "päß-wörter", "Harbour-4711-Clinic"])
def test_another_password_is_taken(password: str) -> None:
    """No ValidationFailed."""
    check_new_password(password)


@pytest.mark.parametrize("password", ["short", "x" * 1025])
def test_a_password_has_its_length(password: str) -> None:
    with pytest.raises(ValidationFailed, match="8 to 1024"):
        check_new_password(password)
