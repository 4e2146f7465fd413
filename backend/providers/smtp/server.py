"""One mail server: connect, secure, log in, and say what each of its refusals means.

Source of the reply codes: RFC 5321 section 4.2, RFC 4954 section 6 (AUTH), RFC 3463 (enhanced
codes).
"""

from __future__ import annotations

import asyncio
import re
import socket
import ssl
from collections.abc import Callable
from typing import Final

import aiosmtplib

from backend.providers.frame import (
    ProviderContext,
    Rejected,
    SendError,
    Throttled,
    Unauthorized,
    Unavailable,
)
from backend.providers.frame.network import AddressRefused, connect_checked, tls_context
from backend.providers.smtp.credentials import SmtpCredentials

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
_CONNECT_S: Final = 10.0


class MailServer:
    """Opens connections. `quote` clears the server's words of secrets and of a message's text."""

    def __init__(
        self,
        credentials: SmtpCredentials,
        context: ProviderContext,
        quote: Callable[[object, str], str],
    ) -> None:
        self._credentials = credentials
        self._context = context
        self._quote = quote
        self.name = f"{credentials.host}:{credentials.port}"

    async def open(self) -> aiosmtplib.SMTP:
        """Return a connection that is ready to send; raises SendError for anything that fails."""
        if self._credentials.security == "none" and not self._context.allow_private_network:
            raise Unauthorized(
                "Security 'none' is only for a private network; use STARTTLS or TLS, "
                "or let the administrator set ALLOW_PRIVATE_NETWORK=true.",
                code="insecure",
            )
        try:
            async with asyncio.timeout(min(_CONNECT_S, self._context.timeout_s)):
                client = await self._connect()
                try:
                    await self._log_in(client)
                except BaseException:
                    client.close()
                    raise
                return client
        except TimeoutError:
            raise self.too_slow() from None
        except AddressRefused as exc:
            raise Unauthorized(str(exc), code="address_refused") from exc
        except (aiosmtplib.SMTPException, OSError, ValueError) as exc:
            raise self._connect_failure(exc) from None

    def too_slow(self) -> Unavailable:
        return Unavailable(
            f"{self.name} did not answer in time; nothing was handed over. Check host and port.",
            code="timeout",
        )

    def refusal(self, exc: aiosmtplib.SMTPResponseException, text: str = "") -> SendError:
        """Return the error that the reply code stands for; `text` is the message's."""
        reply = self._quote(exc.message, text)
        kind = _REPLIES.get(exc.code, Unavailable if exc.code < 500 else Rejected)
        error = kind(
            f"{self.name} refused with {exc.code}: {reply}",
            code=str(exc.code),
            answer={"code": exc.code, "reply": reply},
        )
        if isinstance(error, Rejected) and _NO_SUCH_MAILBOX.match(reply):
            error.suppress = True
        return error

    async def _connect(self) -> aiosmtplib.SMTP:
        host, security = self._credentials.host, self._credentials.security
        connection = await connect_checked(
            host, self._credentials.port, allow_private=self._context.allow_private_network
        )
        client = aiosmtplib.SMTP(
            hostname=host.strip("[]"),
            sock=connection,
            use_tls=security == "tls",
            start_tls=security == "starttls",
            tls_context=tls_context() if security != "none" else None,
            local_hostname=_local_name(),
            timeout=None,
        )
        try:
            await client.connect()
        except BaseException:
            connection.close()
            raise
        return client

    async def _log_in(self, client: aiosmtplib.SMTP) -> None:
        username, password = self._credentials.username, self._credentials.password
        if username and password:
            await client.login(username, password.get_secret_value())
        elif client.is_ehlo_or_helo_needed:
            await _greet(client)

    def _connect_failure(self, exc: Exception) -> SendError:
        if isinstance(exc, aiosmtplib.SMTPAuthenticationError) and exc.code >= 400:
            refused = self.refusal(exc)
            if exc.code < 500:
                return refused
            # A final refusal of a login is about the account, never about one message.
            return Unauthorized(refused.reason, code=refused.code, answer=refused.answer)
        cause = exc.__cause__ or exc
        if isinstance(cause, ssl.SSLError):
            return Unavailable(
                f"No secure connection to {self.name}: {_tls_problem(cause)}.", code="tls"
            )
        if isinstance(exc, aiosmtplib.SMTPResponseException):
            words = self._quote(exc.message, "")
            return Unavailable(
                f"{self.name} isn't taking mail now; it said {exc.code}: {words}",
                code=str(exc.code),
            )
        if isinstance(exc, OSError):
            words = self._quote(getattr(cause, "strerror", None) or exc, "")
            return Unavailable(f"{self.name} cannot be reached: {words}.", code="unreachable")
        problem = "it is not a host name."
        if isinstance(exc, aiosmtplib.SMTPException):
            problem = exc.message
        return Unauthorized(
            f"{self.name} cannot be used as configured: {self._quote(problem, '')}",
            code="unsupported",
        )


def _tls_problem(error: ssl.SSLError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return error.verify_message
    return error.reason


async def _greet(client: aiosmtplib.SMTP) -> None:
    """Ask what the server can do, as a login does by itself; old servers know HELO only."""
    try:
        await client.ehlo()
    except aiosmtplib.SMTPHeloError:
        await client.helo()


def _local_name() -> str:
    """Return the name for EHLO.

    An address literal if this machine has no full name (RFC 5321 4.1.4).
    """
    name = socket.gethostname()
    return name if "." in name and name.isascii() else "[127.0.0.1]"
