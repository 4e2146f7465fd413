"""The platform's own mail: links for resets, confirmations and invitations, never in a request's
time.

Sent by the SMTP provider's adapter from PLATFORM_SMTP_URL. Without one the link is printed to the
log, which is how the operator of a small install hands it on.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Coroutine
from dataclasses import dataclass, replace
from typing import Any, Final
from urllib.parse import parse_qs, unquote, urlsplit

import structlog

from backend import ids
from backend.providers.frame.errors import SendError, Throttled, Unavailable
from backend.providers.frame.provider import OutboundMessage, Provider, ProviderContext
from backend.providers.smtp import SmtpCredentials, SmtpProvider
from backend.settings import Settings

log = structlog.get_logger()

_MAIL_PREFIX: Final = "mail"
_DEFAULT_PORT: Final = {"smtp": 587, "smtps": 465}
_LONGEST_NAME: Final = 80
_NOT_SHOWN: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]")
# What mail programs find links by: a scheme's colon, an address's at sign, a domain's dot (in any
# script), a path.
_LINKED: Final = re.compile(r"[.:/@\\\u2024\u3002\uff0e\uff61\uff1a\uff0f\uff20](?=\S)")
_RETRY_AFTER_S: Final = (1.0, 10.0, 60.0)
_MAX_WAITING: Final = 1000
_DRAIN_S: Final = 5.0


@dataclass(frozen=True, slots=True)
class Mail:
    """One mail around one link. `event` names it in the log: password_reset, invitation ..."""

    event: str
    to: str
    subject: str
    text: str
    link: str


def credentials_of(url: str) -> dict[str, Any]:
    """Return the SMTP adapter's credentials from `smtp[s]://user:password@host:port?from=...`."""
    parts = urlsplit(url)
    query = {name: values[-1] for name, values in parse_qs(parts.query).items()}
    username = unquote(parts.username) if parts.username else None
    sender = query.get("from") or (
        username if username and "@" in username else f"messagejs@{parts.hostname}"
    )
    return {
        "host": parts.hostname,
        "port": parts.port or _DEFAULT_PORT[parts.scheme],
        "security": query.get("security") or ("tls" if parts.scheme == "smtps" else "starttls"),
        "username": username,
        "password": unquote(parts.password) if parts.password else None,
        "fromAddress": sender,
        "fromName": query.get("name") or "MessageJS",
    }


def shown(name: str) -> str:
    """Return a name that a stranger chose as a mail may show it: one short line that no reader
    makes a link of.
    """
    line = _LINKED.sub(r"\g<0> ", " ".join(_NOT_SHOWN.sub(" ", name).split()))
    return line if len(line) <= _LONGEST_NAME else line[: _LONGEST_NAME - 3].rstrip() + "..."


class PlatformMail:
    """Runs work after the answer.

    What still waits when the process ends has `_DRAIN_S` to finish.
    """

    def __init__(
        self,
        settings: Settings,
        context: ProviderContext,
        *,
        retry_after_s: tuple[float, ...] = _RETRY_AFTER_S,
    ) -> None:
        self._retry_after_s = retry_after_s
        self._url = settings.platform_smtp_url
        # The operator's own server, in whatever network it is.
        self._context = replace(context, allow_private_network=True)
        self._provider: Provider[Any] | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    def later(self, work: Coroutine[Any, Any, None]) -> None:
        """Do `work` in the background; its errors are logged."""
        if len(self._tasks) >= _MAX_WAITING:
            work.close()
            log.error("mail.dropped", waiting=len(self._tasks))
            return
        task = asyncio.create_task(self._guarded(work), name="platform-mail")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def post(self, mail: Mail) -> None:
        self.later(self.send(mail))

    async def send(self, mail: Mail) -> None:
        """Send one mail, trying again while the server is down."""
        if self._url is None:
            log.warning(
                "mail.not_set",
                mail=mail.event,
                link=mail.link,
                remedy="set PLATFORM_SMTP_URL to send mail",
            )
            return
        message = OutboundMessage(
            id=ids.encode(_MAIL_PREFIX, ids.new_id()),
            to=mail.to,
            subject=mail.subject,
            text=mail.text,
        )
        for wait_s in (*self._retry_after_s, None):
            try:
                await self._adapter(self._url.get_secret_value()).send(message)
            except (Unavailable, Throttled) as exc:
                if wait_s is None:
                    log.warning("mail.failed", mail=mail.event, reason=str(exc))
                    return
                await asyncio.sleep(wait_s)
            except SendError as exc:
                log.warning("mail.failed", mail=mail.event, reason=str(exc))
                return
            else:
                log.info("mail.sent", mail=mail.event)
                return

    async def idle(self) -> None:
        """Wait until everything asked for so far is done."""
        while self._tasks:
            await asyncio.wait(set(self._tasks))

    async def aclose(self) -> None:
        try:
            async with asyncio.timeout(_DRAIN_S):
                await self.idle()
        except TimeoutError:
            log.warning("mail.given_up", waiting=len(self._tasks))
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._provider is not None:
            await self._provider.aclose()

    def _adapter(self, url: str) -> Provider[Any]:
        if self._provider is None:
            credentials = SmtpCredentials.model_validate(credentials_of(url))
            self._provider = SmtpProvider(credentials, self._context)
        return self._provider

    async def _guarded(self, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except Exception:  # nobody waits for this task: the log is its only reader
            log.exception("mail.failed")
