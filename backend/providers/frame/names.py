"""Look up the names that tenants give; a DNS that doesn't answer delays its own names only.

A look-up blocks its thread for as long as the system's resolver takes, half a minute and longer. So
look-ups have their own threads, at most one for each name, and names that resolved recently never
wait behind new ones.
"""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final, NamedTuple, TypeVar


class Address(NamedTuple):
    """An address of a name; `host` is an IP literal."""

    family: int
    protocol: int
    host: str


_Value = TypeVar("_Value")
LookUp = Callable[[str], Sequence[Address]]

_THREADS: Final = 64
_DEADLINE_S: Final = 5.0
_STUCK_S: Final = 2.0
_FAILED_S: Final = 30.0
# How long the last addresses of a name may be used while its DNS doesn't answer (RFC 8767).
_STALE_S: Final = 600.0
_MOST_NAMES: Final = 1000
_TOO_SLOW: Final = "its DNS does not answer in time"
_BUSY: Final = "too many other names are waiting for their DNS; try again in a moment"


def system_look_up(name: str, flags: int = 0) -> list[Address]:
    """Ask the system's resolver; blocks. Raises `socket.gaierror` or UnicodeError."""
    answers = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM, flags=flags)
    return [
        Address(family, protocol, str(address[0])) for family, _, protocol, _, address in answers
    ]


class _Busy(socket.gaierror):
    """No thread was free in time, so nothing is known about the name."""

    def __init__(self) -> None:
        super().__init__(socket.EAI_AGAIN, _BUSY)


class _UnderWay:
    """A look-up that several may wait for; `started_at` is None until it has a thread."""

    def __init__(self) -> None:
        self.asked_at = time.monotonic()
        self.started_at: float | None = None
        self.result: Future[Sequence[Address]] = Future()


class NameLookups:
    """Usable from any event loop.

    Half of `threads` are for new names, the others for names that resolved recently.
    """

    def __init__(
        self,
        look_up: LookUp = system_look_up,
        *,
        threads: int = _THREADS,
        deadline_s: float = _DEADLINE_S,
        stuck_s: float = _STUCK_S,
    ) -> None:
        self._look_up = look_up
        self._most_new = threads // 2
        self._deadline_s = deadline_s
        self._stuck_s = stuck_s
        self._lock = threading.Lock()
        # Threads start only when there is something to look up.
        self._new = ThreadPoolExecutor(self._most_new, thread_name_prefix="names-new")
        self._lately = ThreadPoolExecutor(
            threads - self._most_new, thread_name_prefix="names-known"
        )
        self._under_way: dict[str, _UnderWay] = {}
        self._known: OrderedDict[str, tuple[float, Sequence[Address]]] = OrderedDict()
        self._failed: OrderedDict[str, tuple[float, tuple[object, ...]]] = OrderedDict()

    async def addresses(self, name: str, *, is_trusted: bool = False) -> Sequence[Address]:
        """Return the addresses of `name`, an IP literal's at once.

        `is_trusted`: no tenant chose the name, so it is treated like one that resolved recently.
        Raises `socket.gaierror` (EAI_AGAIN if another try may help), and UnicodeError for what
        cannot be a name.
        """
        try:
            return system_look_up(name, socket.AI_NUMERICHOST)
        except socket.gaierror:
            key = name.lower()
        try:
            return await self._resolve(key, is_trusted=is_trusted or key == "localhost")
        except socket.gaierror as exc:
            with self._lock:
                learnt_at, stale = self._known.get(key, (0.0, ()))
            if exc.errno == socket.EAI_AGAIN and stale and time.monotonic() - learnt_at < _STALE_S:
                return stale
            raise

    async def _resolve(self, name: str, *, is_trusted: bool) -> Sequence[Address]:
        with self._lock:
            failed_at, reason = self._failed.get(name, (0.0, ()))
            if reason and time.monotonic() - failed_at < _FAILED_S:
                raise socket.gaierror(*reason)
            under_way = self._under_way.get(name) or self._begin(name, is_trusted=is_trusted)
        # Others may wait for the same look-up: a waiter that leaves must not cancel it.
        answer = asyncio.shield(asyncio.wrap_future(under_way.result))
        try:
            done, _ = await asyncio.wait({answer}, timeout=self._deadline_s)
            if done:
                return answer.result()
        finally:
            answer.cancel()
        if under_way.started_at is None:
            raise _Busy
        too_slow = socket.gaierror(socket.EAI_AGAIN, _TOO_SLOW)
        with self._lock:
            if self._under_way.get(name) is under_way:
                self._remember_failure(name, too_slow)
        raise too_slow

    def _begin(self, name: str, *, is_trusted: bool) -> _UnderWay:
        executor = self._lately
        if name not in self._known and not is_trusted:
            executor = self._new
            stuck_since = time.monotonic() - self._stuck_s
            starts = [
                running.started_at
                for running in self._under_way.values()
                if running.started_at is not None
            ]
            if sum(started_at < stuck_since for started_at in starts) >= self._most_new:
                raise _Busy
        under_way = self._under_way[name] = _UnderWay()
        executor.submit(self._run, name, under_way)
        return under_way

    def _run(self, name: str, under_way: _UnderWay) -> None:
        addresses: Sequence[Address] = ()
        error: Exception | None = None
        under_way.started_at = time.monotonic()
        if under_way.started_at - under_way.asked_at > self._deadline_s:
            error = _Busy()  # no one is waiting for it any more
        else:
            try:
                addresses = self._look_up(name)
            except Exception as exc:  # noqa: BLE001 (the waiters get it)
                error = exc
        with self._lock:
            self._under_way.pop(name, None)
            if error is None:
                self._failed.pop(name, None)
                _keep(self._known, name, (time.monotonic(), addresses))
            elif isinstance(error, socket.gaierror) and not isinstance(error, _Busy):
                self._remember_failure(name, error)
        if error is None:
            under_way.result.set_result(addresses)
        else:
            under_way.result.set_exception(error)

    def _remember_failure(self, name: str, error: socket.gaierror) -> None:
        if error.errno != socket.EAI_AGAIN:
            self._known.pop(name, None)
        _keep(self._failed, name, (time.monotonic(), error.args))


def _keep(memory: OrderedDict[str, _Value], name: str, value: _Value) -> None:
    memory[name] = value
    memory.move_to_end(name)
    if len(memory) > _MOST_NAMES:
        memory.popitem(last=False)


NAMES: Final = NameLookups()
