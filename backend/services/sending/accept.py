"""Step 5: accept one message: policy, render, persist, ring. What returns from here is ours."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING
from uuid import UUID

from backend.ledger.accept import IdempotencyKey, NewMessage, Written
from backend.services.limits.allowance import Allowance
from backend.services.policy.admission import admit, demand_of
from backend.services.policy.caller import Caller
from backend.services.sending.compose import SendRequest, prepare_message

if TYPE_CHECKING:
    from backend.platform import Platform

__all__ = ["Accepted", "Caller", "SendRequest", "accept", "accept_message"]


@dataclass(frozen=True, slots=True)
class Accepted:
    """`allowance` is set where something limits the caller and Redis could count."""

    message_id: UUID
    status: str
    is_replay: bool
    allowance: Allowance | None = None


async def accept_message(
    platform: Platform,
    caller: Caller,
    request: SendRequest,
    *,
    idempotency: IdempotencyKey | None = None,
) -> Accepted:
    """Return once the message is committed. It has its own transaction: see writer.py.

    Raises the AppError that says what is wrong; a repeat under a used Idempotency-Key gets the
    original answer even when the template or connector has gone since.
    """
    return await accept(
        platform,
        caller,
        lambda: prepare_message(platform, caller, request, idempotency),
        idempotency=idempotency,
    )


async def accept(
    platform: Platform,
    caller: Caller,
    prepare: Callable[[], Awaitable[NewMessage]],
    *,
    idempotency: IdempotencyKey | None = None,
) -> Accepted:
    """Accept what `prepare` makes, under the caller's limits.

    What is not accepted anew leaves the month as it was.
    """
    await platform.catalog.require_open(caller.project_id)
    demand = await demand_of(platform, caller)
    allowance = None
    try:
        allowance = await admit(platform, caller, demand)
        message = await prepare()
    except Exception:
        if allowance is not None:
            await platform.rate_limiter.give_back(demand)
        if idempotency is not None:
            earlier = await platform.writer.find_earlier(caller.project_id, idempotency)
            if earlier is not None:
                _count(platform, caller)
                return _accepted(earlier, None)
        raise
    try:
        written = await platform.writer.write(message)
    except Exception:
        await platform.rate_limiter.give_back(demand)
        raise
    if written.is_replay and allowance is not None:
        await platform.rate_limiter.give_back(demand)
    _count(platform, caller)
    return _accepted(written, allowance)


def _count(platform: Platform, caller: Caller) -> None:
    """Refused ones are counted at the edge (policy/admission.py): some never get here."""
    if caller.key is not None:
        platform.key_usage.note(caller.key.id)


def _accepted(written: Written, allowance: Allowance | None) -> Accepted:
    return Accepted(written.message_id, written.status, written.is_replay, allowance)
