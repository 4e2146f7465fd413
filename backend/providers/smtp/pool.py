"""A connector's open SMTP connections: bounded, checked before reuse, closed when idle."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Final

import aiosmtplib

from backend.providers.frame import Throttled

# Less than the minute after which common servers drop a silent client.
_IDLE_S: Final = 20.0
# After a longer silence a NOOP checks the connection, so that no message's outcome becomes unknown
# because the server had dropped it.
_FRESH_S: Final = 1.0
_CHECK_S: Final = 3.0


class SmtpPool:
    """Lends connections; `open_connection` opens a new one, ready to send."""

    def __init__(
        self, open_connection: Callable[[], Awaitable[aiosmtplib.SMTP]], *, size: int
    ) -> None:
        self._open = open_connection
        self._slots = asyncio.Semaphore(size)
        self._idle: deque[tuple[aiosmtplib.SMTP, float]] = deque()
        self._reaper: asyncio.TimerHandle | None = None
        self._is_closed = False

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[aiosmtplib.SMTP]:
        """Lend a connection that answered a moment ago.

        If the server refuses the message, the connection stays usable. Any other exception, a
        cancellation included, closes it: no one knows what its server will answer next.
        """
        async with self._slots:
            if self._is_closed:
                reason = (
                    "The connector was closed while the message was waiting for a connection;"
                    " nothing was sent."
                )
                raise Throttled(reason, code="closed", recipient_only=True)
            client = await self._take_idle() or await self._open()
            try:
                yield client
            except aiosmtplib.SMTPResponseException:
                await self._reset(client)
                raise
            except BaseException:
                client.close()
                raise
            self._give_back(client)

    async def _take_idle(self) -> aiosmtplib.SMTP | None:
        now = asyncio.get_running_loop().time()
        while self._idle:
            client, since = self._idle.pop()
            if not client.is_connected:
                continue
            if now - since <= _FRESH_S:
                return client
            try:
                await client.noop(timeout=_CHECK_S)
            except aiosmtplib.SMTPException:
                client.close()
            except BaseException:
                client.close()
                raise
            else:
                return client
        return None

    async def _reset(self, client: aiosmtplib.SMTP) -> None:
        try:
            await client.rset(timeout=_CHECK_S)
        except (aiosmtplib.SMTPException, OSError):
            client.close()
        except BaseException:
            client.close()
            raise
        else:
            self._give_back(client)

    def _give_back(self, client: aiosmtplib.SMTP) -> None:
        if self._is_closed or not client.is_connected:
            client.close()
            return
        loop = asyncio.get_running_loop()
        self._idle.append((client, loop.time()))
        if self._reaper is None:
            self._reaper = loop.call_later(_IDLE_S, self._reap)

    def _reap(self) -> None:
        """Close what has been idle too long.

        The oldest are at the left, because the newest are lent first.
        """
        loop = asyncio.get_running_loop()
        while self._idle and loop.time() - self._idle[0][1] >= _IDLE_S - 0.01:
            self._idle.popleft()[0].close()
        self._reaper = None
        if self._idle:
            self._reaper = loop.call_at(self._idle[0][1] + _IDLE_S, self._reap)

    async def aclose(self) -> None:
        """Quit every idle connection; a lent one is closed when it comes back."""
        self._is_closed = True
        if self._reaper is not None:
            self._reaper.cancel()
            self._reaper = None
        clients = [client for client, _ in self._idle]
        self._idle.clear()
        await asyncio.gather(*(quit_politely(client) for client in clients))


async def quit_politely(client: aiosmtplib.SMTP) -> None:
    """QUIT and close, whatever the server answers."""
    try:
        await client.quit(timeout=_CHECK_S)
    except (aiosmtplib.SMTPException, OSError):
        pass
    finally:
        client.close()
