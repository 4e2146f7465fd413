"""Hand e-mail to a mail server. Only a failure once DATA has begun leaves the outcome unknown."""

from __future__ import annotations

import asyncio
import base64
from typing import Final

import aiosmtplib
import structlog

from backend.providers.frame import (
    Accepted,
    Capability,
    Health,
    OutboundMessage,
    OutcomeUnknown,
    Provider,
    ProviderContext,
    Rejected,
    SendError,
    Unavailable,
    credential_check,
)
from backend.providers.smtp.credentials import SmtpCredentials, email_address
from backend.providers.smtp.mail import UNSAFE_IN_HEADER, compose, mailbox
from backend.providers.smtp.pool import SmtpPool, quit_politely
from backend.providers.smtp.server import MailServer

log = structlog.get_logger(__name__)

_CONNECTIONS: Final = 8


class SmtpProvider(Provider[SmtpCredentials]):
    type = "smtp"
    title = "SMTP"
    icon = "mail"
    channel = "email"
    summary = "E-mail through any mail server, as text and HTML."
    recipient_kind = "email"
    recipient_example = "ada@example.com"
    sender_fields = ("fromAddress", "host")
    capabilities = frozenset({Capability.TEXT})
    credentials_model = SmtpCredentials

    def __init__(self, credentials: SmtpCredentials, context: ProviderContext) -> None:
        super().__init__(credentials, context)
        self._address = credentials.sender
        self._domain = self._address.rpartition("@")[2]
        # The same in every mail.
        self._from = mailbox(credentials.from_name or "", self._address)
        password = credentials.password.get_secret_value() if credentials.password else ""
        if password:
            both = f"\0{credentials.username}\0{password}".encode()
            encoded = (
                base64.b64encode(both).decode(),
                base64.b64encode(password.encode()).decode(),
            )
            self.hidden = (*self.hidden, *encoded)
        self._server = MailServer(credentials, context, self.quote)
        self._pool = SmtpPool(self._server.open, size=_CONNECTIONS)

    @classmethod
    def validate_recipient(cls, to: str) -> str:
        return email_address(to)

    async def aclose(self) -> None:
        await self._pool.aclose()

    async def validate(self) -> Health:
        with credential_check() as elapsed_ms:
            try:
                async with asyncio.timeout(self.context.timeout_s):
                    client = await self._server.open()
                    try:
                        await client.noop()
                    finally:
                        await quit_politely(client)
            except TimeoutError:
                raise self._server.too_slow() from None
            except aiosmtplib.SMTPException as exc:
                raise Unavailable(
                    f"{self._server.name} broke off: {self.quote(exc.message)}", code="broken"
                ) from None
            account = f" as '{self.credentials.username}'" if self.credentials.username else ""
            return Health(
                True,
                f"Connected to {self._server.name}{account}; it answered in {elapsed_ms()} ms.",
                {"host": self.credentials.host, "from": self._address},
            )

    async def send(self, message: OutboundMessage) -> Accepted:
        message_id = f"<{message.id}@{self._domain}>"
        _check_headers(message)
        handover = _Handover()
        try:
            async with asyncio.timeout(self.context.timeout_s):
                try:
                    answer = await self._hand_over(message, message_id, handover)
                except aiosmtplib.SMTPServerDisconnected:
                    if handover.has_begun:
                        raise
                    # The server was closing the pooled connection; it has read nothing of this
                    # message.
                    answer = await self._hand_over(message, message_id, handover)
        except TimeoutError:
            # aiosmtplib's own timeouts are TimeoutErrors too.
            if not handover.has_begun:
                raise self._server.too_slow() from None
            raise OutcomeUnknown(
                f"{self._server.name} did not confirm the message in time; it may have taken it.",
                code="timeout",
            ) from None
        except (aiosmtplib.SMTPException, OSError, ValueError) as exc:
            raise self._failure(exc, message, handover) from None
        reply = self.quote(answer.message, message.text)
        return Accepted(message_id, answer={"code": answer.code, "reply": reply})

    async def _hand_over(
        self, message: OutboundMessage, message_id: str, handover: _Handover
    ) -> aiosmtplib.SMTPResponse:
        to = message.to
        async with self._pool.connection() as client:
            # Composed only once there is a connection: it takes a millisecond, and hundreds of
            # messages may be waiting for a connection.
            content = self._compose(message, message_id)
            if to.isascii() and self._address.isascii():
                await client.mail(self._address)
                await client.rcpt(to)
            elif client.supports_extension("smtputf8"):
                await client.mail(self._address, options=["SMTPUTF8"], encoding="utf-8")
                await client.rcpt(to, encoding="utf-8")
            else:
                raise Rejected(
                    f"{self._server.name} doesn't take addresses with letters outside ASCII.",
                    code="smtputf8",
                )
            handover.has_begun = True
            return await client.data(content)

    def _compose(self, message: OutboundMessage, message_id: str) -> bytes:
        try:
            return compose(
                sender=self._from,
                to=message.to,
                subject=message.subject,
                message_id=message_id,
                text=message.text,
                html=message.html,
            )
        except Exception as exc:
            # The email package raises many kinds, and none of them may look like a failed send.
            log.warning("mail.unwritable", message_id=message.id, error=type(exc).__name__)
            raise Rejected(
                "The message cannot be written as an e-mail.", code="unwritable"
            ) from exc

    def _failure(self, exc: Exception, message: OutboundMessage, handover: _Handover) -> SendError:
        """Say what an exception after login means for the message."""
        if isinstance(exc, aiosmtplib.SMTPResponseException) and exc.code >= 400:
            return self._server.refusal(exc, message.text)
        problem = exc.message if isinstance(exc, aiosmtplib.SMTPException) else exc
        words = self.quote(problem, message.text)
        if handover.has_begun:
            return OutcomeUnknown(
                f"The connection to {self._server.name} broke while it was taking the message"
                f" ({words}).",
                code="connection_broken",
            )
        if isinstance(exc, ValueError):
            return Rejected(
                "The message's addresses cannot be written for a mail server.", code="unwritable"
            )
        return Unavailable(
            f"{self._server.name} broke off before the message: {words}", code="connection_broken"
        )


class _Handover:
    """Whether DATA has been sent: from then on the server may have the message."""

    __slots__ = ("has_begun",)

    def __init__(self) -> None:
        self.has_begun = False


def _check_headers(message: OutboundMessage) -> None:
    """Refuse what would start another header."""
    for name, value in (
        ("recipient", message.to),
        ("subject", message.subject or ""),
        ("id", message.id),
    ):
        if UNSAFE_IN_HEADER.search(value):
            raise Rejected(
                f"The {name} has a line break or control character, which a header can't carry;"
                " remove it.",
                code="unsafe_header",
            )
