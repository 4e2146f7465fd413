"""Who sends a campaign's messages: the key it was made with, whose limits count, or a member of the
project.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from backend.errors import ApiKeyExpired, InvalidApiKey, ProjectNotFound
from backend.models import ApiKey, Campaign, Project
from backend.services.accounts.quiet_hours import QuietHours
from backend.services.catalog.catalog import CatalogKey
from backend.services.policy.sender import Caller

if TYPE_CHECKING:
    from backend.platform import Platform


async def caller_of(platform: Platform, campaign: Campaign) -> Caller:
    """Raises InvalidApiKey, ApiKeyExpired or ProjectNotFound: who made it may not send any more."""
    async with platform.database.session() as session:
        project = await Project.find(session, campaign.project_id)
        key = (
            await ApiKey.find(session, campaign.project_id, campaign.key_id)
            if campaign.key_id is not None
            else None
        )
    if project is None or not project.is_active:
        raise ProjectNotFound
    if campaign.key_id is None:
        return Caller(campaign.project_id, "test" if campaign.mode == "test" else "live")
    if key is None or not key.is_active:
        raise InvalidApiKey(
            "The API key that made the campaign was revoked; make the rest a campaign of another"
            " key."
        )
    if key.expires_at is not None and key.expires_at <= datetime.now(UTC):
        raise ApiKeyExpired(f"The API key '{key.name}', which made the campaign, has expired.")
    return Caller.of_key(
        CatalogKey(
            id=key.id,
            project_id=key.project_id,
            name=key.name,
            kind=key.kind,
            mode=key.mode,
            scopes=frozenset(key.scopes),
            allowed_origins=tuple(key.allowed_origins),
            rate_limit=platform.catalog.rate_limit_of(key.rate_limit, project.plan),
            monthly_quota=platform.settings.monthly_quotas().get(project.plan),
            expires_at=key.expires_at,
            quiet_hours=QuietHours.of(project.quiet_hours),
        )
    )
