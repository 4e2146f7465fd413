"""The audit log: who changed what, from where. Values given here are stored as they are: no secrets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from sqlmodel.ext.asyncio.session import AsyncSession

from backend.models import AuditEntry
from backend.services.accounts.access import UserPrincipal


def record(
    session: AsyncSession,
    actor: UserPrincipal | None,
    action: str,
    *,
    project_id: UUID | None = None,
    subject_id: UUID | None = None,
    before: Mapping[str, Any] | None = None,
    after: Mapping[str, Any] | None = None,
) -> None:
    """Add an entry to this transaction: it is written if the change is. No actor: the system."""
    session.add(
        AuditEntry(
            project_id=project_id,
            actor_id=actor.user_id if actor is not None else None,
            action=action,
            subject_id=subject_id,
            address=actor.address[:64] if actor is not None else "",
            before=dict(before) if before is not None else None,
            after=dict(after) if after is not None else None,
        )
    )
