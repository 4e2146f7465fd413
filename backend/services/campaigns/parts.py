"""What campaigns need of their process; made once, in platform.py."""

from __future__ import annotations

from dataclasses import dataclass

from backend.services.accounts.mail import PlatformMail
from backend.services.policy.send_path import SendPath


@dataclass(frozen=True, slots=True)
class CampaignParts:
    """The send path, and who is told when a campaign pauses.

    `public_url`: of the links in mails.
    """

    path: SendPath
    mail: PlatformMail
    public_url: str
