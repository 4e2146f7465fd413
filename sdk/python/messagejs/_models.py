"""What the server answers, typed. Fields that a newer server adds are ignored."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel


class _Answer(BaseModel):
    model_config = ConfigDict(
        alias_generator=to_camel, validate_by_name=True, validate_by_alias=True, frozen=True
    )


class Sent(_Answer):
    """The message is stored, so it isn't lost whatever happens next.

    `is_replay`: an earlier call with the same Idempotency-Key made it.
    """

    message_id: str
    status: str
    is_replay: bool = False


class SendToken(_Answer):
    """Lets a web page send a message once: hand `send_token` to the page. Its repr hides it."""

    send_token: str = Field(repr=False)
    expires_at: datetime


class BatchItem(_Answer):
    """A message of a batch: accepted with a `message_id`, or refused with `code` and `error`."""

    index: int
    message_id: str | None = None
    status: str | None = None
    code: str | None = None
    error: str | None = None
    details: dict[str, Any] | None = None


class BatchResult(_Answer):
    """`results` are in the order of the given messages."""

    results: list[BatchItem]
    accepted: int
    rejected: int


class Attempt(_Answer):
    """A try to hand the message to its provider."""

    number: int
    outcome: str
    reason: str | None = None
    started_at: datetime
    duration_ms: float


class Way(_Answer):
    """A step of a message's route. `state`: current, left, skipped, waiting or unused."""

    connector_id: str
    connector_type: str
    to: str
    on: str
    state: str


class Route(_Answer):
    """The steps of a message's route, in order, if there is more than one."""

    steps: list[Way]
    fallback_after_s: float | None = None


class Message(_Answer):
    """A message as the API shows it. `attempts` and `route` come with `get`, not with `list`."""

    id: str
    to: str
    text: str | None = None
    status: str
    connector_type: str
    connector_id: str | None = None
    template_id: str | None = None
    mode: str | None = None
    metadata: dict[str, Any] | None = None
    error: str | None = None
    error_code: str | None = None
    attempts: list[Attempt] = Field(default_factory=list)
    route: Route | None = None
    created_at: datetime
    sent_at: datetime | None = None
    delivered_at: datetime | None = None
    failed_at: datetime | None = None


class Page(_Answer):
    messages: list[Message]
    pagination: dict[str, Any]


class Preview(_Answer):
    """A template with variables, rendered without sending."""

    text: str
    subject: str | None = None
    html: str | None = None
    segments: Any = None
