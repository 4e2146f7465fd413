"""A connector that cannot send until a person acts: it is paused, and its owners get one mail.

The provider refuses its credentials, or no worker can open it.
"""

from __future__ import annotations

from typing import Final
from uuid import UUID

import structlog
from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from backend import ids
from backend.models import Connector, Project, ProjectMember
from backend.models.base import utc_now
from backend.models.session import Change, Database, announce
from backend.services.access import audit
from backend.services.access.access import SYSTEM
from backend.services.accounts.mail import Mail, PlatformMail, shown

log = structlog.get_logger()

_TEXT: Final = """\
{what} the connector '{name}' in your MessageJS project '{project}':

    {reason}

Its messages wait. They go out once a test of the connector passes, or you enter new credentials:

    {link}
"""


class BrokenConnectors:
    def __init__(self, database: Database, mail: PlatformMail, *, public_url: str) -> None:
        self._database = database
        self._mail = mail
        self._public_url = public_url

    async def mark(self, connector_id: UUID, *, title: str, reason: str) -> None:
        """Pause a connector whose provider, `title`, refuses it; a second call changes nothing.

        Never raises: the attempt's outcome must be recorded all the same.
        """
        await self._guarded(connector_id, f"{title} refuses the credentials of", reason)

    async def mark_unreadable(self, connector_id: UUID, *, reason: str) -> None:
        """Pause a connector that no worker can open; as `mark`."""
        await self._guarded(connector_id, "MessageJS cannot open", reason)

    async def _guarded(self, connector_id: UUID, what: str, reason: str) -> None:
        try:
            mails = await self._mark(connector_id, what, reason)
        except Exception as exc:  # noqa: BLE001 (it must not raise)
            log.warning("connector.mark_failed", error=type(exc).__name__)
            return
        for mail in mails:
            self._mail.post(mail)

    async def _mark(self, connector_id: UUID, what: str, reason: str) -> list[Mail]:
        # Postgres text takes neither; a provider may say both.
        reason = reason.replace("\x00", "").encode("utf-8", "replace").decode()
        async with self._database.transaction() as session:
            # Locked: of two workers that are refused at the same time, one writes the mail.
            query = select(Connector).where(
                col(Connector.id) == connector_id, col(Connector.deleted_at).is_(None)
            )
            connector = (await session.exec(query.with_for_update())).first()
            if connector is None or connector.broken_at is not None:
                return []
            connector.broken_at = utc_now()
            connector.broken_reason = reason
            audit.record(
                session,
                SYSTEM,
                "connector.broken",
                project_id=connector.project_id,
                subject_id=connector_id,
                after={"name": connector.name, "reason": reason},
            )
            announce(session, Change("connector", connector_id))
            mails = await self._mails(session, connector, what, reason)
        log.warning(
            "connector.broken", connector_id=str(connector_id), reason=reason, told=len(mails)
        )
        return mails

    async def _mails(
        self, session: AsyncSession, connector: Connector, what: str, reason: str
    ) -> list[Mail]:
        project = await Project.find(session, connector.project_id)
        if project is None:
            return []
        link = f"{self._public_url}/connectors/{ids.encode(ids.CONNECTOR, connector.id)}"
        text = _TEXT.format(
            what=what,
            name=shown(connector.name),
            project=shown(project.name),
            reason=reason,
            link=link,
        )
        subject = f"MessageJS: the connector '{shown(connector.name)}' no longer sends"
        return [
            Mail("connector_broken", address, subject, text, link)
            for address in await ProjectMember.owner_addresses(session, project.id)
        ]
