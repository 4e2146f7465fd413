"""One page of a project's rows, newest first; a cursor stays right while rows are added."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar
from uuid import UUID

from sqlmodel import SQLModel, func, select
from sqlmodel.ext.asyncio.session import AsyncSession

RowT = TypeVar("RowT", bound=SQLModel)
ItemT = TypeVar("ItemT")


@dataclass(frozen=True, slots=True)
class PageRequest:
    """`cursor` is the id of the last row already seen; with it, `offset` counts from there."""

    limit: int = 50
    offset: int = 0
    cursor: UUID | None = None


@dataclass(frozen=True, slots=True)
class Page(Generic[ItemT]):
    items: Sequence[ItemT]
    request: PageRequest
    total: int
    next_cursor: UUID | None = None
    is_total_estimate: bool = False

    @property
    def has_more(self) -> bool:
        return self.next_cursor is not None


async def fetch_page(
    session: AsyncSession, query: Any, id_column: Any, page: PageRequest
) -> Page[Any]:
    """Return the page of `query`, a select of one model, ordered by its UUIDv7 id, newest first."""
    total = (await session.exec(select(func.count()).select_from(query.subquery()))).one()
    if page.cursor is not None:
        query = query.where(id_column < page.cursor)
    # One row more than asked for tells whether there is a next page.
    query = query.order_by(id_column.desc()).offset(page.offset).limit(page.limit + 1)
    rows = list((await session.exec(query)).all())
    items = rows[: page.limit]
    next_cursor = items[-1].id if len(rows) > page.limit else None
    return Page(items=items, request=page, total=total, next_cursor=next_cursor)
