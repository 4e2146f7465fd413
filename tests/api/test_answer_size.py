"""A large body never makes a larger answer, whatever is wrong with it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Final

import pytest

from tests.api.accounts import Account, Api
from tests.api.doors import BATCH, CALLBACK, NAMES, Door
from tests.api.sample_bodies import json_schema

_LIMIT_BYTES: Final = 240_000
# What an error says however little was sent: at most fifty fields, each with its remedy.
_ROOM_BYTES: Final = 16_000
# Each message of a batch has an answer of its own.
_ROOM_A_MESSAGE_BYTES: Final = 450
_READING: Final = ("POST /api/v1/messages", "POST /api/v1/send", "POST /api/v1/campaigns")
_BODIES: Final = sorted(
    name for name in NAMES if json_schema(Door.operation_of(name)) is not None and name != CALLBACK
)


def _nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = {"a": value}
    return value


def _hostile() -> Iterator[tuple[str, Any]]:
    """Yield bodies that are wrong in many places or in long ones."""
    yield "many unknown fields", {f"f{i}": 0 for i in range(20_000)}
    yield "as many as an object may have", {f"f{i}": 0 for i in range(1000)}
    yield "a long name", {"x" * 200_000: 0}
    yield "a long path", {"metadata": {"x" * 50_000: {"y" * 50_000: 1 << 70}}}
    yield "a long text", {"name": "\u2028" * 20_000, "to": "\u0001" * 15_000}
    yield "a long list", [0] * 70_000
    yield "a deep list", json.loads("[" * 900 + "]" * 900)
    yield "a deep object", _nested(200)
    yield (
        "many unknown messages",
        {"messages": [{f"f{i}": 0 for i in range(60)} for _ in range(350)]},
    )
    yield "many empty messages", {"messages": [{}] * 500}
    yield "many long names", {"messages": [{"n" * 300: 0} for _ in range(500)]}
    yield "many wrong variables", {"to": "a", "variables": {f"v{i}": None for i in range(1000)}}
    yield (
        "wrong lists",
        {"scopes": [0] * 20_000, "allowedOrigins": [0] * 20_000, "steps": [0] * 20_000},
    )
    yield (
        "wrong maps",
        {"mapping": {f"m{i}": 0 for i in range(900)}, "to": {f"k{i}": 0 for i in range(900)}},
    )


@pytest.mark.parametrize("name", _BODIES)
async def test_a_large_body_never_makes_a_larger_answer(
    api: Api, admin: Account, name: str
) -> None:
    door = await Door.open(api, admin, name)
    body = door.body()
    wrong = []
    place = _BODIES.index(name)
    for turn, (what, hostile) in enumerate(_hostile()):
        # Each operation has a quarter of them; those that read their bodies themselves have all.
        if (turn + place) % 4 and not name.startswith(_READING):
            continue
        whole = (
            {**body, **hostile} if isinstance(body, dict) and isinstance(hostile, dict) else hostile
        )
        for value in (hostile, whole):
            content = json.dumps(value).encode()
            assert len(content) < _LIMIT_BYTES + 20_000, what
            answer = await door.ask(content=content)
            room = _ROOM_BYTES
            if name == BATCH and isinstance(hostile, dict):
                room += _ROOM_A_MESSAGE_BYTES * len(hostile.get("messages", []))
            if answer.status_code >= 500 or len(answer.content) > len(content) + room:
                wrong.append(
                    (what, answer.status_code, len(content), len(answer.content), answer.text[:200])
                )
    assert wrong == []


async def test_what_is_left_out_of_an_error_is_counted(api: Api, admin: Account) -> None:
    answer = await api.post(
        admin, "/api/v1/projects", {"name": "x", **{f"f{i}": 0 for i in range(120)}}
    )
    details = answer.json()["details"]
    assert (answer.status_code, len(details["errors"]), details["moreErrors"]) == (400, 50, 70)
    assert "119 more" in answer.json()["error"]


async def test_a_batch_tells_every_message_its_first_mistake(api: Api, admin: Account) -> None:
    key = (await api.key(admin, await api.project(admin)))["key"]
    items = [{f"f{i}": 0 for i in range(30)} for _ in range(100)]
    headers = {"Authorization": f"Bearer {key}"}
    answer = await api.client.post(
        "/api/v1/messages/batch", json={"messages": items}, headers=headers
    )
    results = answer.json()["results"]
    # The first message shows all of its 30, the second the rest of fifty.
    assert [len(result["details"]["errors"]) for result in results[:4]] == [30, 20, 1, 1]
    assert [result["details"].get("moreErrors") for result in results[:4]] == [None, 10, 29, 29]
    assert {result["details"]["errors"][0]["code"] for result in results} == {"UNKNOWN_FIELD"}
