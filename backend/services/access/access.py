"""Who may do what in a project: one table of roles and actions, and the one check against it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final
from uuid import UUID

from sqlmodel.ext.asyncio.session import AsyncSession

from backend.errors import Forbidden, ProjectNotFound
from backend.models import Project, ProjectMember


@dataclass(frozen=True, slots=True)
class UserPrincipal:
    """A person who is logged in. `address` is where the request came from, for the audit log.

    `is_confirmed`: the e-mail address is known to be the person's own.
    """

    user_id: UUID
    session_id: UUID
    email: str
    is_platform_admin: bool = False
    address: str = ""
    is_confirmed: bool = False


class Role(StrEnum):
    OWNER = "owner"
    ADMIN = "admin"
    DEVELOPER = "developer"
    VIEWER = "viewer"


class Action(StrEnum):
    VIEW_PROJECT = "view the project"
    UPDATE_PROJECT = "change the project"
    DELETE_PROJECT = "delete the project"
    VIEW_MEMBERS = "see the members"
    MANAGE_MEMBERS = "manage the members"
    VIEW_AUDIT = "see the audit log"
    VIEW_KEYS = "see the keys"
    MANAGE_KEYS = "manage the keys"
    VIEW_CONNECTORS = "see the connectors"
    MANAGE_CONNECTORS = "manage the connectors"
    VIEW_TEMPLATES = "see the templates"
    MANAGE_TEMPLATES = "manage the templates"
    VIEW_ROUTES = "see the routes"
    MANAGE_ROUTES = "manage the routes"
    VIEW_MESSAGES = "see the messages"
    SEND_MESSAGES = "send messages"


_VIEWING: Final = frozenset(
    {
        Action.VIEW_PROJECT,
        Action.VIEW_MEMBERS,
        Action.VIEW_KEYS,
        Action.VIEW_CONNECTORS,
        Action.VIEW_TEMPLATES,
        Action.VIEW_ROUTES,
        Action.VIEW_MESSAGES,
    }
)
_BUILDING: Final = frozenset(
    {
        Action.MANAGE_KEYS,
        Action.MANAGE_CONNECTORS,
        Action.MANAGE_TEMPLATES,
        Action.MANAGE_ROUTES,
        Action.SEND_MESSAGES,
    }
)
_ADMINISTERING: Final = frozenset({Action.UPDATE_PROJECT, Action.MANAGE_MEMBERS, Action.VIEW_AUDIT})

ALLOWED: Final[dict[Role, frozenset[Action]]] = {
    Role.VIEWER: _VIEWING,
    Role.DEVELOPER: _VIEWING | _BUILDING,
    Role.ADMIN: _VIEWING | _BUILDING | _ADMINISTERING,
    Role.OWNER: _VIEWING | _BUILDING | _ADMINISTERING | {Action.DELETE_PROJECT},
}


async def require_project(
    session: AsyncSession, principal: UserPrincipal, project_id: UUID, action: Action
) -> Project:
    """Return the project.

    To someone who isn't a member it doesn't exist: ProjectNotFound; else Forbidden.
    """
    member = await ProjectMember.find(session, project_id, principal.user_id)
    project = await Project.find(session, project_id) if member is not None else None
    if member is None or project is None:
        raise ProjectNotFound
    if action not in ALLOWED[Role(member.role)]:
        raise Forbidden(
            f"Your role '{member.role}' may not {action}; ask an owner of '{project.name}' for"
            " another."
        )
    return project
