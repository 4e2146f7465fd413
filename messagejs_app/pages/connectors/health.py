"""A connector's health in a word and a dot."""

from __future__ import annotations

from backend.provider_types import SANDBOX
from backend.services.reporting.overview import ConnectorNumbers


def health_of(connector: ConnectorNumbers) -> tuple[str, str]:
    """Return the word and the CSS classes of its dot."""
    if connector.broken_at is not None:
        return "Broken", "broken"
    if not connector.is_active:
        return "Paused", "off dash"
    if connector.circuit_opened_at is not None:
        return "Not answering", "throttled half"
    if connector.type == SANDBOX or connector.accepted:
        return "Healthy", "healthy"
    return "Idle", "off ring"
