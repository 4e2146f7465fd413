"""What the list and the drawer show, made from the read models."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from backend import ids
from backend.services.reporting.messages import MessageDetail, MessageSummary
from backend.services.templates.channels import SMS, channel_of
from backend.services.templates.sms_segments import measure
from messagejs_app import snippets
from messagejs_app.components.statuses import OUTCOMES, dot, word
from messagejs_app.snippets import Piece
from messagejs_app.wording import duration, instant, recipient

_PREVIEW_CHARS: Final = 160
_ANSWER_CHARS: Final = 4000
# Statuses whose reason says more than the text does.
_EXPLAINED: Final = frozenset(
    {"failed", "undelivered", "uncertain", "expired", "blocked", "canceled"}
)


@dataclass
class MessageRow:
    id: str
    status: str
    dot: str
    address: str
    name: str
    text: str
    kind: str
    connector: str
    key: str
    at: str
    is_new: bool = False


@dataclass
class AttemptShown:
    title: str
    words: str
    dot: str
    took: str
    reason: str
    answer: list[Piece] = field(default_factory=list)


@dataclass
class TimelineStep:
    """A line of the timeline, with the attempts that led to it."""

    status: str
    css: str
    is_ring: bool
    at: str
    note: str
    attempts: list[AttemptShown] = field(default_factory=list)


@dataclass
class Shown:
    """The message in the drawer."""

    id: str = ""
    status: str = ""
    dot: str = ""
    address: str = ""
    subject: str = ""
    text: str = ""
    accepted_at: str = ""
    template: str = ""
    template_id: str = ""
    version: str = ""
    connector: str = ""
    connector_id: str = ""
    key: str = ""
    mode: str = ""
    segments: str = ""
    encoding: str = ""
    error: str = ""
    curl: str = ""
    redacted_at: str = ""
    steps: list[TimelineStep] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Names:
    """The names, by id, of what the listed messages used."""

    connectors: Mapping[str, str]
    templates: Mapping[str, str]
    keys: Mapping[str, str]


def row_of(message: MessageSummary, names: Names) -> MessageRow:
    text = (
        message.error
        if message.status in _EXPLAINED and message.error
        else (message.subject or message.text or "")
    )
    return MessageRow(
        id=ids.encode(ids.MESSAGE, message.id),
        status=word(message.status),
        dot=dot(message.status),
        address=recipient(message.recipient),
        name=names.templates.get(str(message.template_id), "") if message.template_id else "",
        text=" ".join(text.split())[:_PREVIEW_CHARS],
        kind=message.connector_type,
        connector=names.connectors.get(
            str(message.connector_id), message.connector_type.capitalize()
        ),
        key=names.keys.get(str(message.key_id), "Revoked key") if message.key_id else "Dashboard",
        at=instant(message.created_at),
    )


def shown_of(detail: MessageDetail, *, base_url: str) -> Shown:
    message = detail.summary
    sms = measure(message.text or "") if channel_of(message.connector_type) == SMS else None
    body: dict[str, Any] = {
        "to": message.recipient,
        "connectorId": ids.encode(ids.CONNECTOR, message.connector_id),
    }
    if message.template_id is not None:
        body |= {"templateId": ids.encode(ids.TEMPLATE, message.template_id), "variables": {}}
    else:
        # A text that was removed cannot be copied.
        body["message"] = message.text or ""
        if message.subject:
            body["subject"] = message.subject
    return Shown(
        id=ids.encode(ids.MESSAGE, message.id),
        status=word(message.status),
        dot=dot(message.status),
        address=recipient(message.recipient),
        subject=message.subject or "",
        text=message.text or "",
        accepted_at=instant(message.created_at),
        template=detail.template_name or "",
        template_id=ids.encode(ids.TEMPLATE, message.template_id) if message.template_id else "",
        version=f"v{detail.template_version}" if detail.template_version else "",
        connector=detail.connector_name or message.connector_type.capitalize(),
        connector_id=ids.encode(ids.CONNECTOR, message.connector_id),
        key=(detail.key_name or "Revoked key") if message.key_id else "Dashboard",
        mode=message.mode.capitalize(),
        segments=str(sms.segments) if sms else "",
        encoding=sms.encoding if sms else "",
        error=message.error or "",
        curl=snippets.send_call(
            "curl", base_url=base_url, key=f"sk_{message.mode}_YOUR_KEY", body=body
        ),
        redacted_at=instant(message.redacted_at),
        steps=_steps(detail),
    )


def _steps(detail: MessageDetail) -> list[TimelineStep]:
    """Return the timeline: before a status, a "Sending" line with the attempts that led to it."""
    name = detail.connector_name or detail.summary.connector_type.capitalize()
    left = list(detail.attempts)
    steps: list[TimelineStep] = []
    for entry in detail.timeline:
        if entry.attempt_id is not None or entry is detail.timeline[-1]:
            count = len(left)
            if entry.attempt_id is not None:
                attempt_ids = [attempt.id for attempt in left]
                is_known = entry.attempt_id in attempt_ids
                count = attempt_ids.index(entry.attempt_id) + 1 if is_known else 0
            if count and steps:
                steps.append(_sending(left[:count], name))
                left = left[count:]
        note = " ".join(filter(None, (entry.reason, f"({entry.code})" if entry.code else "")))
        if not steps:
            note = "Accepted"
        elif entry.status == "sent" and detail.summary.provider_message_id:
            note = f"Provider id {detail.summary.provider_message_id}"
        steps.append(
            TimelineStep(word(entry.status), *_dot_of(entry.status), instant(entry.at), note)
        )
    if left:
        steps.append(_sending(left, name))
    return steps


def _dot_of(status: str) -> tuple[str, bool]:
    css = dot(status)
    return css.split()[0], "ring" in css


def _sending(attempts: Sequence[Any], name: str) -> TimelineStep:
    shown = [_attempt(attempt, name) for attempt in attempts]
    return TimelineStep("Sending", "sending", False, instant(attempts[0].started_at), "", shown)


def _attempt(attempt: Any, name: str) -> AttemptShown:
    words, css = OUTCOMES.get(attempt.outcome, (attempt.outcome, "queued ring"))
    answer = (
        json.dumps(attempt.answer, indent=2, ensure_ascii=False)[:_ANSWER_CHARS]
        if attempt.answer
        else ""
    )
    code = f" ({attempt.provider_code})" if attempt.provider_code else ""
    return AttemptShown(
        title=f"Attempt {attempt.number}",
        words=f"{name} · {words}",
        dot=css,
        took=duration(attempt.duration_ms),
        reason=f"{attempt.reason}{code}" if attempt.reason else "",
        answer=snippets.pieces(answer, "json") if answer else [],
    )
