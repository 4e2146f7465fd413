"""ETag and If-Match: a change based on an outdated read is refused with 412.

A tag is the row's `updated_at`. If-Match is optional: without it the last write wins.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Final, Protocol, TypeVar

from fastapi import Depends, Header, Response
from pydantic import BaseModel
from sqlmodel.ext.asyncio.session import AsyncSession

from backend.errors import PreconditionFailed

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
BodyT = TypeVar("BodyT", bound=BaseModel)


class Versioned(Protocol):
    updated_at: datetime


def etag_of(row: Versioned) -> str:
    """Return the strong entity tag: the microseconds of the last change, in hexadecimal."""
    elapsed = row.updated_at - _EPOCH
    return f'"{(elapsed.days * 86_400 + elapsed.seconds) * 1_000_000 + elapsed.microseconds:x}"'


def tagged(response: Response, row: Versioned, body: BodyT) -> BodyT:
    """Return the body, and put the row's tag on the answer."""
    response.headers["ETag"] = etag_of(row)
    return body


class IfMatch:
    """The tags of a request's If-Match header; None: it has none, or `*`."""

    def __init__(self, tags: frozenset[str] | None) -> None:
        self._tags = tags

    async def check(self, session: AsyncSession, row: Versioned) -> None:
        """Lock the row for the rest of the transaction, and read it again: of two changes that
        start from the same read, the second is refused.

        Raises PreconditionFailed when the row has changed.
        """
        if self._tags is None:
            return
        await session.refresh(row, with_for_update=True)
        if (now := etag_of(row)) not in self._tags:
            raise PreconditionFailed(headers={"ETag": now})


async def _if_match(
    if_match: Annotated[
        str | None,
        Header(
            max_length=1000, description="The `ETag` that you read; 412 if it has changed since"
        ),
    ] = None,
) -> IfMatch:
    tags = frozenset(tag.strip() for tag in (if_match or "").split(",") if tag.strip())
    return IfMatch(None if not tags or "*" in tags else tags)


IfMatchDep = Annotated[IfMatch, Depends(_if_match)]
