"""A NUL character, which Postgres stores in no text, is refused wherever it stands, by the name of
the place it stands in, and never with a 500.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Final

import pytest
from httpx import Response

from tests.api.accounts import Account, Api
from tests.api.doors import BATCH, CALLBACK, NAMES, Door, Path, errors_in, written

NUL: Final = "a\0b"
# How errors write the name "a\0b": without what can't be printed.
PRINTED: Final = NUL.replace("\0", "")


def _spoiled(value: Any) -> Iterator[tuple[Path, Any]]:
    """Yield copies of the body with a NUL in one of its texts or in one new name, and its path."""
    if isinstance(value, str):
        yield (), NUL
    elif isinstance(value, dict):
        for name, item in value.items():
            for path, spoiled in _spoiled(item):
                yield (name, *path), {**value, name: spoiled}
        yield (PRINTED,), {**value, NUL: NUL}
    elif isinstance(value, list):
        for i, item in enumerate(value):
            for path, spoiled in _spoiled(item):
                yield (i, *path), [*value[:i], spoiled, *value[i + 1 :]]


def _is_refused_by_name(door: Door, answer: Response, place: str) -> bool:
    """Say whether the answer refuses `place`: as a wrong field, or as an id that doesn't exist."""
    if answer.status_code == 404:
        noun = place.removesuffix("Id").upper()
        return place.endswith("Id") and answer.json()["code"] == f"{noun}_NOT_FOUND"
    if door.name == BATCH and place.startswith("messages["):
        # Each message of a batch has a verdict of its own.
        is_refused = answer.status_code == 200 and answer.json()["accepted"] == 0
    else:
        is_refused = answer.status_code == 400
    return is_refused and place in {error["field"] for error in errors_in(answer)}


@pytest.mark.parametrize("name", NAMES)
async def test_a_nul_is_refused_in_every_place_by_its_name(
    api: Api, admin: Account, name: str
) -> None:
    door = await Door.open(api, admin, name)
    body = door.body()
    content = None if body is None else json.dumps(body).encode()
    answers = [
        (place, await door.ask(query={place: NUL}, content=content))
        for place in door.parameters("query")
    ]
    answers += [
        (place, await door.ask(path={place: "a%00b"}, content=content))
        for place in door.parameters("path")
    ]
    if name != CALLBACK:  # What a provider sends is kept as it came, whatever is in it.
        answers += [
            (written(path), await door.ask(content=json.dumps(spoiled).encode()))
            for path, spoiled in _spoiled(body)
        ]
    accepted = [
        f"{place}: {answer.status_code} {answer.text[:200]}"
        for place, answer in answers
        if not _is_refused_by_name(door, answer, place)
    ]
    assert accepted == []
