"""The open tabs, and what is kept of closed ones.

A tab's state belongs to one log-in, and ends with it.

A state is kept under a name made of the tab and the log-in. The same tab with another cookie, or
with none, has another state: whatever the cookie's owner saw is out of its reach.
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

# A laptop's lid, a lost network: the tab comes back to what it showed.
KEPT_FOR_S: Final = 900.0
MOST_KEPT: Final = 1_000
MOST_KEPT_OF_A_LOGIN: Final = 20
# Nobody has signed in there, so anybody may open them.
MOST_STRANGERS: Final = 1_000
MOST_STRANGERS_OF_AN_ADDRESS: Final = 64
_LOOK_EVERY_S: Final = 15.0
_AGAIN_S: Final = 0.5


class TooManyTabs(Exception):
    """Another tab would take the memory of those that are open."""


@dataclass(slots=True)
class Tab:
    """`token` is the browser's own name for the tab; no `session_id`: nobody is signed in."""

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
    """Of this process.

    `drop` forgets a state, or says that it is in use; `alive` says which log-ins still hold.
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
        self._to_tell: set[str] = set()
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
        """A copy of a tab has the original's name; it gets its own."""
        tab = self._open[sid]
        self._keys[tab.key] -= 1
        tab.rename(token)
        self._enter(tab)

    def leave(self, sid: str) -> None:
        """The tab's socket is closed: a stranger's state goes at once, another one is kept for a
        while.
        """
        tab = self._open.pop(sid, None)
        if tab is None:
            return
        key = tab.key
        self._keys[key] -= 1
        if tab.session_id is None:
            self._strangers[tab.address] -= 1
            self._strangers += Counter()  # drops what is zero
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
        """The open tabs that have this name in their browsers, anyone who's they are."""
        return [tab for tab in self._open.values() if tab.token == token]

    def of_key(self, key: str) -> Tab | None:
        return self._by_key.get(key)

    def has(self, key: str) -> bool:
        """Tell whether a state may be there, or be made."""
        tab = self.of_key(key)
        return not tab.has_ended if tab is not None else key in self._left

    def __len__(self) -> int:
        return len(self._open)

    def end(self, session_ids: Iterable[UUID]) -> None:
        """The log-ins have ended: their states go, and their open tabs are told."""
        ended = set(session_ids)
        if not ended:
            return
        for sid, tab in self._open.items():
            if tab.session_id in ended and not tab.has_ended:
                tab.has_ended = True
                self._to_drop.add(tab.key)
                self._to_tell.add(sid)
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
                self._wake.set()  # in use just now
            await asyncio.sleep(_AGAIN_S)

    async def look(self) -> None:
        """Ask which log-ins still hold, and drop what nothing may show any more."""
        now = time.monotonic()
        self._forget_before(now - KEPT_FOR_S)
        await self._drop_all()  # first: it must not wait for a database that is away
        if now - self._looked_at >= self._look_every_s:
            self._looked_at = now
            known = {item.session_id for item in self._open.values() if item.session_id is not None}
            known |= {left.session_id for left in self._left.values()}
            if known:
                self.end(known - await self._alive(known))
        while self._to_tell:
            await self._tell_ended(self._to_tell.pop())
        await self._drop_all()

    async def _drop_all(self) -> None:
        for key in list(self._to_drop):
            if await self._drop(key):
                self._to_drop.discard(key)

    def _forget_before(self, instant: float) -> None:
        while self._left and next(iter(self._left.values())).at < instant:
            self._to_drop.add(self._left.popitem(last=False)[0])

    def _forget_most(self) -> None:
        """Of too many closed tabs the oldest go: first those of the log-in that closed one."""
        session_id = next(reversed(self._left.values())).session_id
        ours = [key for key, left in self._left.items() if left.session_id == session_id]
        for key in ours[:-MOST_KEPT_OF_A_LOGIN]:
            del self._left[key]
            self._to_drop.add(key)
        while len(self._left) > MOST_KEPT:
            self._to_drop.add(self._left.popitem(last=False)[0])
