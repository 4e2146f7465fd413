"""Pages of a project's rows: each row once, newest first, whatever is added meanwhile."""

from __future__ import annotations

from uuid import UUID

import pytest
from sqlmodel import col, select

from backend.models import Template
from backend.services.lists.paging import Page, PageRequest, fetch_page
from tests.world import World


async def _page(world: World, page: PageRequest) -> Page[Template]:
    query = select(Template).where(col(Template.project_id) == world.project_id)
    async with world.platform.database.session() as session:
        return await fetch_page(session, query, col(Template.id), page)


async def _templates(world: World, count: int) -> list[UUID]:
    """Return the ids of new templates, the newest first."""
    return [(await world.template(name=f"template {n}")).id for n in range(count)][::-1]


async def test_a_cursor_leads_through_all_rows_although_some_are_added(world: World) -> None:
    rows = await _templates(world, 5)
    first = await _page(world, PageRequest(limit=2))
    await _templates(world, 3)
    second = await _page(world, PageRequest(limit=2, cursor=first.next_cursor))
    third = await _page(world, PageRequest(limit=2, cursor=second.next_cursor))
    assert [row.id for page in (first, second, third) for row in page.items] == rows
    assert [page.has_more for page in (first, second, third)] == [True, True, False]
    assert third.next_cursor is None


@pytest.mark.parametrize(("offset", "count"), [(0, 3), (2, 1), (3, 0), (50, 0)])
async def test_an_offset_skips_rows_and_the_total_counts_them(
    world: World, offset: int, count: int
) -> None:
    rows = await _templates(world, 3)
    page = await _page(world, PageRequest(limit=10, offset=offset))
    assert [row.id for row in page.items] == rows[offset:]
    assert (len(page.items), page.total, page.has_more) == (count, 3, False)


async def test_a_full_page_that_is_the_last_has_nothing_after_it(world: World) -> None:
    await _templates(world, 2)
    page = await _page(world, PageRequest(limit=2))
    assert (len(page.items), page.has_more) == (2, False)
