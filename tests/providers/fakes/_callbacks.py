"""Callbacks as the providers' documents say to write and sign them, without our code."""

from __future__ import annotations

import base64
import hashlib
import hmac
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol
from urllib.parse import unquote_plus, urlencode

import orjson

from backend.providers.frame.callbacks import CallbackRequest

URL = "https://msg.example.com/api/v1/callbacks/conn_01h455vb4pex5vsknk084sn02q"


@dataclass(frozen=True, slots=True)
class Reported:
    """What a provider reports about a message; `status` is the provider's word."""

    provider_id: str
    status: str
    message_id: str | None = None  # ours, if it is echoed
    code: int | None = None
    reason: str = ""
    at: float | None = None


class CallbackMaker(Protocol):
    """Makes callbacks. `words`: each of our statuses in the provider's word.

    `request` signs; `signed` signs any body.
    """

    secret: str
    words: Mapping[str, str]

    def request(self, *reported: Reported, url: str = URL) -> CallbackRequest: ...

    def signed(self, body: bytes, *, url: str = URL) -> CallbackRequest: ...


def _query(url: str) -> str:
    return url.partition("?")[2]


class WhatsAppCallbacks:
    words: Mapping[str, str] = {
        "sent": "sent",
        "delivered": "delivered",
        "read": "read",
        "failed": "failed",
    }

    def __init__(self, secret: str, phone_number_id: str = "123456789") -> None:
        self.secret = secret
        self.phone_number_id = phone_number_id

    def request(self, *reported: Reported, url: str = URL) -> CallbackRequest:
        return self.signed(self.body([self.status(report) for report in reported]), url=url)

    def status(self, report: Reported) -> dict[str, Any]:
        status: dict[str, Any] = {
            "id": report.provider_id,
            "status": report.status,
            "timestamp": str(int(report.at if report.at is not None else time.time())),
            "recipient_id": "14155550123",
            "conversation": {"id": "c0ffee", "origin": {"type": "utility"}},
            "pricing": {"billable": True, "pricing_model": "PMP", "category": "utility"},
        }
        if report.message_id is not None:
            status["biz_opaque_callback_data"] = report.message_id
        if report.code is not None:
            details = {"details": report.reason}
            status["errors"] = [
                {"code": report.code, "title": "Failed", "message": "Failed", "error_data": details}
            ]
        return status

    def body(self, statuses: list[Any]) -> bytes:
        metadata = {"display_phone_number": "14155550100", "phone_number_id": self.phone_number_id}
        value = {"messaging_product": "whatsapp", "metadata": metadata, "statuses": statuses}
        changes = [{"field": "messages", "value": value}]
        return orjson.dumps(
            {"object": "whatsapp_business_account", "entry": [{"id": "1", "changes": changes}]}
        )

    def signed(self, body: bytes, *, url: str = URL) -> CallbackRequest:
        signature = hmac.new(self.secret.encode(), body, hashlib.sha256).hexdigest()
        headers = {"content-type": "application/json", "x-hub-signature-256": f"sha256={signature}"}
        return CallbackRequest(body=body, query=_query(url), headers=headers, urls=(url,))


class TwilioCallbacks:
    words: Mapping[str, str] = {
        "sent": "sent",
        "delivered": "delivered",
        "read": "read",
        "failed": "failed",
        "undelivered": "undelivered",
    }

    def __init__(self, secret: str) -> None:
        self.secret = secret

    def request(self, *reported: Reported, url: str = URL) -> CallbackRequest:
        """Return a callback for a single message, as Twilio sends it."""
        (report,) = reported
        if report.message_id is not None:
            url = f"{url}?message={report.message_id}"
        fields = {
            "MessageSid": report.provider_id,
            "SmsSid": report.provider_id,
            "MessageStatus": report.status,
            "SmsStatus": report.status,
            "To": "+14155550123",
            "From": "+14155550100",
            "AccountSid": "AC0123456789",
            "ApiVersion": "2010-04-01",
        }
        if report.code is not None:
            fields |= {"ErrorCode": str(report.code), "ErrorMessage": report.reason}
        return self.signed(urlencode(fields).encode(), url=url)

    def signed(self, body: bytes, *, url: str = URL) -> CallbackRequest:
        pairs = [pair.partition("=")[::2] for pair in body.decode("latin-1").split("&")]
        fields = {unquote_plus(name): unquote_plus(value) for name, value in pairs if name}
        words = url + "".join(name + fields[name] for name in sorted(fields))
        digest = hmac.new(self.secret.encode(), words.encode(), hashlib.sha1).digest()
        headers = {
            "content-type": "application/x-www-form-urlencoded; charset=UTF-8",
            "x-twilio-signature": base64.b64encode(digest).decode(),
        }
        return CallbackRequest(body=body, query=_query(url), headers=headers, urls=(url,))
