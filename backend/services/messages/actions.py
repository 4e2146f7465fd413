"""What can be done with an accepted message: cancel it, or send it again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING
from uuid import UUID

from sqlalchemy import select
from sqlmodel import col
from sqlmodel.ext.asyncio.session import AsyncSession

from backend import ids
from backend.errors import (
    ConnectorNotFound,
    MessageNotCancelable,
    MessageNotFound,
    MessageNotResendable,
    MessageRedacted,
)
from backend.ids import new_id
from backend.ledger import cancel
from backend.ledger.accept import NewMessage
from backend.ledger.content import MessageRoute, Step
from backend.ledger.idempotency import IdempotencyKey
from backend.models import Message, SendQueueRow
from backend.models.send_queue import CLAIMED, IN_FLIGHT, LANES
from backend.models.session import driver_of
from backend.services.access import audit
from backend.services.access.access import Access, Action, Mode
from backend.services.routing.ways import active, first_usable
from backend.services.sending.accept import Acceptance, accept
from backend.services.sending.timing import put_off
from backend.status import IN_PROGRESS, Status

if TYPE_CHECKING:
    from backend.services.catalog.catalog import CatalogConnector
    from backend.services.policy.send_path import SendPath
    from backend.services.policy.sender import Sender


async def cancel_message(session: AsyncSession, access: Access, *, message_id: UUID) -> None:
    """Keep a message from being sent, as long as no worker has claimed it.

    Raises MessageNotFound or MessageNotCancelable.
    """
    access.require(Action.SEND_MESSAGES)
    message = await _message(session, access.project_id, message_id, access.only_mode)
    if not await cancel.cancel_message(await driver_of(session), access.project_id, message_id):
        status = await _shown_status(session, message)
        raise MessageNotCancelable(
            f"The message is '{status}'; only a message that waits can be canceled.",
            details={"status": status},
        )
    audit.record(
        session,
        access.actor,
        "message.canceled",
        project_id=access.project_id,
        subject_id=message_id,
    )


async def resend_message(
    path: SendPath,
    sender: Sender,
    *,
    message_id: UUID,
    idempotency: IdempotencyKey | None = None,
) -> Acceptance:
    """Accept a new message with the content, recipient and connector of one that has ended.

    `uncertain` counts as an end: this is how a person decides it. Raises MessageNotFound,
    MessageNotResendable, and what a send raises.
    """

    async def repeat() -> NewMessage:
        async with path.database.session() as session:
            message = await _message(
                session, sender.project_id, message_id, sender.access.only_mode
            )
            waits = await session.get(SendQueueRow, message_id) is not None
            status = await _shown_status(session, message)
        if waits or message.status in IN_PROGRESS:
            raise MessageNotResendable(
                f"The message is '{status}' and still being worked on; it can be resent once that"
                " has ended.",
                details={"status": status},
            )
        return await repetition(path, sender, message, idempotency)

    accepted = await accept(path, sender, repeat, idempotency=idempotency)
    if not accepted.is_replay:
        async with path.database.transaction() as session:
            audit.record(
                session,
                sender.access.actor,
                "message.resent",
                project_id=sender.project_id,
                subject_id=message_id,
                after={"message_id": ids.encode(ids.MESSAGE, accepted.message_id)},
            )
    return accepted


async def repetition(
    path: SendPath,
    sender: Sender,
    message: Message,
    idempotency: IdempotencyKey | None = None,
    *,
    replaces_gone: bool = False,
) -> NewMessage:
    """Return the new message that sends `message` again, by the first of its ways that can be used.

    `replaces_gone`: the project's default connector of the type replaces one that was deleted.
    Raises MessageRedacted, ConnectorNotFound or ConnectorNotActive.
    """
    if message.redacted_at is not None:
        raise MessageRedacted(
            "The message's content was removed, as the project's contentRetention says. Send a new"
            " message.",
            details={"redactedAt": message.redacted_at.isoformat()},
        )
    if message.route is None:
        connector = active(await _connector(path, message, replaces_gone=replaces_gone))
        new = replace(_repeated(message, sender, idempotency), connector_id=connector.id)
    else:
        route = MessageRoute.of(message.route)
        steps = await first_usable(path, sender.project_id, route.steps)
        new = _rerouted(_repeated(message, sender, idempotency), steps, route.fallback_after_s)
    return await put_off(path, sender, new)


async def _connector(path: SendPath, message: Message, *, replaces_gone: bool) -> CatalogConnector:
    try:
        return await path.catalog.connector(message.project_id, message.connector_id)
    except ConnectorNotFound:
        if not replaces_gone:
            raise
        return (await path.catalog.pool(message.project_id, message.connector_type))[0]


def _repeated(message: Message, sender: Sender, idempotency: IdempotencyKey | None) -> NewMessage:
    return NewMessage(
        id=new_id(),
        project_id=message.project_id,
        connector_id=message.connector_id,
        lane=LANES[message.priority],
        columns={
            "key_id": sender.key.id if sender.key is not None else None,
            "connector_type": message.connector_type,
            "template_id": message.template_id,
            "template_version": message.template_version,
            "mode": message.mode,
            "recipient": message.recipient,
            "content": message.content,
            "status": Status.QUEUED,
            "priority": message.priority,
            "on_uncertain": message.on_uncertain,
            "metadata": message.metadata_,
            "send_at": None,
            "expires_at": None,
            "resent_from": message.id,
        },
        idempotency=idempotency,
    )


def _rerouted(
    message: NewMessage, steps: Sequence[Step], fallback_after_s: float | None
) -> NewMessage:
    """Start with the first way again, whichever way the earlier message ended on."""
    first = steps[0]
    columns = {
        **message.columns,
        "connector_type": first.connector_type,
        "recipient": first.recipient,
        "content": first.content,
        "route": MessageRoute(tuple(steps), fallback_after_s).to_json() if len(steps) > 1 else None,
    }
    return replace(message, connector_id=first.connector_id, columns=columns)


async def mode_of(session: AsyncSession, access: Access, *, message_id: UUID) -> Mode:
    """Raises MessageNotFound."""
    access.require(Action.VIEW_MESSAGES)
    message = await _message(session, access.project_id, message_id, access.only_mode)
    return "test" if message.mode == "test" else "live"


async def _message(
    session: AsyncSession, project_id: UUID, message_id: UUID, mode: str | None
) -> Message:
    message = await Message.find(session, project_id, message_id)
    if message is None or (mode is not None and message.mode != mode):
        raise MessageNotFound
    return message


async def _shown_status(session: AsyncSession, message: Message) -> str:
    """Return the status now; `sending` while a worker has the message."""
    connection = await session.connection()
    stored = await connection.execute(
        select(col(Message.status), col(SendQueueRow.state))
        .outerjoin(SendQueueRow, col(SendQueueRow.message_id) == col(Message.id))
        .where(col(Message.id) == message.id)
    )
    status, state = stored.one()
    return Status.SENDING.value if state in {CLAIMED, IN_FLIGHT} else str(status)
