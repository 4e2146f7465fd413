"""E-mail over SMTP. Everything before DATA is safe to repeat; what breaks after it is uncertain.

Source of the reply codes: RFC 5321 section 4.2, RFC 4954 section 6 (AUTH), RFC 3463 (enhanced
codes).
"""

from __future__ import annotations

import asyncio
import base64
import re
import socket
import ssl
from typing import Final, Literal

import aiosmtplib
import structlog
from email_validator import EmailNotValidError, validate_email
from pydantic import Field, SecretStr, field_validator, model_validator

from backend.providers.frame.errors import (
    InvalidRecipient,
    OutcomeUnknown,
    Rejected,
    SendError,
    Throttled,
    Unauthorized,
    Unavailable,
)
from backend.providers.frame.http import credential_check
from backend.providers.frame.mail import UNSAFE_IN_HEADER, compose, mailbox
from backend.providers.frame.network import AddressRefused, connect_checked, is_host, tls_context
from backend.providers.frame.provider import (
    Accepted,
    Capability,
    Credentials,
    Health,
    OutboundMessage,
    Provider,
    ProviderContext,
)
from backend.providers.frame.smtp_pool import SmtpPool, quit_politely

log = structlog.get_logger(__name__)

# By reply code; other 4xx repeat, other 5xx are final.
_REPLIES: Final[dict[int, type[SendError]]] = {
    421: Unavailable,
    450: Unavailable,
    451: Unavailable,
    452: Unavailable,
    454: Throttled,
    530: Unauthorized,  # authentication required
    534: Unauthorized,  # the mechanism is too weak
    535: Unauthorized,
    538: Unauthorized,  # encryption required
}
# Enhanced codes that say the mailbox does not exist: a hard bounce.
_NO_SUCH_MAILBOX: Final = re.compile(r"5\.1\.(1|6|10)\b")
_CONNECTIONS: Final = 8
_CONNECT_S: Final = 10.0


class SmtpCredentials(Credentials):
    host: str = Field(
        min_length=1,
        max_length=253,
        pattern=r"^[A-Za-z0-9._:\[\]-]+$",
        title="Host",
        json_schema_extra={"placeholder": "smtp.example.com", "destination": True},
    )
    port: int = Field(
        587,
        ge=1,
        le=65535,
        title="Port",
        description="587 with STARTTLS, 465 with TLS.",
        json_schema_extra={"destination": True},
    )
    security: Literal["starttls", "tls", "none"] = Field(
        "starttls",
        title="Security",
        description="None is only for servers in a private network.",
        json_schema_extra={
            "optionLabels": {"starttls": "STARTTLS", "tls": "TLS", "none": "None"},
            "destination": True,
        },
    )
    username: str | None = Field(
        None, max_length=320, title="Username", json_schema_extra={"destination": True}
    )
    password: SecretStr | None = Field(None, title="Password")
    from_address: str | None = Field(
        None,
        title="From address",
        description="Left empty, the username is used where it is an address.",
        json_schema_extra={"placeholder": "hello@example.com", "destination": False},
    )
    from_name: str | None = Field(
        None,
        max_length=200,
        title="From name",
        json_schema_extra={"placeholder": "Harbour Clinic", "destination": False},
    )

    @field_validator("host")
    @classmethod
    def _can_be_looked_up(cls, value: str) -> str:
        if not is_host(value):
            raise ValueError("must be a host name or IP address like 'smtp.example.com'")
        return value

    @field_validator("username", "from_name")
    @classmethod
    def _is_one_line(cls, value: str | None) -> str | None:
        if value is not None and UNSAFE_IN_HEADER.search(value):
            raise ValueError("must be one line without control characters")
        return value

    @field_validator("from_address")
    @classmethod
    def _is_an_address(cls, value: str | None) -> str | None:
        try:
            return None if value is None else _email_address(value)
        except InvalidRecipient as exc:
            raise ValueError("must be an e-mail address like 'hello@example.com'") from exc

    @model_validator(mode="after")
    def _login_is_complete(self) -> SmtpCredentials:
        if (self.username is None) != (self.password is None):
            raise ValueError(
                "username and password go together; give both, or neither for a server without"
                " login"
            )
        if not self.sender:
            raise ValueError(
                "fromAddress is needed where username is not an e-mail address; give one"
            )
        return self

    @property
    def sender(self) -> str:
        """The address mail comes from: fromAddress, or the username where it is one."""
        if self.from_address is not None:
            return self.from_address
        try:
            return _email_address(self.username or "")
        except InvalidRecipient:
            return ""


class SmtpProvider(Provider[SmtpCredentials]):
    type = "smtp"
    title = "SMTP"
    summary = "E-mail through any mail server, as text and HTML."
    channel = "email"
    icon = "mail"
    sender_fields = ("fromAddress", "host")
    recipient_kind = "email"
    recipient_example = "ada@example.com"
    capabilities = frozenset({Capability.TEXT})
    credentials_model = SmtpCredentials

    def __init__(self, credentials: SmtpCredentials, context: ProviderContext) -> None:
        super().__init__(credentials, context)
        self._address = credentials.sender
        self._domain = self._address.rpartition("@")[2]
        # Written once for all mails.
        self._from = mailbox(credentials.from_name or "", self._address)
        password = credentials.password.get_secret_value() if credentials.password else ""
        if password:
            both = f"\0{credentials.username}\0{password}".encode()
            encoded = (
                base64.b64encode(both).decode(),
                base64.b64encode(password.encode()).decode(),
            )
            self.hidden = (*self.hidden, *encoded)
        self._pool = SmtpPool(self._open_connection, size=_CONNECTIONS)

    @classmethod
    def validate_recipient(cls, to: str) -> str:
        return _email_address(to)

    async def aclose(self) -> None:
        await self._pool.aclose()

    async def validate(self) -> Health:
        with credential_check() as elapsed_ms:
            try:
                async with asyncio.timeout(self.context.timeout_s):
                    client = await self._open_connection()
                    try:
                        await client.noop()
                    finally:
                        await quit_politely(client)
            except TimeoutError:
                raise self._too_slow() from None
            except aiosmtplib.SMTPException as exc:
                raise Unavailable(
                    f"{self._server} broke off: {self.quote(exc.message)}", code="broken"
                ) from None
            account = f" as '{self.credentials.username}'" if self.credentials.username else ""
            return Health(
                True,
                f"Connected to {self._server}{account}; it answered in {elapsed_ms()} ms.",
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
                    # The pooled connection was being closed by its server, which was told nothing
                    # yet.
                    answer = await self._hand_over(message, message_id, handover)
        except TimeoutError:
            # aiosmtplib's own timeouts are TimeoutErrors as well.
            if not handover.has_begun:
                raise self._too_slow() from None
            raise OutcomeUnknown(
                f"{self._server} did not confirm the message in time; it may have taken it.",
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
            # Composed with a connection in hand: a millisecond each, and hundreds may be waiting
            # for one.
            content = self._compose(message, message_id)
            if to.isascii() and self._address.isascii():
                await client.mail(self._address)
                await client.rcpt(to)
            elif client.supports_extension("smtputf8"):
                await client.mail(self._address, options=["SMTPUTF8"], encoding="utf-8")
                await client.rcpt(to, encoding="utf-8")
            else:
                raise Rejected(
                    f"{self._server} takes no addresses with letters outside ASCII.",
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
        except (
            Exception
        ) as exc:  # the email package raises many kinds, and none must look like a failed send
            log.warning("mail.unwritable", message_id=message.id, error=type(exc).__name__)
            raise Rejected(
                "The message cannot be written as an e-mail.", code="unwritable"
            ) from exc

    @property
    def _server(self) -> str:
        return f"{self.credentials.host}:{self.credentials.port}"

    def _too_slow(self) -> Unavailable:
        return Unavailable(
            f"{self._server} did not answer in time; nothing was handed over. Check host and port.",
            code="timeout",
        )

    def _failure(self, exc: Exception, message: OutboundMessage, handover: _Handover) -> SendError:
        """Say what an exception after login means for the message."""
        if isinstance(exc, aiosmtplib.SMTPResponseException) and exc.code >= 400:
            return self._refusal(exc, message)
        words = self.quote(
            exc.message if isinstance(exc, aiosmtplib.SMTPException) else exc, message.text
        )
        if handover.has_begun:
            return OutcomeUnknown(
                f"The connection to {self._server} broke while it was taking the message"
                f" ({words}).",
                code="connection_broken",
            )
        if isinstance(exc, ValueError):
            return Rejected(
                "The message's addresses cannot be written for a mail server.", code="unwritable"
            )
        return Unavailable(
            f"{self._server} broke off before the message: {words}", code="connection_broken"
        )

    def _refusal(
        self, exc: aiosmtplib.SMTPResponseException, message: OutboundMessage | None = None
    ) -> SendError:
        reply = self.quote(exc.message, message.text if message else "")
        kind = _REPLIES.get(exc.code, Unavailable if exc.code < 500 else Rejected)
        error = kind(
            f"{self._server} refused with {exc.code}: {reply}",
            code=str(exc.code),
            answer={"code": exc.code, "reply": reply},
        )
        if isinstance(error, Rejected) and _NO_SUCH_MAILBOX.match(reply):
            error.suppress = True
        return error

    async def _open_connection(self) -> aiosmtplib.SMTP:
        """Connect, secure and log in; raises SendError for everything that can go wrong there."""
        credentials = self.credentials
        if credentials.security == "none" and not self.context.allow_private_network:
            raise Unauthorized(
                "Security 'none' is only for a private network; use STARTTLS or TLS, "
                "or let the administrator set ALLOW_PRIVATE_NETWORK=true.",
                code="insecure",
            )
        try:
            async with asyncio.timeout(min(_CONNECT_S, self.context.timeout_s)):
                client = await self._connect()
                try:
                    if credentials.username and credentials.password:
                        await client.login(
                            credentials.username, credentials.password.get_secret_value()
                        )
                    elif client.is_ehlo_or_helo_needed:
                        await _greet(client)
                except BaseException:
                    client.close()
                    raise
                return client
        except TimeoutError:
            raise self._too_slow() from None
        except AddressRefused as exc:
            raise Unauthorized(str(exc), code="address_refused") from exc
        except (aiosmtplib.SMTPException, OSError, ValueError) as exc:
            raise self._connect_failure(exc) from None

    async def _connect(self) -> aiosmtplib.SMTP:
        host, security = self.credentials.host, self.credentials.security
        connection = await connect_checked(
            host, self.credentials.port, allow_private=self.context.allow_private_network
        )
        client = aiosmtplib.SMTP(
            hostname=host.strip("[]"),
            sock=connection,
            use_tls=security == "tls",
            start_tls=security == "starttls",
            tls_context=tls_context() if security != "none" else None,
            local_hostname=_own_name(),
            timeout=None,
        )
        try:
            await client.connect()
        except BaseException:
            connection.close()
            raise
        return client

    def _connect_failure(self, exc: Exception) -> SendError:
        if isinstance(exc, aiosmtplib.SMTPAuthenticationError) and exc.code >= 400:
            refused = self._refusal(exc)
            # Any final refusal of a login is about the account, never about one message.
            return (
                Unauthorized(refused.reason, code=refused.code, answer=refused.answer)
                if exc.code >= 500
                else refused
            )
        cause = exc.__cause__ or exc
        if isinstance(cause, ssl.SSLError):
            problem = (
                cause.verify_message
                if isinstance(cause, ssl.SSLCertVerificationError)
                else cause.reason
            )
            return Unavailable(f"No secure connection to {self._server}: {problem}.", code="tls")
        if isinstance(exc, aiosmtplib.SMTPResponseException):
            return Unavailable(
                f"{self._server} takes no mail now, it said {exc.code}: {self.quote(exc.message)}",
                code=str(exc.code),
            )
        if isinstance(exc, OSError):
            return Unavailable(
                f"{self._server} cannot be reached:"
                f" {self.quote(getattr(cause, 'strerror', None) or exc)}.",
                code="unreachable",
            )
        words = self.quote(
            exc.message if isinstance(exc, aiosmtplib.SMTPException) else "it is not a host name."
        )
        return Unauthorized(
            f"{self._server} cannot be used as configured: {words}", code="unsupported"
        )


class _Handover:
    """Whether DATA has been sent: from then on the server may have the message."""

    __slots__ = ("has_begun",)

    def __init__(self) -> None:
        self.has_begun = False


def _email_address(text: str) -> str:
    """Return the address in its normal form (ASCII where it has one); raises InvalidRecipient."""
    stripped = text.strip()
    try:
        # `test_environment` lets '.test' through, the domain reserved for trying things out (RFC
        # 2606).
        result = validate_email(stripped, check_deliverability=False, test_environment=True)
    except EmailNotValidError as exc:
        raise InvalidRecipient(
            f"'{stripped[:80]}' is not an e-mail address; write it like 'ada@example.com'."
        ) from exc
    return result.ascii_email or result.normalized


def _check_headers(message: OutboundMessage) -> None:
    """Refuse what would start a header of its own."""
    for name, value in (
        ("recipient", message.to),
        ("subject", message.subject or ""),
        ("id", message.id),
    ):
        if UNSAFE_IN_HEADER.search(value):
            raise Rejected(
                f"The {name} holds a line break or control character, which no header can carry;"
                " remove it.",
                code="unsafe_header",
            )


async def _greet(client: aiosmtplib.SMTP) -> None:
    """Learn what the server can do, which a login has otherwise done; old servers know HELO
    only.
    """
    try:
        await client.ehlo()
    except aiosmtplib.SMTPHeloError:
        await client.helo()


def _own_name() -> str:
    """Return the name for EHLO; an address literal where this machine has no full name (RFC 5321
    4.1.4).
    """
    name = socket.gethostname()
    return name if "." in name and name.isascii() else "[127.0.0.1]"
