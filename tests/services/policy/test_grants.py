"""What a send token grants: one recipient, by name or by hash, and variables that stay plain."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from backend.errors import SendBlocked, ValidationFailed
from backend.services.keys.send_tokens import recipient_hash
from backend.services.policy.grants import merged_variables
from backend.services.policy.request import Grant

NOW = datetime.now(UTC)


def test_a_token_for_a_recipient_allows_no_other() -> None:
    grant = Grant("jti", NOW, to="+14155550100", to_hash=None)
    assert grant.allows("+14155550100", "+14155550100")
    assert not grant.allows("+14155550101", "+14155550100")


def test_a_token_for_a_hash_allows_the_recipient_with_it_and_no_other() -> None:
    grant = Grant("jti", NOW, to=None, to_hash=recipient_hash("ada@example.com"))
    assert grant.allows("ada@example.com", None)
    assert not grant.allows("eve@example.com", None)


def test_a_page_fills_in_what_the_token_does_not_lock() -> None:
    assert merged_variables({"name": "Ada"}, {"code": "4711"}) == {"name": "Ada", "code": "4711"}
    with pytest.raises(SendBlocked, match="'code'"):
        merged_variables({"code": "0000"}, {"code": "4711"})


@pytest.mark.parametrize(
    "value",
    [
        "https://evil.example", "www.evil.example", "evil.example", "mail me: eve@evil.example",
        "evil\u3002example", "ev\u200bil.example", {"a": 1}, ["a"], "x" * 201,
    ],
)  # fmt: skip
def test_a_page_sets_no_link_and_nothing_long_or_nested(value: Any) -> None:
    with pytest.raises(ValidationFailed) as refused:
        merged_variables({"name": value}, {})
    assert [error.field for error in refused.value.errors] == ["variables.name"]


@pytest.mark.parametrize("value", ["Ada Lovelace", "4711", 4711, True, "7.5 kg", "a" * 200])
def test_a_page_sets_plain_values(value: Any) -> None:
    assert merged_variables({"name": value}, {}) == {"name": value}
