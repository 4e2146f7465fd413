"""Pause a campaign that cannot continue, with the reason, and tell its project's owners once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from uuid import UUID

import structlog
from sqlmodel.ext.asyncio.session import AsyncSession

from backend import ids
from backend.errors import CampaignNotFound, CampaignStateConflict
from backend.models import Project, ProjectMember
from backend.outages import is_outage
from backend.services.access.access import system_access
from backend.services.accounts.mail import Mail
from backend.services.campaigns.campaigns import find_project_of, pause_campaign

if TYPE_CHECKING:
    from backend.models import Campaign
    from backend.services.campaigns.parts import CampaignParts

log = structlog.get_logger()

# Works on a row that cannot be read: it reads nothing from the row.
_PAUSE_UNREAD: Final = """
UPDATE campaigns SET state = 'paused', reason = %s, updated_at = now() WHERE id = %s
    AND state = 'running'
"""
_TEXT: Final = """\
The campaign '{name}' in your MessageJS project '{project}' was paused:

    {reason}

Its messages wait. It continues where it stopped when you resume it:

    {link}
"""


async def pause_failing(parts: CampaignParts, campaign_id: UUID, reason: str) -> None:
    """Pause a campaign and tell its owners, unless another worker or a person has paused or
    canceled it.

    Raises only what an outage raises.
    """
    log.warning("campaign.paused", campaign_id=ids.encode(ids.CAMPAIGN, campaign_id), reason=reason)
    try:
        async with parts.path.database.transaction() as session:
            project_id = await find_project_of(session, campaign_id)
            campaign = await pause_campaign(
                session, system_access(project_id), campaign_id=campaign_id, reason=reason
            )
            mails = await _mails(session, campaign, reason, parts.public_url)
    except (CampaignNotFound, CampaignStateConflict):
        log.info("campaign.ended_meanwhile", campaign_id=ids.encode(ids.CAMPAIGN, campaign_id))
        return
    except Exception as exc:
        if is_outage(exc):
            raise
        log.exception("campaign.not_paused", campaign_id=ids.encode(ids.CAMPAIGN, campaign_id))
        async with parts.path.database.raw.connection() as connection:
            await connection.execute(_PAUSE_UNREAD, (reason, campaign_id))
        return
    for mail in mails:
        parts.mail.post(mail)


async def _mails(
    session: AsyncSession, campaign: Campaign, reason: str, public_url: str
) -> list[Mail]:
    project = await Project.find(session, campaign.project_id)
    if project is None:
        return []
    link = f"{public_url}/campaigns?id={ids.encode(ids.CAMPAIGN, campaign.id)}"
    text = _TEXT.format(name=campaign.name, project=project.name, reason=reason, link=link)
    subject = f"MessageJS: the campaign '{campaign.name}' was paused"
    return [
        Mail("campaign_paused", address, subject, text, link)
        for address in await ProjectMember.owner_addresses(session, project.id)
    ]
