"""What the contract tests need to know about each provider: an entry per type."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from tests.providers.fakes._callbacks import CallbackMaker, TwilioCallbacks, WhatsAppCallbacks
from tests.providers.fakes._faults import Fault, FaultServer, SmtpFaultServer

FaultMaker = Callable[[Fault], FaultServer | SmtpFaultServer]


@dataclass(frozen=True, slots=True)
class Case:
    """How to point a provider at a loopback server.

    `credentials(host, port)` and `base_url(host, port)` lead it there; `nonsense` are recipients it
    must refuse; `fault_server` is None for a provider that uses no network.
    """

    credentials: Callable[[str, int], Mapping[str, Any]]
    base_url: Callable[[str, int], str] = lambda host, port: f"http://{host}:{port}"
    nonsense: tuple[str, ...] = ("",)
    fault_server: FaultMaker | None = FaultServer
    # The faults for which the protocol's reply codes define another outcome.
    unlike_http: frozenset[Fault] = field(default_factory=frozenset)
    # Writes and signs what the provider would report; None if it has no receipts.
    callbacks: CallbackMaker | None = None


CASES: Final[dict[str, Case]] = {
    "sandbox": Case(
        credentials=lambda host, port: {}, nonsense=("", "sandbox:nonsense"), fault_server=None
    ),
    "smtp": Case(
        credentials=lambda host, port: {
            "host": host,
            "port": port,
            "security": "none",
            "username": "clinic@example.com",
            "password": "smtp-password-4711",
        },
        nonsense=("", "ada", "ada@", "ada@example.com\r\nBcc: eve@example.com", "@example.com"),
        fault_server=SmtpFaultServer,
        unlike_http=frozenset({"500"}),
    ),
    "telegram": Case(
        credentials=lambda host, port: {"botToken": "123456:telegram-secret-4711"},
        base_url=lambda host, port: f"http://{host}:{port}/bot",
        nonsense=("", "ada", "@x", "12a", "+14155550123", "0"),
    ),
    "twilio": Case(
        credentials=lambda host, port: {
            "accountSid": "AC0123456789",
            "authToken": "twilio-secret-4711",
            "fromNumber": "+14155550100",
        },
        nonsense=("", "ada", "123", "+0123456789", "+1415555012345678", "٣٣٣٣٣٣٣٣"),
        callbacks=TwilioCallbacks("twilio-secret-4711"),
    ),
    "whatsapp": Case(
        credentials=lambda host, port: {
            "phoneNumberId": "123456789",
            "accessToken": "EAAG-whatsapp-secret-4711",
            "appSecret": "app-secret-4711",
        },
        callbacks=WhatsAppCallbacks("app-secret-4711"),
        base_url=lambda host, port: f"http://{host}:{port}/v23.0",
        nonsense=("", "ada", "123", "+0123456789", "+1415555012345678"),
    ),
}
