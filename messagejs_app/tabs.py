"""The open tabs, and what is kept of closed ones.

A tab's state belongs to one log-in, and ends with it. It is kept under a name made of the tab and
the log-in, so the same tab with another cookie, or without one, has another state: it cannot reach
what the cookie's owner saw.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections import Counter, OrderedDict
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final
from uuid import UUID

import structlog

log = structlog.get_logger(__name__)

# After a closed laptop or a lost network, the tab still shows what it did.
KEPT_FOR_S: Final = 900.0
MOST_KEPT: Final = 1_000
MOST_KEPT_OF_A_LOGIN: Final = 20
# Without signing in, anyone may open these.
MOST_STRANGERS: Final = 1_000
MOST_STRANGERS_OF_AN_ADDRESS: Final = 64
_LOOK_EVERY_S: Final = 15.0
_AGAIN_S: Final = 0.5


class TooManyTabs(Exception):
    """Another tab would take the memory of those that are open."""


@dataclass(slots=True)
class Tab:
    """`token` is the browser's name for the tab; without a `session_id` no user is signed in."""

    token: str
    session_id: UUID | None
    cookie: str = field(repr=False)
    address: str
    checked_at: float
    has_ended: bool = False
    key: str = field(init=False)

    def __post_init__(self) -> None:
        self.rename(self.token)

    def rename(self, token: str) -> None:
        """`key` is what the state is kept under."""
        self.token = token
        self.key = hashlib.sha256(f"{token}\n{self.session_id or ''}".encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class _Left:
    session_id: UUID
    at: float


class Tabs:
    """The tabs of this process.

    `drop` forgets a state, or says that it is in use; `alive` says which log-ins are still valid.
    """

    def __init__(
        self,
        *,
        drop: Callable[[str], Awaitable[bool]],
        alive: Callable[[set[UUID]], Awaitable[set[UUID]]],
        tell_ended: Callable[[str], Awaitable[None]],
        look_every_s: float = _LOOK_EVERY_S,
    ) -> None:
        self._look_every_s = look_every_s
        self._drop, self._alive, self._tell_ended = drop, alive, tell_ended
        self._open: dict[str, Tab] = {}
        self._by_key: dict[str, Tab] = {}
        self._keys: Counter[str] = Counter()
        self._strangers: Counter[str] = Counter()
        self._left: OrderedDict[str, _Left] = OrderedDict()
        self._to_drop: set[str] = set()
        self._to_notify: set[str] = set()
        self._wake = asyncio.Event()
        self._looked_at = time.monotonic()

    def add(self, sid: str, tab: Tab) -> None:
        """Raises TooManyTabs."""
        if tab.session_id is None:
            of_address = self._strangers[tab.address]
            if (
                of_address >= MOST_STRANGERS_OF_AN_ADDRESS
                or self._strangers.total() >= MOST_STRANGERS
            ):
                raise TooManyTabs
            self._strangers[tab.address] += 1
        self._open[sid] = tab
        self._enter(tab)

    def _enter(self, tab: Tab) -> None:
        self._keys[tab.key] += 1
        self._by_key[tab.key] = tab
        self._left.pop(tab.key, None)
        self._to_drop.discard(tab.key)

    def rename(self, sid: str, token: str) -> None:
        """Give a duplicated tab, which has the name of the original, a new one."""
        tab = self._open[sid]
        self._keys[tab.key] -= 1
        tab.rename(token)
        self._enter(tab)

    def leave(self, sid: str) -> None:
        """The tab's socket is closed: drop a stranger's state, keep a user's for a while."""
        tab = self._open.pop(sid, None)
        if tab is None:
            return
        key = tab.key
        self._keys[key] -= 1
        if tab.session_id is None:
            self._strangers[tab.address] -= 1
            self._strangers += Counter()  # drops zeros
        if self._keys[key] > 0:
            return
        del self._keys[key], self._by_key[key]
        if tab.session_id is None or tab.has_ended:
            self._to_drop.add(key)
        else:
            self._left[key] = _Left(tab.session_id, time.monotonic())
            self._forget_most()
        self._wake.set()

    def of_socket(self, sid: str) -> Tab | None:
        return self._open.get(sid)

    def named(self, token: str) -> list[Tab]:
        """Return the open tabs with this name in their browsers, of all users."""
        return [tab for tab in self._open.values() if tab.token == token]

    def of_key(self, key: str) -> Tab | None:
        return self._by_key.get(key)

    def has(self, key: str) -> bool:
        """Whether a state may exist, or be created."""
        tab = self.of_key(key)
        return not tab.has_ended if tab is not None else key in self._left

    def __len__(self) -> int:
        return len(self._open)

    def end(self, session_ids: Iterable[UUID]) -> None:
        """The log-ins have ended: drop their states, and notify their open tabs."""
        ended = set(session_ids)
        if not ended:
            return
        for sid, tab in self._open.items():
            if tab.session_id in ended and not tab.has_ended:
                tab.has_ended = True
                self._to_drop.add(tab.key)
                self._to_notify.add(sid)
        for key in [key for key, left in self._left.items() if left.session_id in ended]:
            del self._left[key]
            self._to_drop.add(key)
        self._wake.set()

    async def run(self) -> None:
        """Drop what has ended, for as long as the process runs."""
        while True:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), self._look_every_s)
            self._wake.clear()
            await self.look()
            if self._to_drop:
                self._wake.set()  # some are in use at the moment
            await asyncio.sleep(_AGAIN_S)

    async def look(self) -> None:
        """Ask which log-ins are still valid, and drop states that no tab may show any more."""
        now = time.monotonic()
        self._forget_before(now - KEPT_FOR_S)
        await self._drop_all()  # first: it must not wait for a database that is down
        if now - self._looked_at >= self._look_every_s:
            self._looked_at = now
            known = {tab.session_id for tab in self._open.values() if tab.session_id is not None}
            known |= {left.session_id for left in self._left.values()}
            if known:
                self.end(known - await self._alive(known))
        while self._to_notify:
            await self._tell_ended(self._to_notify.pop())
        await self._drop_all()

    async def _drop_all(self) -> None:
        for key in list(self._to_drop):
            if await self._drop(key):
                self._to_drop.discard(key)

    def _forget_before(self, instant: float) -> None:
        while self._left and next(iter(self._left.values())).at < instant:
            self._to_drop.add(self._left.popitem(last=False)[0])

    def _forget_most(self) -> None:
        """Forget the oldest of too many closed tabs: first those of the log-in, then all."""
        session_id = next(reversed(self._left.values())).session_id
        keys = [key for key, left in self._left.items() if left.session_id == session_id]
        for key in keys[:-MOST_KEPT_OF_A_LOGIN]:
            del self._left[key]
            self._to_drop.add(key)
        while len(self._left) > MOST_KEPT:
            self._to_drop.add(self._left.popitem(last=False)[0])
