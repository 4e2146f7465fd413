"""WhatsApp Cloud API: text and approved templates.

Our message id travels in `biz_opaque_callback_data` and comes back with every status, which settles
a callback that overtakes the answer, and a send whose outcome is unknown.
Source: https://developers.facebook.com/docs/whatsapp/cloud-api/support/error-codes
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any, Final

import orjson
import structlog
from pydantic import Field

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
    Pacing,
    Provider,
    ProviderContext,
    ProviderTemplate,
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
    is_same,
    is_signed,
    objects,
    phone_number,
    refusal,
    unix_instant,
)

log = structlog.get_logger(__name__)

# By `error.code`: the HTTP status misleads.
_ERRORS: Final[ErrorTable] = {
    # Too fast.
    4: Throttled,
    80007: Throttled,
    130429: Throttled,
    131048: partial(Throttled, retry_after_s=60.0),  # reported as spam: slow the sender
    131056: partial(Throttled, retry_after_s=6.0, recipient_only=True),  # one pair of numbers
    # Not now.
    1: Unavailable,
    2: Unavailable,
    131000: Unavailable,
    131016: Unavailable,
    131057: Unavailable,
    # Never, for this message.
    100: Rejected,
    130472: Rejected,  # part of Meta's experiment: not delivered
    131008: Rejected,
    131009: Rejected,
    131026: Rejected,  # not on WhatsApp
    131030: Rejected,  # not in a test number's allow-list
    131047: Rejected,  # 24 h since the last inbound message: needs a template
    131049: Rejected,  # Meta asks for no automatic retry
    131050: partial(Rejected, suppress=True),  # opted out of marketing
    131051: Rejected,
    131053: Rejected,
    132000: Rejected,
    132001: Rejected,
    132005: Rejected,
    132007: Rejected,
    132012: Rejected,
    132015: Rejected,
    132016: Rejected,
    # Broken connector.
    0: Unauthorized,
    10: Unauthorized,
    190: Unauthorized,
    **dict.fromkeys(range(200, 300), Unauthorized),
    368: Unauthorized,
    131031: Unauthorized,
    131042: Unauthorized,
    131045: Unauthorized,
    133010: Unauthorized,
}

_STATUSES: Final[Mapping[str, ReceiptStatus]] = {
    "sent": "sent",
    "delivered": "delivered",
    "read": "read",
    "played": "read",  # a voice message
    "failed": "failed",
}


class WhatsAppCredentials(Credentials):
    phone_number_id: str = Field(
        pattern=r"^[0-9]{1,32}$",
        title="Phone number ID",
        description=(
            "Meta for Developers, your app, WhatsApp, API setup. Not the phone number itself."
        ),
        json_schema_extra={"placeholder": "123456789012345", "destination": True},
    )
    access_token: Token = Field(
        title="Access token",
        description="A permanent token of a system user with whatsapp_business_messaging.",
        json_schema_extra={"placeholder": "EAAG..."},
    )
    business_account_id: str | None = Field(
        None,
        pattern=r"^[0-9]{1,32}$",
        title="Business account ID",
        description="Needed to list approved templates.",
        json_schema_extra={"destination": True},
    )
    app_secret: Token | None = Field(
        None,
        title="App secret",
        description="Needed to verify Meta's callbacks.",
        json_schema_extra={"is_sent": False},
    )
    verify_token: Token | None = Field(
        None,
        title="Verify token",
        description="A word you choose; give Meta the same word when you set the callback.",
        json_schema_extra={"is_sent": False},
    )


class WhatsAppProvider(Provider[WhatsAppCredentials]):
    type = "whatsapp"
    title = "WhatsApp"
    icon = "message_circle"
    channel = "whatsapp"
    summary = "Text and approved templates from a WhatsApp Business number, by Meta's Cloud API."
    recipient_kind = "phone"
    recipient_example = "+14155550123"
    sender_fields = ("phoneNumberId",)
    base_url = "https://graph.facebook.com"  # the settings add the version
    capabilities = frozenset(
        {Capability.TEXT, Capability.TEMPLATE, Capability.RECEIPTS, Capability.READ_RECEIPTS}
    )
    pacing = Pacing(per_second=80, per_recipient_per_second=1 / 6)
    text_limit = 4096
    callback_type = "application/json"
    callback_help = (
        "Enter it in Meta for Developers under WhatsApp, Configuration, with the verify token"
        " above, and subscribe to 'messages'."
    )
    receipts_carry_our_id = True
    credentials_model = WhatsAppCredentials

    def __init__(self, credentials: WhatsAppCredentials, context: ProviderContext) -> None:
        super().__init__(credentials, context)
        self._number_url = f"{self.api_url}/{credentials.phone_number_id}"
        self._headers = {
            **JSON_HEADERS,
            "Authorization": f"Bearer {credentials.access_token.get_secret_value()}",
        }
        self._messages = self._endpoint("POST", f"{self._number_url}/messages")

    def account_key(self) -> str:
        return digest(
            self.type,
            self.credentials.phone_number_id,
            self.credentials.access_token.get_secret_value(),
        )

    def _endpoint(self, method: str, url: str) -> Endpoint:
        return Endpoint(
            self.context.http,
            method,
            url,
            self._headers,
            timeout_s=self.context.timeout_s,
            title=self.title,
        )

    @classmethod
    def validate_recipient(cls, to: str) -> str:
        return phone_number(to)

    async def validate(self) -> Health:
        with credential_check() as elapsed_ms:
            url = f"{self._number_url}?fields=verified_name,display_phone_number,quality_rating"
            answer = await self._endpoint("GET", url).call()
            if not answer.is_success or "error" in answer.body:
                raise self._refusal(answer)
            name = self.quote(answer.body.get("verified_name", ""))
            number = self.quote(answer.body.get("display_phone_number", ""))
            account = f"number {number or self.credentials.phone_number_id}"
            if name:
                account = f"account '{name}'"
            return Health(
                True,
                f"Connected to WhatsApp Cloud API: {account} answered in {elapsed_ms()} ms.",
                {"verifiedName": name, "phoneNumber": number},
            )

    async def send(self, message: OutboundMessage) -> Accepted:
        body: dict[str, Any] = {
            "messaging_product": "whatsapp",
            "recipient_type": "individual",
            "to": message.to,
            "biz_opaque_callback_data": message.id,
        }
        if message.template is None:
            body["type"] = "text"
            body["text"] = {"body": self.check_text(message), "preview_url": False}
        else:
            body["type"] = "template"
            body["template"] = _template(message.template)
        answer = await self._messages.call(orjson.dumps(body))
        if not answer.is_success or "error" in answer.body:
            raise self._refusal(answer, message.text)
        return _accepted(answer)

    def answer_handshake(self, request: CallbackRequest) -> str:
        asked = request.query_values()
        token = self.credentials.verify_token
        if token is None:
            raise CallbackRefused("The connector has no verify token; add one.")
        is_ours = is_same(asked.get("hub.verify_token", ""), token.get_secret_value())
        if asked.get("hub.mode") != "subscribe" or not is_ours:
            raise CallbackRefused("The verify token is a different one.")
        return asked.get("hub.challenge", "")

    def verify_callback(self, request: CallbackRequest) -> None:
        secret = self.credentials.app_secret
        if secret is None:
            raise CallbackRefused("The connector has no app secret to verify callbacks with.")
        signature = request.header("x-hub-signature-256").removeprefix("sha256=")
        if not is_signed(request.body, secret.get_secret_value(), signature):
            raise CallbackRefused("The signature doesn't match the body.")

    def parse_callback(self, request: CallbackRequest) -> list[Receipt]:
        receipts: list[Receipt] = []
        for status in _statuses(request.body, self.credentials.phone_number_id):
            try:
                receipt = self._receipt(status)
            except (TypeError, ValueError) as exc:
                log.warning("receipt.unreadable", provider=self.type, problem=type(exc).__name__)
            else:
                receipts += [receipt] if receipt is not None else []
        return receipts

    def _receipt(self, status: Mapping[str, Any]) -> Receipt | None:
        """Return None for an unknown status; raises ValueError for an item without an id."""
        known = _STATUSES.get(str(status.get("status")))
        if known is None:
            log.warning(
                "receipt.unknown_status", provider=self.type, status=str(status.get("status"))[:40]
            )
            return None
        provider_id, ours = status.get("id"), status.get("biz_opaque_callback_data")
        if not isinstance(provider_id, str) or not provider_id:
            raise ValueError("a status without an id")
        code, reason = "", ""
        suppress = False
        for error in objects(status.get("errors"))[:1]:
            number = error.get("code")
            code = "" if number is None else self.quote(number)
            reason = self.quote(_details(error) or error.get("message") or error.get("title") or "")
            suppress = isinstance(number, int) and is_opt_out(_ERRORS, number)
        return Receipt(
            known,
            provider_message_id=provider_id,
            message_id=ours if isinstance(ours, str) else None,
            at=unix_instant(status.get("timestamp")),
            code=code,
            reason=reason,
            suppress=suppress,
        )

    def _refusal(self, answer: Answer, text: str = "") -> SendError:
        given = answer.body.get("error")
        error: dict[str, Any] = given if isinstance(given, dict) else {}
        code = error.get("code")
        reason = self.quote(_details(error) or error.get("message", ""), text)
        said = {"message": self.quote(error.get("message", ""), text)}
        if error.get("fbtrace_id"):
            said["fbtraceId"] = self.quote(error["fbtrace_id"])
        return refusal(
            self.title,
            answer,
            table=_ERRORS,
            code=code if isinstance(code, int) else None,
            reason=reason,
            said=said,
        )


def _details(error: Mapping[str, object]) -> object:
    data = error.get("error_data")
    return data.get("details") if isinstance(data, dict) else None


def _statuses(body: bytes, phone_number_id: str) -> Iterator[Mapping[str, Any]]:
    """Yield `entry[].changes[].value.statuses[]` of this number.

    An app has a single callback URL for all its numbers.
    """
    try:
        payload = orjson.loads(body)
    except orjson.JSONDecodeError:
        log.warning("receipt.unreadable", provider=WhatsAppProvider.type, problem="no JSON")
        return
    for entry in objects(payload.get("entry") if isinstance(payload, dict) else None):
        for change in objects(entry.get("changes")):
            value = change.get("value")
            if isinstance(value, dict) and _is_of(value.get("metadata"), phone_number_id):
                yield from objects(value.get("statuses"))


def _is_of(metadata: object, phone_number_id: str) -> bool:
    named = metadata.get("phone_number_id") if isinstance(metadata, dict) else None
    return named is None or str(named) == phone_number_id


def _template(template: ProviderTemplate) -> dict[str, Any]:
    body: dict[str, Any] = {"name": template.name, "language": {"code": template.language}}
    if template.parameters:
        parameters = [{"type": "text", "text": text} for text in template.parameters]
        body["components"] = [{"type": "body", "parameters": parameters}]
    return body


def _accepted(answer: Answer) -> Accepted:
    messages = answer.body.get("messages")
    first = messages[0] if isinstance(messages, list) and messages else None
    if not isinstance(first, dict) or not isinstance(first.get("id"), str):
        raise OutcomeUnknown(
            "WhatsApp answered without a message id; it may have taken the message.",
            code="garbled_answer",
        )
    status = first.get("message_status")
    return Accepted(
        first["id"], answer={"messageStatus": status} if isinstance(status, str) else {}
    )
