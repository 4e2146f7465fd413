"""Who sends a campaign's messages: the key it was made with, whose limits count, or a member of the
project.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from backend.errors import ApiKeyExpired, InvalidApiKey, ProjectNotFound
from backend.models import ApiKey, Campaign, Project
from backend.services.access.access import system_access
from backend.services.policy.sender import Sender

if TYPE_CHECKING:
    from backend.services.policy.send_path import SendPath


async def sender_of(path: SendPath, campaign: Campaign) -> Sender:
    """Raises InvalidApiKey, ApiKeyExpired or ProjectNotFound: who made it may not send any more."""
    async with path.database.session() as session:
        project = await Project.find(session, campaign.project_id)
        key = (
            await ApiKey.find(session, campaign.project_id, campaign.key_id)
            if campaign.key_id is not None
            else None
        )
    if project is None or not project.is_active:
        raise ProjectNotFound
    if campaign.key_id is None:
        return Sender(
            system_access(campaign.project_id), "test" if campaign.mode == "test" else "live"
        )
    if key is None or not key.is_active:
        raise InvalidApiKey(
            "The API key that made the campaign was revoked; make the rest a campaign of another"
            " key."
        )
    if key.expires_at is not None and key.expires_at <= datetime.now(UTC):
        raise ApiKeyExpired(f"The API key '{key.name}', which made the campaign, has expired.")
    return Sender.of_key(path.catalog.key_of(key, project))
