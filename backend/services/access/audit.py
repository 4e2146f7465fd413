"""The audit log: who changed what, from where.

Values given here are stored as they are: no secrets.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from backend.models import AuditEntry, User
from backend.services.access.access import Access, Action, Actor
from backend.services.lists.paging import Page, PageRequest, fetch_page


@dataclass(frozen=True, slots=True)
class AuditFilter:
    """`action` is a whole action (key.created) or its noun (key). `to` is exclusive."""

    project_id: UUID | None = None
    actor_id: UUID | None = None
    key_id: UUID | None = None
    action: str | None = None
    subject_id: UUID | None = None
    from_: datetime | None = None
    to: datetime | None = None


@dataclass(frozen=True, slots=True)
class AuditLine:
    """An entry with its actor; None for the system."""

    entry: AuditEntry
    actor: User | None


async def page_of_project_entries(
    session: AsyncSession, access: Access, filters: AuditFilter, page: PageRequest
) -> Page[AuditLine]:
    """A project's entries, newest first."""
    access.require(Action.VIEW_AUDIT)
    return await page_of_entries(session, replace(filters, project_id=access.project_id), page)


def record(
    session: AsyncSession,
    actor: Actor,
    action: str,
    *,
    project_id: UUID | None = None,
    subject_id: UUID | None = None,
    before: Mapping[str, Any] | None = None,
    after: Mapping[str, Any] | None = None,
) -> None:
    """Add an entry to this transaction: it is written if the change is."""
    session.add(
        AuditEntry(
            project_id=project_id,
            actor_id=actor.user_id,
            key_id=actor.key_id,
            action=action,
            subject_id=subject_id,
            address=actor.address[:64],
            before=dict(before) if before is not None else None,
            after=dict(after) if after is not None else None,
        )
    )


def record_auth(session: AsyncSession, action: str, *, user_id: UUID | None, address: str) -> None:
    """Add what a stranger did to an account: a wrong password, or a link asked for."""
    session.add(AuditEntry(action=action, subject_id=user_id, address=address[:64]))


async def page_of_entries(
    session: AsyncSession, filters: AuditFilter, page: PageRequest
) -> Page[AuditLine]:
    """Newest first."""
    query = select(AuditEntry)
    if filters.project_id is not None:
        query = query.where(col(AuditEntry.project_id) == filters.project_id)
    if filters.actor_id is not None:
        query = query.where(col(AuditEntry.actor_id) == filters.actor_id)
    if filters.key_id is not None:
        query = query.where(col(AuditEntry.key_id) == filters.key_id)
    if filters.subject_id is not None:
        query = query.where(col(AuditEntry.subject_id) == filters.subject_id)
    if filters.action is not None:
        action = col(AuditEntry.action)
        matches = action == filters.action
        query = query.where(
            matches
            if "." in filters.action
            else matches | action.startswith(f"{filters.action}.", autoescape=True)
        )
    if filters.from_ is not None:
        query = query.where(col(AuditEntry.created_at) >= filters.from_)
    if filters.to is not None:
        query = query.where(col(AuditEntry.created_at) < filters.to)
    result: Page[AuditEntry] = await fetch_page(session, query, AuditEntry.id, page)
    actors = await User.by_ids(
        session, {entry.actor_id for entry in result.items if entry.actor_id is not None}
    )
    lines = [
        AuditLine(entry, actors.get(entry.actor_id) if entry.actor_id else None)
        for entry in result.items
    ]
    return Page(items=lines, request=page, total=result.total, next_cursor=result.next_cursor)
