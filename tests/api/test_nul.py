"""A NUL character, which Postgres stores in no text, ends in a clear refusal wherever it stands,
and never in a 500.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Final

import pytest

from tests.api.apps import make_admin
from tests.api.conftest import Account, Api
from tests.api.doors import NAMES, Door

NUL: Final = "a\0b"


@pytest.fixture(scope="module")
async def admin(api: Api, ada: Account) -> Account:
    """May call everything; `ada`, who came first, is another administrator."""
    del ada
    account = await api.register()
    await make_admin(api, account)
    return account


def _spoiled(value: Any) -> Iterator[Any]:
    """Yield copies of the body with a NUL in one of its texts each."""
    if isinstance(value, str):
        yield NUL
    elif isinstance(value, dict):
        for name, one in value.items():
            yield from ({**value, name: spoiled} for spoiled in _spoiled(one))
        yield {**value, NUL: NUL}
    elif isinstance(value, list):
        for i, one in enumerate(value):
            yield from ([*value[:i], spoiled, *value[i + 1 :]] for spoiled in _spoiled(one))


@pytest.mark.parametrize("name", NAMES)
async def test_a_nul_is_refused(api: Api, admin: Account, name: str) -> None:
    door = await Door.open(api, admin, name)
    answers = [await door.ask(query={one: NUL}) for one in door.parameters("query")]
    answers += [await door.ask(path={one: "a%00b"}) for one in door.parameters("path")]
    answers += [await door.ask(content=json.dumps(body).encode()) for body in _spoiled(door.body())]
    wrong = [(answer.status_code, str(answer.request.url), answer.text[:200]) for answer in answers]
    assert [one for one in wrong if one[0] >= 500] == []
    # Not for want of rights, and not all taken.
    assert not {401, 403} & {answer.status_code for answer in answers}
    assert not answers or any(400 <= answer.status_code < 500 for answer in answers)
