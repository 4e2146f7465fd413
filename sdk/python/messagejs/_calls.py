"""Every call of the API: what to send and how to read the answer. The clients carry it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Generic, TypeVar

from messagejs._models import BatchResult, Message, Page, Preview, SendToken, Sent

T = TypeVar("T")


@dataclass(frozen=True)
class Answer:
    """A success: its JSON body and its headers (lower-case names)."""

    body: Mapping[str, Any]
    headers: Mapping[str, str]


@dataclass(frozen=True)
class Call(Generic[T]):
    """A call to make.

    `creates`: it is sent with an Idempotency-Key, which makes it safe to repeat. `repeatable`: it
    is safe to repeat without one.
    """

    method: str
    path: str
    read: Callable[[Answer], T]
    body: Mapping[str, Any] | None = None
    query: Mapping[str, Any] = field(default_factory=dict)
    creates: bool = False
    repeatable: bool = False
    idempotency_key: str | None = None


def send(
    *,
    to: str | Mapping[str, str],
    template_id: str | None = None,
    variables: Mapping[str, Any] | None = None,
    message: str | None = None,
    subject: str | None = None,
    html: str | None = None,
    connector_id: str | None = None,
    connector: str | None = None,
    channels: Sequence[str] | None = None,
    route: str | None = None,
    fallback_after: timedelta | int | str | None = None,
    priority: str | None = None,
    metadata: Mapping[str, Any] | None = None,
    send_at: datetime | None = None,
    expires_at: datetime | None = None,
    idempotency_key: str | None = None,
) -> Call[Sent]:
    """Send a message: a template with variables, or a text. Instants need a time zone.

    The `channels` (`["whatsapp", "sms"]`) or the steps of a saved `route` are tried in order: each
    if the previous one failed, or didn't deliver within `fallback_after` (seconds, "5m", or a
    timedelta). `to` may name an address of each kind: `{"phone": "+14155550123", "email":
    "ada@example.com"}`.
    """
    body = _body(
        to=to,
        templateId=template_id,
        variables=variables,
        message=message,
        subject=subject,
        html=html,
        connectorId=connector_id,
        connector=connector,
        channels=channels,
        route=route,
        fallbackAfter=fallback_after,
        priority=priority,
        metadata=metadata,
        sendAt=send_at,
        expiresAt=expires_at,
    )
    return Call(
        "POST", "/messages", _sent, body=body, creates=True, idempotency_key=idempotency_key
    )


def send_batch(
    messages: Sequence[Mapping[str, Any]], *, idempotency_key: str | None = None
) -> Call[BatchResult]:
    """Send up to 500 messages, with fields named as in the API's JSON; each gets a result."""
    body = {"messages": [_body(**message) for message in messages]}
    return Call(
        "POST",
        "/messages/batch",
        lambda answer: BatchResult.model_validate(answer.body),
        body=body,
        creates=True,
        idempotency_key=idempotency_key,
    )


def get(message_id: str) -> Call[Message]:
    """Return a message with its attempts."""
    return Call(
        "GET", f"/messages/{message_id}", lambda answer: Message.model_validate(answer.body)
    )


def page(
    *,
    status: str | None = None,
    connector: str | None = None,
    recipient: str | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
    limit: int = 50,
    cursor: str | None = None,
) -> Call[Page]:
    """Return a page of messages, newest first."""
    query = _body(
        status=status, connector=connector, recipient=recipient, limit=limit, cursor=cursor,
        **{"from": since, "to": until},
    )  # fmt: skip
    return Call("GET", "/messages", lambda answer: Page.model_validate(answer.body), query=query)


def cancel(message_id: str) -> Call[Message]:
    """Cancel a message that no worker has taken yet; raises ConflictError if one has."""
    return Call(
        "POST", f"/messages/{message_id}/cancel", lambda answer: Message.model_validate(answer.body)
    )


def resend(message_id: str, *, idempotency_key: str | None = None) -> Call[Sent]:
    """Send the same content to the same recipient again, as a new message."""
    return Call(
        "POST",
        f"/messages/{message_id}/resend",
        _sent,
        creates=True,
        idempotency_key=idempotency_key,
    )


def preview(
    *, template_id: str, variables: Mapping[str, Any] | None = None, connector: str | None = None
) -> Call[Preview]:
    """Render a template without sending."""
    body = _body(templateId=template_id, variables=variables, connector=connector)
    return Call(
        "POST", "/messages/preview", lambda answer: Preview.model_validate(answer.body), body=body
    )


def create_send_token(
    *,
    template_id: str,
    to: str | None = None,
    to_hash: str | None = None,
    connector_id: str | None = None,
    connector: str | None = None,
    variables: Mapping[str, Any] | None = None,
    origin: str | None = None,
    expires_in_s: int = 300,
) -> Call[SendToken]:
    """Have the server make a send token, which lets a web page with a publishable key send once.

    Template, recipient and variables are checked now. The page can't choose the given `variables`.
    `messagejs.create_send_token` makes a token without a request, and checks nothing.
    """
    body = _body(
        templateId=template_id,
        to=to,
        toHash=to_hash,
        connectorId=connector_id,
        connector=connector,
        variables=variables,
        origin=origin,
        expiresInS=expires_in_s,
    )
    return Call(
        "POST",
        "/send-tokens",
        lambda answer: SendToken.model_validate(answer.body),
        body=body,
        repeatable=True,
    )


def _sent(answer: Answer) -> Sent:
    is_replay = answer.headers.get("idempotency-replayed") == "true"
    return Sent(
        message_id=answer.body["messageId"], status=answer.body["status"], is_replay=is_replay
    )


def _body(**fields: Any) -> dict[str, Any]:
    return {name: _json(value) for name, value in fields.items() if value is not None}


def _json(value: Any) -> Any:
    if isinstance(value, datetime):
        if value.tzinfo is None:
            raise ValueError(
                f"{value.isoformat()} has no time zone; use datetime.now(timezone.utc), for"
                " example."
            )
        return value.isoformat()
    if isinstance(value, timedelta):
        return math.ceil(value.total_seconds())
    return value
