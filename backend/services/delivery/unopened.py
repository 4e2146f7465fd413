"""Connectors that this process cannot open: their turns are left to workers that may have the key
or the adapter.

Nothing in here holds a connector for other workers. A connector whose turn no worker has taken for
a minute is broken everywhere: only then it is marked, and its owners get a mail.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final, Protocol
from uuid import UUID

import structlog

from backend import ids
from backend.outages import is_outage
from backend.process.rounds import Rounds
from backend.services.delivery.broken import BrokenConnectors

log = structlog.get_logger()

_EVERY_S: Final = 10.0
_BROKEN_AFTER_S: Final = 60.0
# How long what failed in the engine is left alone.
_REST_S: Final = 30.0
# Named in every look at whose turn it is; those beyond take their turn, fail and ring again.
MOST_AVOIDED: Final = 500


@dataclass(slots=True)
class Unopened:
    """`rests_until` is set where it can be opened and its messages made the engine fail."""

    reason: str
    since: float = field(default_factory=time.monotonic)
    rests_until: float | None = None


class UnopenedConnectors:
    """What a process knows of them."""

    def __init__(self) -> None:
        self._known: dict[UUID, Unopened] = {}

    def __len__(self) -> int:
        return len(self._known)

    def ids(self) -> list[UUID]:
        return list(self._known)

    def get(self, connector_id: UUID) -> Unopened | None:
        return self._known.get(connector_id)

    def note(self, connector_id: UUID, reason: str, error: BaseException) -> None:
        """Leave its turns to others until it can be opened, or has changed."""
        if connector_id not in self._known:
            name = ids.encode(ids.CONNECTOR, connector_id)
            log.warning(
                "connector.not_opened", connector_id=name, reason=reason, error=type(error).__name__
            )
            self._known[connector_id] = Unopened(reason)

    def rest(self, connector_id: UUID, reason: str) -> None:
        """Leave its turns to others for a while."""
        self._known[connector_id] = Unopened(reason, rests_until=time.monotonic() + _REST_S)

    def opened(self, connector_id: UUID) -> None:
        entry = self._known.get(connector_id)
        if entry is None:
            return
        if entry.rests_until is None or entry.rests_until <= time.monotonic():
            del self._known[connector_id]

    def forget(self, connector_id: UUID) -> None:
        """It has changed."""
        self._known.pop(connector_id, None)

    def avoided(self) -> list[UUID]:
        """Return those whose turns are left to others, MOST_AVOIDED at most.

        Costs nothing where there are none.
        """
        if not self._known:
            return []
        now = time.monotonic()
        over = [
            connector_id
            for connector_id, entry in self._known.items()
            if entry.rests_until is not None and entry.rests_until <= now
        ]
        for connector_id in over:
            del self._known[connector_id]
        return list(self._known)[:MOST_AVOIDED]


class KnowsTurns(Protocol):
    async def waited_s(self, connector_id: UUID) -> float: ...


class UnopenedWatch:
    """Tries again every ten seconds, and finds out which of them no worker can open.

    `open_again` opens a connector, and notes it again or not; it raises what an outage raises.
    """

    def __init__(
        self,
        unopened: UnopenedConnectors,
        open_again: Callable[[UUID], Awaitable[object]],
        turns: KnowsTurns,
        broken: BrokenConnectors,
        *,
        broken_after_s: float = _BROKEN_AFTER_S,
    ) -> None:
        self._unopened = unopened
        self._open_again = open_again
        self._turns = turns
        self._broken = broken
        self._broken_after_s = broken_after_s

    async def run(self) -> None:
        await Rounds(_EVERY_S, self.round, first_after_s=_EVERY_S).run()

    async def round(self) -> None:
        for connector_id in self._unopened.ids():
            try:
                await self._look_at(connector_id)
            except Exception as exc:
                if is_outage(exc):
                    log.warning("connector.not_looked_at", error=type(exc).__name__)
                    return
                log.exception(
                    "connector.not_looked_at", connector_id=ids.encode(ids.CONNECTOR, connector_id)
                )

    async def _look_at(self, connector_id: UUID) -> None:
        await self._open_again(connector_id)
        entry = self._unopened.get(connector_id)
        if entry is None or entry.rests_until is not None:
            return
        if time.monotonic() - entry.since < self._broken_after_s:
            return
        # A turn that a worker takes is set again later; this one waits where it was when this
        # process gave it back.
        if await self._turns.waited_s(connector_id) >= self._broken_after_s:
            await self._broken.mark_unreadable(connector_id, reason=entry.reason)
