"""Twilio SMS, through the `twilio` package with our pooled client behind its HttpClient interface.

The package builds the requests (16 us each) and our client sends them, so that the deadline, the
connections and the meaning of a broken exchange are the same as for every other provider.
Source: https://www.twilio.com/docs/api/errors
"""

from __future__ import annotations

import base64
import logging
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final
from urllib.parse import urlencode

import orjson
import structlog
from pydantic import Field, model_validator
from twilio.base.exceptions import TwilioException  # type: ignore[import-untyped]  # the package ships no types
from twilio.http import AsyncHttpClient  # type: ignore[import-untyped]  # the package ships no types
from twilio.http.response import Response  # type: ignore[import-untyped]  # the package ships no types
from twilio.request_validator import RequestValidator  # type: ignore[import-untyped]  # the package ships no types
from twilio.rest import Client  # type: ignore[import-untyped]  # the package ships no types

from backend import ids
from backend.integers import whole_number
from backend.providers.frame import (
    JSON_HEADERS,
    Accepted,
    Answer,
    CallbackRefused,
    CallbackRequest,
    Capability,
    Credentials,
    Endpoint,
    ErrorTable,
    Health,
    OutboundMessage,
    OutcomeUnknown,
    Provider,
    ProviderContext,
    Receipt,
    ReceiptStatus,
    Rejected,
    SendError,
    Throttled,
    Token,
    Unauthorized,
    Unavailable,
    credential_check,
    digest,
    is_opt_out,
    phone_number,
    refusal,
)

log = structlog.get_logger(__name__)

# By `code` in the answer's body.
_ERRORS: Final[ErrorTable] = {
    # Too fast, or Twilio's queue of this sender is full.
    20429: Throttled,
    30001: Throttled,
    63018: Throttled,
    # Not now: the handset is off, or the reason is unknown.
    30003: Unavailable,
    30008: Unavailable,
    # Never, for this message.
    21211: Rejected,
    21408: Rejected,  # the country is not enabled for the account
    21608: Rejected,  # a trial account sends to verified numbers only
    21610: partial(Rejected, suppress=True),  # the recipient answered STOP
    21612: Rejected,
    21614: Rejected,
    21635: Rejected,
    30004: Rejected,
    30005: Rejected,
    30006: Rejected,
    30007: Rejected,
    30034: Rejected,
    30450: Rejected,  # suspected SMS pumping
    63016: Rejected,
    # Broken connector.
    20003: Unauthorized,
    20404: Unauthorized,  # the account in the URL is unknown
    30002: Unauthorized,
}
# None: known, but not a receipt.
_STATUSES: Final[Mapping[str, ReceiptStatus | None]] = {
    "accepted": None,
    "scheduled": None,
    "queued": None,
    "sending": None,
    "sent": "sent",
    "delivered": "delivered",
    "partially_delivered": None,
    "read": "read",
    "undelivered": "undelivered",
    "failed": "failed",
    "canceled": "failed",
    "receiving": None,
    "received": None,
}
_REFUSED: Final = ("failed", "undelivered", "canceled")
# Comes back in the callback's URL.
_MESSAGE_FIELD: Final = "message"
_LOOKED_THROUGH: Final = 50
_SENDER: Final = re.compile(r"\+?[0-9]{3,15}|(?=.*[A-Za-z])[A-Za-z0-9 &_+-]{1,11}")


class TwilioCredentials(Credentials):
    account_sid: str = Field(
        pattern=r"^AC[A-Za-z0-9_.]{1,64}$",
        title="Account SID",
        description="On the first page of the Twilio console.",
        json_schema_extra={
            "placeholder": "AC5f0d2c7e91b84a3c8d6e0f1a2b3c4d5e",
            "destination": True,
        },
    )
    auth_token: Token = Field(
        title="Auth token", description="Next to the account SID; it also signs callbacks."
    )
    from_number: str | None = Field(
        None,
        max_length=16,
        title="From number",
        description=(
            "A number of the account, or an alphanumeric sender. Or use a messaging service."
        ),
        json_schema_extra={"placeholder": "+14155550100", "destination": False},
    )
    messaging_service_sid: str | None = Field(
        None,
        pattern=r"^MG[A-Za-z0-9_.]{1,64}$",
        title="Messaging service SID",
        description="Twilio picks the number. It takes precedence over the from number.",
        json_schema_extra={
            "placeholder": "MG8c41d6f2a97b4e05b1c2d3e4f5a6b7c8",
            "destination": False,
        },
    )

    @model_validator(mode="after")
    def _has_a_sender(self) -> TwilioCredentials:
        if self.from_number is None and self.messaging_service_sid is None:
            raise ValueError("fromNumber or messagingServiceSid is needed; give one of them")
        if self.from_number is not None and _SENDER.fullmatch(self.from_number) is None:
            raise ValueError(
                "fromNumber must be a phone number like '+14155550100' or a sender of up to 11"
                " letters"
            )
        return self


class TwilioProvider(Provider[TwilioCredentials]):
    type = "twilio"
    title = "Twilio"
    icon = "message_square_text"
    channel = "sms"
    summary = "SMS to phones everywhere, from a number or a messaging service."
    recipient_kind = "phone"
    recipient_example = "+14155550123"
    sender_fields = ("fromNumber", "messagingServiceSid", "accountSid")
    base_url = "https://api.twilio.com"
    capabilities = frozenset({Capability.TEXT, Capability.RECEIPTS})
    text_limit = 1600
    callback_type = "application/x-www-form-urlencoded"
    callback_help = (
        "Each message tells Twilio about it once the server's API_BASE_URL is set; there is nothing"
        " to enter."
    )
    can_be_asked = True
    credentials_model = TwilioCredentials

    def __init__(self, credentials: TwilioCredentials, context: ProviderContext) -> None:
        super().__init__(credentials, context)
        account_sid, token = credentials.account_sid, credentials.auth_token.get_secret_value()
        basic = base64.b64encode(f"{account_sid}:{token}".encode()).decode()
        self.hidden = (*self.hidden, basic)
        # Not empty, because the package would then read the process's environment instead.
        environment = {"TWILIO_ACCOUNT_SID": account_sid}
        client = Client(
            account_sid, token, http_client=_PooledHttpClient(self, basic), environment=environment
        )
        client.api.base_url = self.api_url.rstrip("/")
        self._account = client.api.v2010.accounts(account_sid)
        self._messages = self._account.messages
        self._validator = RequestValidator(token)
        if credentials.messaging_service_sid is not None:
            self._sender = {"messaging_service_sid": credentials.messaging_service_sid}
        else:
            self._sender = {"from_": credentials.from_number or ""}

    def account_key(self) -> str:
        token = self.credentials.auth_token.get_secret_value()
        return digest(self.type, self.credentials.account_sid, token)

    @classmethod
    def validate_recipient(cls, to: str) -> str:
        return phone_number(to)

    async def validate(self) -> Health:
        with credential_check() as elapsed_ms:
            account = await self._account.fetch_async()
            name, status = self.quote(account.friendly_name or ""), self.quote(account.status or "")
            if status != "active":
                raise Unauthorized(
                    f"The Twilio account '{name}' is {status or 'of no known status'}.", code=status
                )
            return Health(
                True,
                f"Connected to Twilio: account '{name}' answered in {elapsed_ms()} ms.",
                {"friendlyName": name, "status": status},
            )

    async def send(self, message: OutboundMessage) -> Accepted:
        text = self.check_text(message)
        fields = dict(self._sender)
        if self.context.callback_url is not None:
            fields["status_callback"] = f"{self.context.callback_url}?{_MESSAGE_FIELD}={message.id}"
        try:
            sent = await self._messages.create_async(to=message.to, body=text, **fields)
            provider_id, status, segments = sent.sid, sent.status, sent.num_segments
        except (AttributeError, TypeError, ValueError):
            provider_id = None  # the package could not read the answer
        if not isinstance(provider_id, str):
            raise OutcomeUnknown(
                "Twilio answered without a message SID; it may have taken the message.",
                code="garbled_answer",
            )
        said = {"status": status, "segments": segments}
        return Accepted(
            provider_id,
            answer={name: value for name, value in said.items() if isinstance(value, str)},
        )

    async def find_sent(self, message: OutboundMessage) -> Accepted | None:
        """Look for the recipient, text and sender among what was made since the message exists."""
        created = ids.decode(ids.MESSAGE, message.id)
        # Twilio's clock shows whole seconds.
        since = datetime.fromtimestamp((created.int >> 80) // 1000 if created else 0, UTC)
        with credential_check():
            try:
                listed = await self._messages.list_async(to=message.to, limit=_LOOKED_THROUGH)
                matches = [
                    record
                    for record in listed
                    if self._is_record_of(message, record) and record.date_created >= since
                ]
            except (TwilioException, AttributeError, TypeError, ValueError) as exc:
                raise Unavailable(
                    "Twilio answered with a list that cannot be read.", code="garbled_answer"
                ) from exc
        # Newest first: the last match is what was made first after the message.
        for record in reversed(matches):
            if record.status not in _REFUSED:
                return Accepted(
                    str(record.sid), answer={"status": str(record.status), "found": True}
                )
        return None

    def _is_record_of(self, message: OutboundMessage, record: Any) -> bool:
        """Tell whether Twilio's `record` has the message's sender, recipient and text."""
        service = self.credentials.messaging_service_sid
        if service is None:
            is_ours = record.from_ == self.credentials.from_number
        else:
            is_ours = record.messaging_service_sid == service
        given = (record.to, record.body, record.direction)
        return bool(is_ours and given == (message.to, message.text, "outbound-api"))

    def verify_callback(self, request: CallbackRequest) -> None:
        try:
            fields = _Fields(request.form())
            signature = request.header("x-twilio-signature")
            is_ours = any(self._validator.validate(url, fields, signature) for url in request.urls)
        except ValueError as exc:  # not a form, or an invalid URL
            raise CallbackRefused("The body is not a form.") from exc
        if not is_ours:
            raise CallbackRefused(f"The signature matches none of {', '.join(request.urls)}.")

    def parse_callback(self, request: CallbackRequest) -> list[Receipt]:
        fields = dict(request.form())
        status = fields.get("MessageStatus") or fields.get("SmsStatus", "")
        if status not in _STATUSES:
            log.warning("receipt.unknown_status", provider=self.type, status=status[:40])
            return []
        known, sid = _STATUSES[status], fields.get("MessageSid") or fields.get("SmsSid")
        if known is None or not sid:
            return []
        code = fields.get("ErrorCode", "")
        reason = self.quote(fields.get("ErrorMessage", ""))
        if known in {"failed", "undelivered"} and not reason:
            reason = f"Twilio reports '{status}'."
        return [
            Receipt(
                known,
                provider_message_id=sid,
                message_id=request.query_values().get(_MESSAGE_FIELD),
                code=self.quote(code),
                reason=reason,
                suppress=is_opt_out(_ERRORS, whole_number(code)),
            )
        ]


class _Fields(dict[str, list[str]]):
    """A form as the package's validator reads it: all values of a name."""

    def __init__(self, pairs: list[tuple[str, str]]) -> None:
        super().__init__()
        for name, value in pairs:
            self.setdefault(name, []).append(value)

    def getlist(self, name: str) -> list[str]:
        return self[name]


class _PooledHttpClient(AsyncHttpClient):  # type: ignore[misc]  # the package ships no types
    """The package's HttpClient over ours: returns a success, raises SendError otherwise."""

    def __init__(self, provider: TwilioProvider, basic: str) -> None:
        super().__init__(logging.getLogger(__name__), is_async=True)
        self._provider = provider
        self._headers = {
            **JSON_HEADERS,
            "Content-Type": "application/x-www-form-urlencoded",
            "Authorization": f"Basic {basic}",
        }
        self._endpoints: dict[tuple[str, str], Endpoint] = {}

    async def request(
        self,
        method: str,
        url: str,
        params: dict[str, object] | None = None,
        data: dict[str, object] | None = None,
        **_: Any,
    ) -> Response:
        """Do an exchange. The package's headers and auth are ignored: ours are built only once."""
        endpoint = self._endpoints.get((method, url))
        if endpoint is None or params:
            context = self._provider.context
            endpoint = Endpoint(
                context.http,
                method,
                f"{url}?{urlencode(params)}" if params else url,
                self._headers,
                timeout_s=context.timeout_s,
                title=self._provider.title,
            )
            if not params:
                self._endpoints[method, url] = endpoint
        answer = await endpoint.call(urlencode(data).encode() if data else b"")
        if not answer.is_success:
            raise self._refusal(answer, str(data.get("Body", "")) if data else "")
        return Response(answer.status, orjson.dumps(answer.body).decode(), answer.headers)

    def _refusal(self, answer: Answer, text: str) -> SendError:
        code = answer.body.get("code")
        reason = self._provider.quote(answer.body.get("message", ""), text)
        return refusal(
            self._provider.title,
            answer,
            table=_ERRORS,
            code=code if isinstance(code, int) else None,
            reason=reason,
            said={"message": reason},
        )
