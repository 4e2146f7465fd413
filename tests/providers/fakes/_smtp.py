"""A real SMTP server (aiosmtpd) in the test's own event loop."""

from __future__ import annotations

import asyncio
import ssl
from dataclasses import dataclass
from email import message_from_bytes, policy
from email.message import EmailMessage
from types import TracebackType
from typing import Any, Self

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session


@dataclass(frozen=True, slots=True)
class ReceivedMail:
    sender: str
    recipients: tuple[str, ...]
    raw: bytes

    @property
    def email(self) -> EmailMessage:
        parsed = message_from_bytes(self.raw, policy=policy.default)
        assert isinstance(parsed, EmailMessage)
        return parsed


class FakeSmtp:
    """Records mail; `refuse` maps MAIL, RCPT, DATA (after the text) or NOOP to a reply like '450
    4.2.0 later'.

    With `username` and `password` a login is required; with `tls` STARTTLS is offered.
    """

    def __init__(
        self,
        *,
        username: str = "",
        password: str = "",
        tls: ssl.SSLContext | None = None,
        latency_s: float = 0.0,
    ) -> None:
        self.latency_s = latency_s
        self.mails: list[ReceivedMail] = []
        self.refuse: dict[str, str] = {}
        self.connections = 0
        self.logins = 0
        self.host = "127.0.0.1"
        self.port = 0
        self._username = username
        self._password = password
        self._tls = tls
        self._server: asyncio.Server | None = None
        self._sessions: list[SMTP] = []

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(self._session, self.host, self.port)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._server is not None:
            self._server.close()
        self.drop_connections()
        await asyncio.sleep(0)

    def drop_connections(self) -> None:
        """Close every connection, like a server that restarts or finds its clients idle."""
        for session in self._sessions:
            if session.transport is not None:
                session.transport.close()
        self._sessions.clear()

    def _session(self) -> SMTP:
        self.connections += 1
        session = SMTP(
            self,
            hostname="fake.test",
            enable_SMTPUTF8=True,
            tls_context=self._tls,
            require_starttls=self._tls is not None,
            auth_required=bool(self._username),
            auth_require_tls=self._tls is not None,
            authenticator=self._authenticate,
        )
        self._sessions.append(session)
        return session

    def _authenticate(
        self, server: SMTP, session: Session, envelope: Envelope, mechanism: str, data: Any
    ) -> AuthResult:
        self.logins += 1
        expected = LoginPassword(self._username.encode(), self._password.encode())
        return AuthResult(success=data == expected, handled=False)

    async def handle_NOOP(  # noqa: N802
        self, server: SMTP, session: Session, envelope: Envelope, arg: str
    ) -> str:
        return self.refuse.get("NOOP", "250 OK")

    async def handle_MAIL(  # noqa: N802
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if "MAIL" in self.refuse:
            return self.refuse["MAIL"]
        envelope.mail_from = address
        return "250 OK"

    async def handle_RCPT(  # noqa: N802
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if "RCPT" in self.refuse:
            return self.refuse["RCPT"]
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        if self.latency_s:
            await asyncio.sleep(self.latency_s)
        if "DATA" in self.refuse:
            return self.refuse["DATA"]
        assert isinstance(envelope.content, bytes)
        self.mails.append(
            ReceivedMail(envelope.mail_from or "", tuple(envelope.rcpt_tos), envelope.content)
        )
        return f"250 2.0.0 queued as {len(self.mails)}"
