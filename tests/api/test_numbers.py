"""A number beyond 64 bits, or beyond any, is refused by its name wherever it stands, and is never
a 500.
"""

from __future__ import annotations

from typing import Final

import pytest

from tests.api.accounts import Account, Api
from tests.api.doors import BATCH, CALLBACK, NAMES, Door, errors_in, written

TOO_LARGE: Final = "18446744073709551616"  # 2^64
INFINITE: Final = "1e400"


@pytest.mark.parametrize("name", NAMES)
async def test_a_number_that_cannot_be_stored_is_refused_by_its_name(
    api: Api, admin: Account, name: str
) -> None:
    door = await Door.open(api, admin, name)
    wrong = []
    for literal in (TOO_LARGE, INFINITE):
        for path, body in door.spoiled(literal):
            answer = await door.ask(content=body)
            is_refused = 400 <= answer.status_code < 500 or (
                name == BATCH and answer.json()["accepted"] == 0
            )
            # A batch leaves the values to its messages: of its own it says which fields it has not.
            reported = {error["field"] for error in errors_in(answer)} if is_refused else set()
            if not is_refused or (
                name != CALLBACK and not {written(path), path[0] if path else ""} & reported
            ):
                wrong.append((literal, written(path), answer.status_code, answer.text[:300]))
        # In a query and a path it may be a text that stands for nothing, but breaks nothing.
        for parameter in door.parameters("query"):
            answer = await door.ask(query={parameter: literal})
            if answer.status_code >= 500:
                wrong.append((literal, parameter, answer.status_code, answer.text[:300]))
        for parameter in door.parameters("path"):
            answer = await door.ask(path={parameter: literal})
            if answer.status_code >= 500:
                wrong.append((literal, parameter, answer.status_code, answer.text[:300]))
    assert wrong == []
