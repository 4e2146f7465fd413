"""Step 7, shares: how many of a worker's sends one connector may hold, so that a dead one blocks
nobody.

A connector that answers in good time may take every place. One that nobody has heard of yet, or
that is slow, gets a quarter; and places that slow ones hold beyond half of all are not counted.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final
from uuid import UUID

# An exchange, or a silence while exchanges are under way, that lasts longer makes a connector slow.
SLOW_S: Final = 1.0
_WEIGHT: Final = 0.2
_MOST_KNOWN: Final = 10_000


@dataclass(slots=True)
class Line:
    """One connector as this worker sees it. Instants are the event loop's."""

    in_flight: int = 0
    heard_at: float = 0.0  # of the last answer, or of the first send after a pause
    average_s: float | None = None

    def is_slow(self, now: float) -> bool:
        if self.in_flight and now - self.heard_at > SLOW_S:
            return True
        return self.average_s is not None and self.average_s > SLOW_S


class Shares:
    def __init__(self, concurrency: int) -> None:
        self._concurrency = concurrency
        self._lines: dict[UUID, Line] = {}
        self._in_flight = 0

    def start(self, connector_id: UUID, now: float) -> None:
        line = self._lines.get(connector_id)
        if line is None:
            line = self._new_line(connector_id)
        if line.in_flight == 0:
            line.heard_at = now
        line.in_flight += 1
        self._in_flight += 1

    def end(self, connector_id: UUID) -> None:
        line = self._lines[connector_id]
        line.in_flight -= 1
        self._in_flight -= 1

    def heard(self, connector_id: UUID, now: float, took_s: float, *, is_failure: bool) -> None:
        """Note an exchange's end.

        One that fails is unknown again: what it had in flight may fail as well.
        """
        line = self._lines[connector_id]
        line.heard_at = now
        average_s = line.average_s
        if is_failure:
            line.average_s = None
            return
        line.average_s = took_s if average_s is None else average_s + _WEIGHT * (took_s - average_s)

    def room(self, now: float) -> int:
        """Return how many more sends may start in this worker."""
        room = self._concurrency - self._in_flight
        if room >= self._concurrency // 2:
            return room
        slow = sum(
            line.in_flight for line in self._lines.values() if line.in_flight and line.is_slow(now)
        )
        return room + max(0, slow - self._concurrency // 2)

    def room_of(self, connector_id: UUID, now: float) -> int:
        """Return how many more sends this connector may start."""
        line = self._lines.get(connector_id)
        is_known = line is not None and line.average_s is not None and not line.is_slow(now)
        share = self._concurrency if is_known else max(1, self._concurrency // 4)
        return max(0, share - (line.in_flight if line is not None else 0))

    def _new_line(self, connector_id: UUID) -> Line:
        if len(self._lines) >= _MOST_KNOWN:
            self._lines = {key: line for key, line in self._lines.items() if line.in_flight}
        line = self._lines[connector_id] = Line()
        return line
