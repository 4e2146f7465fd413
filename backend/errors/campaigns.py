"""Errors of campaigns."""

from __future__ import annotations

from backend.errors.base import Conflict, NotFound


class CampaignNotFound(NotFound):
    code = "CAMPAIGN_NOT_FOUND"
    title = "Campaign does not exist"


class CampaignStateConflict(Conflict):
    code = "CAMPAIGN_STATE"
    title = "The campaign's state does not allow this"
