"""The one door: who asks, in which project, in which mode, and what they may do there.

Every service that reads or changes a project's things takes an `Access`. It is made here and
nowhere else, from a person's role or a key's scopes, by the tables below.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Literal, Protocol
from uuid import UUID

from sqlmodel.ext.asyncio.session import AsyncSession

from backend.errors import Forbidden, KeyScope, ProjectNotFound
from backend.models import Project, ProjectMember


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
    MANAGE_OWNERS = "make or unmake owners"
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
    VIEW_STATISTICS = "see the statistics"


_VIEWING: Final = frozenset(
    {
        Action.VIEW_PROJECT,
        Action.VIEW_MEMBERS,
        Action.VIEW_KEYS,
        Action.VIEW_CONNECTORS,
        Action.VIEW_TEMPLATES,
        Action.VIEW_ROUTES,
        Action.VIEW_MESSAGES,
        Action.VIEW_STATISTICS,
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

_OWNING: Final = frozenset({Action.DELETE_PROJECT, Action.MANAGE_OWNERS})

ALLOWED: Final[dict[Role, frozenset[Action]]] = {
    Role.VIEWER: _VIEWING,
    Role.DEVELOPER: _VIEWING | _BUILDING,
    Role.ADMIN: _VIEWING | _BUILDING | _ADMINISTERING,
    Role.OWNER: _VIEWING | _BUILDING | _ADMINISTERING | _OWNING,
}


# What a key's scope lets it do. Publishable keys have the first only, and see nothing.
SCOPES: Final[dict[str, frozenset[Action]]] = {
    "messages:send": frozenset({Action.SEND_MESSAGES}),
    "messages:read": frozenset({Action.VIEW_MESSAGES}),
    "stats:read": frozenset({Action.VIEW_STATISTICS}),
}

Mode = Literal["live", "test"]


class KeyFacts(Protocol):
    """What access needs to know of a valid API key."""

    @property
    def id(self) -> UUID: ...
    @property
    def project_id(self) -> UUID: ...
    @property
    def name(self) -> str: ...
    @property
    def mode(self) -> str: ...
    @property
    def scopes(self) -> frozenset[str]: ...


@dataclass(frozen=True, slots=True)
class Actor:
    """Who acts, for the audit log: a user or an API key, and from which address; else the
    system.
    """

    user_id: UUID | None = None
    key_id: UUID | None = None
    address: str = ""


SYSTEM: Final = Actor()


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

    @property
    def actor(self) -> Actor:
        return Actor(user_id=self.user_id, address=self.address)


@dataclass(frozen=True, slots=True)
class Access:
    """What one caller may do in one project.

    `mode`: the one a key sends in; None: a person, who chooses. `holder` names the role or the key
    for the sentence that refuses.
    """

    project_id: UUID
    actor: Actor
    mode: Mode | None
    permissions: frozenset[Action]
    holder: str
    project_name: str = ""

    @property
    def only_mode(self) -> Mode | None:
        """The only mode that may be seen; None: both.

        A test key stands in places where a live key must not, so it sees test messages only.
        """
        return "test" if self.mode == "test" else None

    def mode_seen(self, mode: Mode | None) -> Mode | None:
        """Return the mode to look at: the one that was asked for, or the only one that may be seen.

        None: both. Raises KeyScope.
        """
        if self.only_mode is None or mode == self.only_mode:
            return mode
        if mode is not None:
            raise KeyScope(f"Test key '{self.holder}' sees test messages only; use a live key.")
        return self.only_mode

    def mode_sent(self, mode: Mode | None) -> Mode:
        """Return the mode to send in: a person chooses, live without a word; a key has its own.

        Raises KeyScope.
        """
        if self.mode is None:
            return mode or "live"
        if mode not in {None, self.mode}:
            raise KeyScope(
                f"Key '{self.holder}' sends {self.mode} messages; leave out \"mode\", or use"
                " another key."
            )
        return self.mode

    def require(self, action: Action) -> None:
        """Raises Forbidden (a person's role) or KeyScope (a key's scopes)."""
        if action in self.permissions:
            return
        if self.actor.key_id is None:
            raise Forbidden(
                f"Your role '{self.holder}' may not {action}; ask an owner of"
                f" '{self.project_name}' for another."
            )
        scope = next((name for name, actions in SCOPES.items() if action in actions), None)
        if scope is None:
            raise KeyScope(f"An API key may not {action}; log in and use the access token instead.")
        raise KeyScope(
            f"API key '{self.holder}' lacks the scope '{scope}'; add it or use another key."
        )


def access_of_key(key: KeyFacts, address: str = "") -> Access:
    """Return what a valid key may do in its project."""
    granted = [SCOPES[scope] for scope in key.scopes if scope in SCOPES]
    return Access(
        project_id=key.project_id,
        actor=Actor(key_id=key.id, address=address),
        mode="test" if key.mode == "test" else "live",
        permissions=frozenset().union(*granted),
        holder=key.name,
    )


async def access_of_user(
    session: AsyncSession,
    user: UserPrincipal,
    project_id: UUID,
    action: Action = Action.VIEW_PROJECT,
) -> Access:
    """Return what a person may do in a project, `action` included.

    To someone who isn't a member it doesn't exist: ProjectNotFound; else Forbidden.
    """
    member = await ProjectMember.find(session, project_id, user.user_id)
    project = await Project.find(session, project_id) if member is not None else None
    if member is None or project is None:
        raise ProjectNotFound
    access = Access(
        project_id=project_id,
        actor=user.actor,
        mode=None,
        permissions=ALLOWED[Role(member.role)],
        holder=member.role,
        project_name=project.name,
    )
    access.require(action)
    return access


def owner_access(user: UserPrincipal, project: Project) -> Access:
    """Return the access of the person who is making the project."""
    role = Role.OWNER
    return Access(project.id, user.actor, None, ALLOWED[role], role.value, project.name)


def system_access(project_id: UUID, mode: Mode | None = None) -> Access:
    """Return the access of a background task, which acts for nobody."""
    return Access(project_id, SYSTEM, mode, frozenset(Action), "system")


async def project_of(session: AsyncSession, access: Access) -> Project:
    """Raises ProjectNotFound."""
    project = await Project.find(session, access.project_id)
    if project is None:
        raise ProjectNotFound
    return project
