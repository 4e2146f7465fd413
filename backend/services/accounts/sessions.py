"""A user's log-ins, to look through and to end one by one."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from uuid import UUID

from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from backend.errors import SessionNotFound
from backend.models import AuthSession, User
from backend.models.base import utc_now
from backend.models.session import Change
from backend.services.access import audit
from backend.services.access.access import UserPrincipal
from backend.services.lists.paging import Page, PageRequest, fetch_page


async def page_of_sessions(
    session: AsyncSession, principal: UserPrincipal, page: PageRequest
) -> Page[AuthSession]:
    """The live ones, newest first."""
    query = select(AuthSession).where(
        col(AuthSession.user_id) == principal.user_id,
        col(AuthSession.revoked_at).is_(None),
        col(AuthSession.expires_at) > utc_now(),
    )
    return await fetch_page(session, query, AuthSession.id, page)


async def live_sessions(session: AsyncSession, session_ids: Collection[UUID]) -> set[UUID]:
    """Return those of the log-ins that still hold: neither ended nor expired, of active users."""
    query = (
        select(AuthSession.id)
        .join(User, col(User.id) == col(AuthSession.user_id))
        .where(
            col(AuthSession.id).in_(session_ids),
            col(AuthSession.revoked_at).is_(None),
            col(AuthSession.expires_at) > utc_now(),
            col(User.is_active),
        )
    )
    return set((await session.exec(query)).all())


def ended_in(changes: Iterable[Change]) -> set[UUID]:
    """Return the log-ins that have ended by these changes."""
    return {change.id for change in changes if change.kind == "session"}


async def end_session(session: AsyncSession, principal: UserPrincipal, session_id: UUID) -> None:
    """Its tokens and cookie are refused from the commit on.

    Raises SessionNotFound for another user's.
    """
    auth_session = await AuthSession.find(session, session_id)
    if (
        auth_session is None
        or auth_session.user_id != principal.user_id
        or auth_session.revoked_at is not None
    ):
        raise SessionNotFound
    auth_session.revoke(session)
    audit.record(session, principal.actor, "session.ended", subject_id=session_id)
    await session.flush()
