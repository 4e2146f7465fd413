"""An instant outside the years 2000 to 2199 is refused by its name at every door, and never
stored.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from typing import Any, Final

import pytest
from sqlalchemy import text
from sqlmodel import SQLModel

from tests.api.accounts import Account, Api
from tests.api.doors import BATCH, DOCUMENT, NAMES, Door, errors_in
from tests.api.sample_bodies import json_schema

# Both can be written, and neither in UTC: the one lies in the year 0 there, the other in the year
# 10000.
OUT_OF_RANGE: Final = (
    "0001-01-01T00:00:00+14:00",
    "9999-12-31T23:59:59-14:00",
    "1999-12-31T23:59:59Z",
    "2200-01-01T00:00:00Z",
)


def _is_instant(schema: dict[str, Any]) -> bool:
    ways = [schema, *schema.get("anyOf", [])]
    return any(way.get("format") == "date-time" for way in ways)


def _instants(
    schema: dict[str, Any] | None, path: tuple[str, ...] = ()
) -> Iterator[tuple[str, ...]]:
    """Yield where instants stand in a body."""
    if schema is None:
        return
    if "$ref" in schema:
        schema = DOCUMENT["components"]["schemas"][schema["$ref"].rsplit("/", 1)[-1]]
    if _is_instant(schema):
        yield path
    for word in ("anyOf", "oneOf", "allOf"):
        for item in schema.get(word, []):
            yield from _instants(item, path) if not _is_instant(schema) else ()
    for name, item in schema.get("properties", {}).items():
        yield from _instants(item, (*path, name))
    if schema.get("type") == "array":
        yield from _instants(schema.get("items"), (*path, "[0]"))


def _body(path: tuple[str, ...], instant: str) -> Any:
    """Return a body that has the instant, and of everything else nothing."""
    if not path:
        return instant
    name, *rest = path
    inner = _body(tuple(rest), instant)
    return [inner] if name == "[0]" else {name: inner}


def _written(path: tuple[str, ...]) -> str:
    return ".".join(path).replace(".[0]", "[0]")


FIELDS: Final = sorted(
    {(name, path) for name in NAMES for path in _instants(json_schema(Door.operation_of(name)))}
)
QUERIES: Final = [
    (name, parameter["name"])
    for name in NAMES
    for parameter in Door.operation_of(name).get("parameters", [])
    if parameter["in"] == "query" and _is_instant(parameter["schema"])
]


def test_the_walk_finds_the_instants() -> None:
    assert ("POST /api/v1/messages", ("sendAt",)) in FIELDS
    assert (BATCH, ("messages", "[0]", "expiresAt")) in FIELDS
    assert ("POST /api/v1/campaigns", ("sendAt",)) in FIELDS
    assert ("GET /api/v1/messages", "from") in QUERIES


@pytest.mark.parametrize(
    ("name", "path"), FIELDS, ids=lambda item: item if isinstance(item, str) else _written(item)
)
async def test_a_body_with_an_instant_out_of_range_is_refused(
    api: Api, admin: Account, name: str, path: tuple[str, ...]
) -> None:
    door = await Door.open(api, admin, name)
    for instant in OUT_OF_RANGE:
        answer = await door.ask(content=json.dumps(_body(path, instant)).encode())
        assert answer.status_code == 400 or (name == BATCH and answer.json()["accepted"] == 0), (
            answer.text
        )
        reported = {(error["field"], error["code"]) for error in errors_in(answer)}
        # A filter is read as in a query, where its fields stand alone.
        assert {
            (_written(path), "VALIDATION_ERROR"),
            (path[-1], "VALIDATION_ERROR"),
        } & reported, answer.text


@pytest.mark.parametrize(("name", "parameter"), QUERIES)
async def test_a_filter_with_an_instant_out_of_range_is_refused(
    api: Api, admin: Account, name: str, parameter: str
) -> None:
    door = await Door.open(api, admin, name)
    for instant in OUT_OF_RANGE:
        answer = await door.ask(query={parameter: instant})
        assert answer.status_code == 400, answer.text
        assert [(item["field"], item["code"]) for item in errors_in(answer)] == [
            (parameter, "VALIDATION_ERROR")
        ]


async def _out_of_range(api: Api) -> Counter[str]:
    """Return how many stored instants are out of range, by column."""
    stored: Counter[str] = Counter()
    async with api.platform.database.engine.connect() as connection:
        for table in SQLModel.metadata.tables.values():
            for column in table.columns:
                if "TIMESTAMP" not in str(column.type).upper():
                    continue
                late = f"{column.name} < '2000-01-01Z' OR {column.name} >= '2200-01-01Z'"
                query = text(f"SELECT count(*) FROM {table.name} WHERE {late}")
                stored[f"{table.name}.{column.name}"] += (
                    await connection.execute(query)
                ).scalar_one()
    return stored


async def test_no_instant_out_of_range_was_stored(api: Api, admin: Account) -> None:
    """All that a send and a campaign need is right here, but for the instant."""
    before = await _out_of_range(api)  # what other tests have planted
    project = admin.project_id
    key = (await api.key(admin, project))["key"]
    headers = {"Authorization": f"Bearer {key}"}
    message = {"to": "ada", "connector": "sandbox", "message": "hi"}
    campaign = {"name": "Sale", "connector": "sandbox", "message": "hi", "csv": "to\nada\n"}
    whole = {"messages": message, "messages/text": message, "send": message, "campaigns": campaign}
    for path, body in whole.items():
        for field in ("sendAt", "expiresAt"):
            for instant in OUT_OF_RANGE:
                url = f"/api/v1/{path}"
                answer = await api.client.post(url, json={**body, field: instant}, headers=headers)
                assert answer.status_code == 400, (path, field, answer.text)
    for instant in OUT_OF_RANGE:
        body = {"name": "late", "expiresAt": instant}
        assert (await api.post(admin, f"/api/v1/projects/{project}/keys", body)).status_code == 400
    assert await _out_of_range(api) == before
