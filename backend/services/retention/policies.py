"""What each project wants forgotten, and up to which message that is due now.

A project that says nothing gets the server's settings. Limits are ids, because an id is a time; the
database's clock decides.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Literal
from uuid import UUID

import psycopg

from backend.models.partitions import first_id

# Longer than anything has been kept: a day count that Python cannot subtract would spoil every
# project's retention.
_LONGEST_DAYS: Final = 100 * 366
# Ids count from here.
_FIRST: Final = datetime(1970, 1, 1, tzinfo=UTC)
# Ids are made a little before their rows are committed, maybe on another machine's clock.
SETTLED_AFTER: Final = timedelta(seconds=90)

_CONTENT: Final = """
SELECT id, now(), content_retention,
    CASE WHEN content_retention = 'days' THEN content_retention_days ELSE %(default)s::int END
FROM projects
WHERE content_retention IN ('nothing', 'mask', 'days') OR (content_retention IS NULL
    AND %(default)s::int > 0)
"""
_REMOVAL: Final = """
SELECT id, now(), coalesce(retention_days, %(default)s::int) FROM projects
WHERE coalesce(retention_days, %(default)s::int) > 0
"""


@dataclass(frozen=True, slots=True)
class Defaults:
    """Days where a project says nothing; 0: forever."""

    content_days: int
    retention_days: int


@dataclass(frozen=True, slots=True)
class ContentPolicy:
    """`nothing`: content, metadata and the recipient's middle go; `mask`: values go, their shape
    stays.
    """

    project_id: UUID
    mode: Literal["nothing", "mask"]
    before: UUID


@dataclass(frozen=True, slots=True)
class RemovalPolicy:
    """The project's messages with a smaller id than `before` go."""

    project_id: UUID
    before: UUID


async def content_policies(
    connection: psycopg.AsyncConnection[Any], defaults: Defaults
) -> list[ContentPolicy]:
    cursor = await connection.execute(_CONTENT, {"default": defaults.content_days})
    policies = []
    for project_id, now, retention, days in await cursor.fetchall():
        at_once = retention in {"nothing", "mask"}
        age = SETTLED_AFTER if at_once else max(_days(days), SETTLED_AFTER)
        mode: Literal["nothing", "mask"] = "mask" if retention == "mask" else "nothing"
        policies.append(ContentPolicy(project_id, mode, _id_before(now, age)))
    return policies


async def removal_policies(
    connection: psycopg.AsyncConnection[Any], defaults: Defaults
) -> list[RemovalPolicy]:
    cursor = await connection.execute(_REMOVAL, {"default": defaults.retention_days})
    return [
        RemovalPolicy(project_id, _id_before(now, _days(days)))
        for project_id, now, days in await cursor.fetchall()
    ]


def _days(count: int) -> timedelta:
    return timedelta(days=min(max(0, count), _LONGEST_DAYS))


def _id_before(now: datetime, age: timedelta) -> UUID:
    return first_id(max(now - age, _FIRST))
