"""Who may touch a message: a member of its project by role, or one of the project's keys by
scope.
"""

from __future__ import annotations

from uuid import UUID

from fastapi import Request
from sqlmodel.ext.asyncio.session import AsyncSession

from backend import ids
from backend.api.inputs.access import check_origin, require_scope
from backend.api.inputs.dependencies import decoded
from backend.errors import FieldError, KeyScope, MessageNotFound, ProjectNotFound, ValidationFailed
from backend.platform import Platform
from backend.services.access.access import Action, UserPrincipal, require_project
from backend.services.catalog.catalog import CatalogKey
from backend.services.messages.actions import mode_of
from backend.services.policy.sender import Sender
from backend.services.reporting.messages import find_project_of


async def project_of_user(
    session: AsyncSession,
    user: UserPrincipal,
    project_id: str | None,
    action: Action = Action.VIEW_MESSAGES,
) -> UUID:
    """Return the project a person names. Raises ValidationFailed, ProjectNotFound or Forbidden."""
    if not project_id:
        message = 'The parameter "projectId" is missing; add it, or use an API key of the project.'
        raise ValidationFailed(errors=[FieldError("projectId", "MISSING_REQUIRED_FIELD", message)])
    wanted = decoded(ids.PROJECT, project_id, ProjectNotFound)
    await require_project(session, user, wanted, action)
    return wanted


async def project_of_message(
    session: AsyncSession, user: UserPrincipal, message_id: UUID, action: Action
) -> UUID:
    """Return the message's project.

    To someone who isn't a member it doesn't exist: MessageNotFound; else Forbidden.
    """
    project_id = await find_project_of(session, message_id)
    try:
        await require_project(session, user, project_id, action)
    except ProjectNotFound as exc:
        raise MessageNotFound from exc
    return project_id


def project_of_key(key: CatalogKey, request: Request, project_id: str | None = None) -> UUID:
    """Return the project whose messages the key reads.

    Raises KeyScope, OriginNotAllowed or ProjectNotFound.
    """
    check_origin(key, request.headers.get("origin"))
    require_scope(key, "messages:read")
    if project_id and decoded(ids.PROJECT, project_id, ProjectNotFound) != key.project_id:
        raise ProjectNotFound
    return key.project_id


def require_sending_key(key: CatalogKey, request: Request) -> None:
    """A publishable key stands in a web page: it sends templates, and touches nothing that was
    sent.
    """
    check_origin(key, request.headers.get("origin"))
    require_scope(key, "messages:send")
    if key.kind == "publishable":
        raise KeyScope(f"Publishable key '{key.name}' only sends; use a secret key on a server.")


async def resender(
    platform: Platform, principal: UserPrincipal | CatalogKey, request: Request, message_id: UUID
) -> Sender:
    """Return who sends a message once more.

    Raises as project_of_message does, or KeyScope or OriginNotAllowed.
    """
    if not isinstance(principal, UserPrincipal):
        require_sending_key(principal, request)
        return Sender.of_key(principal)
    async with platform.database.session() as session:
        project_id = await project_of_message(session, principal, message_id, Action.SEND_MESSAGES)
        mode = await mode_of(session, project_id=project_id, message_id=message_id)
    return Sender(project_id, "test" if mode == "test" else "live")
