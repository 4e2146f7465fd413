"""Bodies of /auth/sessions."""

from __future__ import annotations

from uuid import UUID

from pydantic import Field

from backend import ids
from backend.api.inputs.bodies import Instant, Pagination, ResponseBody
from backend.models.auth_session import AuthSession
from backend.services.lists.paging import Page


class SessionBody(ResponseBody):
    """One log-in: a browser, or a program that registered, logged in and refreshes."""

    id: str = Field(examples=["ses_01h455vb4pex5vsknk084sn02q"])
    address: str = Field(description="Where the log-in came from", examples=["198.51.100.7"])
    user_agent: str = Field(examples=["Mozilla/5.0"])
    created_at: Instant
    last_seen_at: Instant = Field(description="To the minute")
    expires_at: Instant
    is_current: bool = Field(description="The log-in that this call was made with")

    @classmethod
    def of(cls, auth_session: AuthSession, current_id: UUID) -> SessionBody:
        return cls(
            id=ids.encode(ids.SESSION, auth_session.id),
            address=auth_session.address,
            user_agent=auth_session.user_agent,
            created_at=auth_session.created_at,
            last_seen_at=auth_session.last_seen_at,
            expires_at=auth_session.expires_at,
            is_current=auth_session.id == current_id,
        )


class SessionList(ResponseBody):
    sessions: list[SessionBody]
    pagination: Pagination

    @classmethod
    def of(cls, page: Page[AuthSession], current_id: UUID) -> SessionList:
        return cls(
            sessions=[SessionBody.of(row, current_id) for row in page.items],
            pagination=Pagination.of(page),
        )
