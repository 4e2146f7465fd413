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
# Where the reason says more than the text does.
_EXPLAINED: Final = frozenset(
    {"failed", "undelivered", "uncertain", "expired", "blocked", "canceled"}
)


@dataclass
class Row:
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
class Step:
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
    steps: list[Step] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Names:
    """Names by id, of what the list's messages used."""

    connectors: Mapping[str, str]
    templates: Mapping[str, str]
    keys: Mapping[str, str]


def row_of(one: MessageSummary, names: Names) -> Row:
    text = one.error if one.status in _EXPLAINED and one.error else (one.subject or one.text or "")
    return Row(
        id=ids.encode(ids.MESSAGE, one.id),
        status=word(one.status),
        dot=dot(one.status),
        address=recipient(one.recipient),
        name=names.templates.get(str(one.template_id), "") if one.template_id else "",
        text=" ".join(text.split())[:_PREVIEW_CHARS],
        kind=one.connector_type,
        connector=names.connectors.get(str(one.connector_id), one.connector_type.capitalize()),
        key=names.keys.get(str(one.key_id), "Revoked key") if one.key_id else "Dashboard",
        at=instant(one.created_at),
    )


def shown_of(detail: MessageDetail, *, base_url: str) -> Shown:
    one = detail.summary
    sms = measure(one.text or "") if channel_of(one.connector_type) == SMS else None
    body: dict[str, Any] = {
        "to": one.recipient,
        "connectorId": ids.encode(ids.CONNECTOR, one.connector_id),
    }
    if one.template_id is not None:
        body |= {"templateId": ids.encode(ids.TEMPLATE, one.template_id), "variables": {}}
    else:
        # Nothing is left to copy of a text that was removed.
        body |= {"message": one.text or ""} | ({"subject": one.subject} if one.subject else {})
    return Shown(
        id=ids.encode(ids.MESSAGE, one.id),
        status=word(one.status),
        dot=dot(one.status),
        address=recipient(one.recipient),
        subject=one.subject or "",
        text=one.text or "",
        accepted_at=instant(one.created_at),
        template=detail.template_name or "",
        template_id=ids.encode(ids.TEMPLATE, one.template_id) if one.template_id else "",
        version=f"v{detail.template_version}" if detail.template_version else "",
        connector=detail.connector_name or one.connector_type.capitalize(),
        connector_id=ids.encode(ids.CONNECTOR, one.connector_id),
        key=(detail.key_name or "Revoked key") if one.key_id else "Dashboard",
        mode=one.mode.capitalize(),
        segments=str(sms.segments) if sms else "",
        encoding=sms.encoding if sms else "",
        error=one.error or "",
        curl=snippets.send_call(
            "curl", base_url=base_url, key=f"sk_{one.mode}_YOUR_KEY", body=body
        ),
        redacted_at=instant(one.redacted_at),
        steps=_steps(detail),
    )


def _steps(detail: MessageDetail) -> list[Step]:
    """The timeline, each attempt under a "Sending" line of its own before the status it led to."""
    name = detail.connector_name or detail.summary.connector_type.capitalize()
    left = list(detail.attempts)
    steps: list[Step] = []
    for entry in detail.timeline:
        if entry.attempt_id is not None or entry is detail.timeline[-1]:
            count = len(left)
            if entry.attempt_id is not None:
                found = [
                    place for place, attempt in enumerate(left) if attempt.id == entry.attempt_id
                ]
                count = found[0] + 1 if found else 0
            if count and steps:
                steps.append(_sending(left[:count], name))
                left = left[count:]
        note = " ".join(filter(None, (entry.reason, f"({entry.code})" if entry.code else "")))
        if not steps:
            note = "Accepted"
        elif entry.status == "sent" and detail.summary.provider_message_id:
            note = f"Provider id {detail.summary.provider_message_id}"
        steps.append(Step(word(entry.status), *_dot_of(entry.status), instant(entry.at), note))
    if left:
        steps.append(_sending(left, name))
    return steps


def _dot_of(status: str) -> tuple[str, bool]:
    css = dot(status)
    return css.split()[0], "ring" in css


def _sending(attempts: Sequence[Any], name: str) -> Step:
    shown = [_attempt(attempt, name) for attempt in attempts]
    return Step("Sending", "sending", False, instant(attempts[0].started_at), "", shown)


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
