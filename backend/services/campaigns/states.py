"""The states of a campaign: draft -> running <-> paused -> completed or canceled."""

from __future__ import annotations

from typing import Final

DRAFT: Final = "draft"
RUNNING: Final = "running"
PAUSED: Final = "paused"
COMPLETED: Final = "completed"
CANCELED: Final = "canceled"
STATES: Final = (DRAFT, RUNNING, PAUSED, COMPLETED, CANCELED)
