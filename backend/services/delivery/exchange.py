"""The exchange: a message is shown to its provider.

Whatever the adapter does, it ends as an answer.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping
from typing import Any, Final

import structlog

from backend import ids
from backend.ledger import unreadable
from backend.ledger.claims import Claim
from backend.ledger.content import Content
from backend.ledger.results import CONNECTOR_GONE
from backend.providers.frame.errors import (
    OutcomeUnknown,
    Rejected,
    SendError,
    Throttled,
    Unavailable,
)
from backend.providers.frame.provider import Accepted, OutboundMessage, ProviderTemplate
from backend.providers.frame.registry import AnyProvider
from backend.services.delivery.circuit import CutOff
from backend.services.delivery.open_connectors import OpenConnector

log = structlog.get_logger()

# Longer than any message may wait.
_LONGEST_WISH_S: Final = 366 * 24 * 3600.0


async def ask_provider(
    claim: Claim, connector: OpenConnector, *, timeout_s: float
) -> Accepted | SendError:
    """Return what the provider said, or what kept it from saying anything; raises nothing."""
    provider = connector.provider
    if provider is None:
        return Rejected(connector.reason, code=CONNECTOR_GONE)
    try:
        message = outbound(claim)
    except Exception as exc:
        log.exception(
            "attempt.message_unreadable", message_id=ids.encode(ids.MESSAGE, claim.message_id)
        )
        return Rejected(unreadable.reason_of(exc), code=unreadable.CODE)
    return await _send(provider, message, timeout_s)


async def _send(
    provider: AnyProvider, message: OutboundMessage, timeout_s: float
) -> Accepted | SendError:
    try:
        try:
            async with asyncio.timeout(timeout_s):
                return _as_accepted(await provider.send(message))
        except SendError as exc:
            return _as_error(exc)
    except TimeoutError:
        return OutcomeUnknown(f"No answer from {provider.title} within {timeout_s:g} s.")
    except BaseException as exc:
        # An adapter's bug, a SystemExit or a cancellation of its own among them: the request may
        # have gone out.
        if isinstance(exc, asyncio.CancelledError) and is_cancelled():
            return CutOff("The worker was stopped while the provider was still answering.")
        log.exception("attempt.adapter_failed", provider=provider.type, message_id=message.id)
        return OutcomeUnknown(f"The {provider.title} adapter failed: {type(exc).__name__}.")


def outbound(claim: Claim) -> OutboundMessage:
    """Return the message as its provider sees it. Raises where its content isn't one."""
    content = Content.of(claim.content)
    return OutboundMessage(
        id=ids.encode(ids.MESSAGE, claim.message_id),
        to=claim.recipient,
        text=content.text,
        subject=content.subject,
        html=content.html,
        template=_template(content.template) if content.template else None,
    )


def _template(template: Mapping[str, Any]) -> ProviderTemplate:
    parameters = tuple(map(_text, template["parameters"]))
    return ProviderTemplate(_text(template["name"]), _text(template["language"]), parameters)


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"a text was expected, not {type(value).__name__}")
    return value


def is_cancelled() -> bool:
    """Whether it is this task that is asked to end; an adapter may raise the same by itself."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _as_accepted(answer: object) -> Accepted:
    """Return an answer that can be stored.

    That the provider took the message is not lost over its details.
    """
    if not isinstance(answer, Accepted):
        raise TypeError("The adapter returned no answer.")
    name: object = answer.provider_message_id
    details: object = answer.answer
    if (name is None or isinstance(name, str)) and isinstance(details, Mapping):
        return answer
    log.warning("attempt.answer_unreadable")
    return Accepted(
        None if name is None else str(name), "delivered" if answer.status == "delivered" else "sent"
    )


def _as_error(error: SendError) -> SendError:
    """Return the error with fields that can be computed with and stored, whatever the adapter
    put into them.
    """
    error.reason = str(getattr(error, "reason", "") or type(error).__name__)
    error.code = str(getattr(error, "code", "") or "")
    answer = getattr(error, "answer", None)
    error.answer = dict(answer) if isinstance(answer, Mapping) else {}
    if isinstance(error, Unavailable):
        error.retry_after_s = _seconds(getattr(error, "retry_after_s", None))
    if isinstance(error, Throttled):
        error.recipient_only = bool(getattr(error, "recipient_only", False))
    if isinstance(error, Rejected):
        error.suppress = bool(getattr(error, "suppress", False))
    return error


def _seconds(wish: object) -> float | None:
    if not isinstance(wish, int | float) or math.isnan(wish):
        return None
    return min(max(0.0, wish), _LONGEST_WISH_S)
