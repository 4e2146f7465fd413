"""Who may see and steer a campaign: a member of its project by role, or one of the project's secret
keys by scope.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Literal, NamedTuple
from uuid import UUID

from fastapi import Request
from sqlmodel.ext.asyncio.session import AsyncSession

from backend import ids
from backend.api.inputs.dependencies import decoded
from backend.api.resources.messages.access import (
    project_of_key,
    project_of_user,
    require_sending_key,
)
from backend.errors import CampaignNotFound, KeyScope, ProjectNotFound
from backend.services.access.access import Action, UserPrincipal, require_project
from backend.services.campaigns.campaigns import find_project_of
from backend.services.catalog.catalog import CatalogKey
from backend.services.policy.sender import Sender


class Reach(NamedTuple):
    """`mode`: the only one to be seen, None: both. `actor`: the person, for the audit log."""

    project_id: UUID
    mode: str | None
    actor: UserPrincipal | None


async def reach_of_project(
    session: AsyncSession,
    principal: UserPrincipal | CatalogKey,
    request: Request,
    project_id: str | None,
) -> Reach:
    """For reading.

    Raises ValidationFailed, ProjectNotFound, Forbidden, KeyScope or OriginNotAllowed.
    """
    if isinstance(principal, UserPrincipal):
        return Reach(await project_of_user(session, principal, project_id), None, principal)
    return Reach(project_of_key(principal, request, project_id), _mode_of(principal), None)


async def reach_of_campaign(
    session: AsyncSession,
    principal: UserPrincipal | CatalogKey,
    request: Request,
    campaign_id: UUID,
    action: Action = Action.VIEW_MESSAGES,
) -> Reach:
    """Not a member: CampaignNotFound; else Forbidden. Raises KeyScope, OriginNotAllowed."""
    if isinstance(principal, UserPrincipal):
        project_id = await find_project_of(session, campaign_id)
        try:
            await require_project(session, principal, project_id, action)
        except ProjectNotFound as exc:
            raise CampaignNotFound from exc
        return Reach(project_id, None, principal)
    if action == Action.SEND_MESSAGES:
        require_sending_key(principal, request)
        return Reach(principal.project_id, _mode_of(principal), None)
    return Reach(project_of_key(principal, request), _mode_of(principal), None)


async def sender(
    session: AsyncSession,
    principal: UserPrincipal | CatalogKey,
    request: Request,
    *,
    project_id: str | None,
) -> Sender:
    """Return who sends the campaign. Raises as reading does."""
    if isinstance(principal, UserPrincipal):
        return Sender(
            await project_of_user(session, principal, project_id, Action.SEND_MESSAGES), "live"
        )
    require_sending_key(principal, request)
    if project_id and decoded(ids.PROJECT, project_id, ProjectNotFound) != principal.project_id:
        raise ProjectNotFound
    return Sender.of_key(principal)


def of_mode(caller: Sender, mode: Literal["live", "test"] | None) -> Sender:
    """A person chooses, a key has its own. Raises KeyScope."""
    if mode is None or mode == caller.mode:
        return caller
    if caller.key is not None:
        raise KeyScope(
            f"Key '{caller.key.name}' makes {caller.mode} campaigns; leave out \"mode\", or use"
            " another key."
        )
    return replace(caller, mode=mode)


def _mode_of(key: CatalogKey) -> str | None:
    """A test key stands in places a live one must not: it sees test campaigns only."""
    return "test" if key.mode == "test" else None
