"""Bodies of messages as they are read."""

from __future__ import annotations

from typing import Any, Literal
from uuid import UUID

from pydantic import Field

from backend import ids
from backend.api.inputs.bodies import Instant, Pagination, ResponseBody
from backend.api.resources.templates.bodies import SmsSizeBody
from backend.models import Attempt
from backend.services.lists.paging import Page
from backend.services.reporting.messages import (
    MessageDetail,
    MessageSummary,
    RouteSummary,
    TimelineEntry,
)
from backend.services.sending.preview import MessagePreview


class MessageBody(ResponseBody):
    """A message; times of what has not happened are null."""

    id: str = Field(examples=["msg_01h455vb4pex5vsknk084sn02q"])
    project_id: str = Field(examples=["proj_01h455vb4pex5vsknk084sn02q"])
    key_id: str | None = None
    connector_id: str = Field(examples=["conn_01h455vb4pex5vsknk084sn02q"])
    connector_type: str = Field(examples=["whatsapp"])
    template_id: str | None = None
    resent_from: str | None = Field(default=None, description="The message this one repeats")
    to: str = Field(examples=["+1234567890"])
    text: str | None = Field(default=None, examples=["Hello, world!"])
    subject: str | None = None
    redacted: bool = Field(
        default=False, description="The content is masked or removed, as the project wants it"
    )
    status: str = Field(examples=["sent"])
    mode: str = Field(examples=["live"])
    priority: str = Field(examples=["normal"])
    metadata: dict[str, Any] = Field(
        description="Yours, and `messageId`: the provider's id where it is known",
        examples=[{"messageId": "wamid.xxx"}],
    )
    error: str | None = None
    error_code: str | None = None
    send_at: Instant | None = None
    expires_at: Instant | None = None
    sent_at: Instant | None = None
    delivered_at: Instant | None = None
    read_at: Instant | None = None
    failed_at: Instant | None = None
    created_at: Instant
    updated_at: Instant

    @classmethod
    def of(cls, message: MessageSummary) -> MessageBody:
        return cls(**_fields(message))


class MessageListBody(ResponseBody):
    messages: list[MessageBody]
    pagination: Pagination

    @classmethod
    def of(cls, page: Page[MessageSummary]) -> MessageListBody:
        return cls(
            messages=[MessageBody.of(item) for item in page.items], pagination=Pagination.of(page)
        )


class AttemptBody(ResponseBody):
    """One try to hand the message to the provider."""

    id: str = Field(examples=["att_01h455vb4pex5vsknk084sn02q"])
    number: int = Field(examples=[1])
    outcome: str = Field(
        description="accepted, retry, throttled, rejected, uncertain or broken",
        examples=["accepted"],
    )
    code: str = Field(description="The provider's own code")
    reason: str
    answer: dict[str, Any] | None = Field(description="What the provider said")
    started_at: Instant
    duration_ms: float
    retry_at: Instant | None

    @classmethod
    def of(cls, attempt: Attempt) -> AttemptBody:
        return cls(
            id=ids.encode(ids.ATTEMPT, attempt.id),
            number=attempt.number,
            outcome=attempt.outcome,
            code=attempt.provider_code,
            reason=attempt.reason,
            answer=attempt.answer,
            started_at=attempt.started_at,
            duration_ms=attempt.duration_ms,
            retry_at=attempt.retry_at,
        )


class TimelineBody(ResponseBody):
    """A status the message took."""

    status: str = Field(examples=["sent"])
    at: Instant
    reason: str = ""
    code: str = ""
    attempt_id: str | None = None

    @classmethod
    def of(cls, entry: TimelineEntry) -> TimelineBody:
        return cls(
            status=entry.status,
            at=entry.at,
            reason=entry.reason,
            code=entry.code,
            attempt_id=_id(ids.ATTEMPT, entry.attempt_id),
        )


class WayBody(ResponseBody):
    """One of the ways that a message may go."""

    connector_id: str = Field(examples=["conn_01h455vb4pex5vsknk084sn02q"])
    connector_type: str = Field(examples=["twilio"])
    to: str = Field(examples=["+1234567890"])
    on: Literal["failure", "unavailable"] = Field(
        description=(
            "What of the way before it answers: any failure, or only that its connector could not"
            " be used"
        )
    )
    state: Literal["current", "left", "skipped", "waiting", "unused"] = Field(
        description=(
            "current: `status` is this way's; left: tried and given up; skipped: could not be used"
        )
    )


class MessageRouteBody(ResponseBody):
    """The ways in their order, where a message has more than one."""

    steps: list[WayBody]
    fallback_after_s: float | None = Field(
        description="How long a way may take to deliver", examples=[60]
    )

    @classmethod
    def of(cls, route: RouteSummary) -> MessageRouteBody:
        steps = [
            WayBody.model_validate(
                {
                    "connector_id": ids.encode(ids.CONNECTOR, way.connector_id),
                    "connector_type": way.connector_type,
                    "to": way.recipient,
                    "on": way.on,
                    "state": way.state,
                }
            )
            for way in route.ways
        ]
        return cls(steps=steps, fallback_after_s=route.fallback_after_s)


class MessageDetailBody(MessageBody):
    route: MessageRouteBody | None = Field(
        default=None, description="Its ways, where it has more than one"
    )
    html: str | None = None
    provider_template: dict[str, Any] | None = None
    template_version: int | None = None
    attempts: list[AttemptBody] = Field(description="Oldest first")
    timeline: list[TimelineBody] = Field(description="Oldest first")

    @classmethod
    def of_detail(cls, detail: MessageDetail) -> MessageDetailBody:
        return cls(
            **_fields(detail.summary),
            html=detail.html,
            provider_template=detail.provider_template,
            template_version=detail.template_version,
            attempts=[AttemptBody.of(attempt) for attempt in detail.attempts],
            timeline=[TimelineBody.of(entry) for entry in detail.timeline],
            route=MessageRouteBody.of(detail.route) if detail.route is not None else None,
        )


class MessagePreviewBody(ResponseBody):
    """What would be sent, and to whom."""

    channel: str = Field(examples=["sms"])
    connector_id: str = Field(examples=["conn_01h455vb4pex5vsknk084sn02q"])
    connector_type: str = Field(examples=["twilio"])
    to: str | None = Field(description="As the provider gets it", examples=["+1234567890"])
    text: str
    subject: str | None
    html: str | None
    provider_template: dict[str, Any] | None
    sms: SmsSizeBody | None = Field(description="What the network bills, on SMS channels")
    fallbacks: list[MessagePreviewBody] = Field(
        default_factory=list, description="The ways that follow, in order"
    )

    @classmethod
    def of_preview(cls, preview: MessagePreview) -> MessagePreviewBody:
        sms, rendered = preview.sms, preview.rendered
        return cls(
            channel=preview.channel,
            connector_id=ids.encode(ids.CONNECTOR, preview.connector_id),
            connector_type=preview.connector_type,
            to=preview.to,
            text=rendered.text,
            subject=rendered.subject,
            html=rendered.html,
            provider_template=rendered.provider_template,
            sms=(
                SmsSizeBody(encoding=sms.encoding, units=sms.units, segments=sms.segments)
                if sms is not None
                else None
            ),
            fallbacks=[cls.of_preview(fallback) for fallback in preview.fallbacks],
        )


def _fields(message: MessageSummary) -> dict[str, Any]:
    return {
        "id": ids.encode(ids.MESSAGE, message.id),
        "project_id": ids.encode(ids.PROJECT, message.project_id),
        "key_id": _id(ids.KEY, message.key_id),
        "connector_id": ids.encode(ids.CONNECTOR, message.connector_id),
        "connector_type": message.connector_type,
        "template_id": _id(ids.TEMPLATE, message.template_id),
        "resent_from": _id(ids.MESSAGE, message.resent_from),
        "to": message.recipient,
        "text": message.text,
        "subject": message.subject,
        "redacted": message.redacted_at is not None,
        "status": message.status,
        "mode": message.mode,
        "priority": message.priority,
        "metadata": message.shown_metadata,
        "error": message.error,
        "error_code": message.error_code,
        "send_at": message.send_at,
        "expires_at": message.expires_at,
        "sent_at": message.sent_at,
        "delivered_at": message.delivered_at,
        "read_at": message.read_at,
        "failed_at": message.failed_at,
        "created_at": message.created_at,
        "updated_at": message.updated_at,
    }


def _id(prefix: str, value: UUID | None) -> str | None:
    return ids.encode(prefix, value) if value is not None else None
