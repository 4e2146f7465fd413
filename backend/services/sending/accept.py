"""Accept one message: policy, render, persist, ring. What returns from here is ours."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING
from uuid import UUID

from backend.ledger.accept import NewMessage, Written
from backend.ledger.idempotency import IdempotencyKey
from backend.services.limits.rate_limit import Allowance
from backend.services.policy.admission import admit, demand_of
from backend.services.policy.request import SendRequest
from backend.services.policy.sender import Sender
from backend.services.sending.compose import prepare_message

if TYPE_CHECKING:
    from backend.services.policy.send_path import SendPath


@dataclass(frozen=True, slots=True)
class Accepted:
    """`allowance` is set where something limits the caller and Redis could count."""

    message_id: UUID
    status: str
    is_replay: bool
    allowance: Allowance | None = None


async def accept_message(
    path: SendPath,
    sender: Sender,
    request: SendRequest,
    *,
    idempotency: IdempotencyKey | None = None,
) -> Accepted:
    """Return once the message is committed. It has its own transaction: see writer.py.

    Raises the AppError that says what is wrong; a repeat under a used Idempotency-Key gets the
    original answer even when the template or connector has gone since.
    """
    return await accept(
        path,
        sender,
        lambda: prepare_message(path, sender, request, idempotency),
        idempotency=idempotency,
    )


async def accept(
    path: SendPath,
    sender: Sender,
    prepare: Callable[[], Awaitable[NewMessage]],
    *,
    idempotency: IdempotencyKey | None = None,
) -> Accepted:
    """Accept what `prepare` makes, under the caller's limits.

    What is not accepted again leaves the month as it was.
    """
    await path.catalog.require_open(sender.project_id)
    demand = await demand_of(path, sender)
    allowance = None
    try:
        allowance = await admit(path, sender, demand)
        message = await prepare()
    except Exception:
        if allowance is not None:
            await path.rate_limiter.give_back(demand)
        if idempotency is not None:
            earlier = await path.writer.find_earlier(sender.project_id, idempotency)
            if earlier is not None:
                _count(path, sender)
                return _accepted(earlier, None)
        raise
    try:
        written = await path.writer.write(message)
    except Exception:
        await path.rate_limiter.give_back(demand)
        raise
    if written.is_replay and allowance is not None:
        await path.rate_limiter.give_back(demand)
    _count(path, sender)
    return _accepted(written, allowance)


def _count(path: SendPath, sender: Sender) -> None:
    """Refused ones are counted at the edge (policy/admission.py): some never get here."""
    if sender.key is not None:
        path.key_usage.note(sender.key.id)


def _accepted(written: Written, allowance: Allowance | None) -> Accepted:
    return Accepted(written.message_id, written.status, written.is_replay, allowance)
