"""A user's own log-ins."""

from __future__ import annotations

from fastapi import Response

from backend.api.inputs.access import CurrentUser
from backend.api.inputs.dependencies import PageDep, ReadSessionDep, SessionDep, SessionId
from backend.api.openapi.document import error_responses
from backend.api.resources.auth.session_bodies import SessionList
from backend.api.resources.routers import api_router
from backend.services.accounts import sessions

router = api_router(prefix="/api/v1/auth/sessions", tags=["Auth"])


@router.get("", summary="List your sessions", responses=error_responses(401))
async def list_sessions(user: CurrentUser, session: ReadSessionDep, page: PageDep) -> SessionList:
    return SessionList.of(await sessions.page_of_sessions(session, user, page), user.session_id)


@router.delete(
    "/{sessionId}",
    status_code=204,
    summary="End a session",
    description="Its tokens are refused from now on; ending the current one is logging out.",
    responses=error_responses(401, 404),
)
async def end_session(session_id: SessionId, user: CurrentUser, session: SessionDep) -> Response:
    await sessions.end_session(session, user, session_id)
    return Response(status_code=204)
