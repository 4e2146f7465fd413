"""Shares: how many of a process's places one owner may hold, so that a dead one blocks no other.

An owner that answers in good time may take every place. One that hasn't answered yet, or is slow,
gets a quarter; and places that slow owners hold beyond half of all are not counted.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final
from uuid import UUID

# An exchange, or a silence while exchanges are under way, that lasts longer makes an owner slow.
SLOW_S: Final = 1.0
_WEIGHT: Final = 0.2
_MOST_KNOWN: Final = 10_000


@dataclass(slots=True)
class OwnerLoad:
    """One owner as this process sees it. Instants are the event loop's."""

    in_flight: int = 0
    heard_at: float = 0.0  # of the last answer, or of the first exchange after a pause
    average_s: float | None = None

    def is_slow(self, now: float) -> bool:
        if self.in_flight and now - self.heard_at > SLOW_S:
            return True
        return self.average_s is not None and self.average_s > SLOW_S


class Shares:
    def __init__(self, concurrency: int) -> None:
        self.concurrency = concurrency
        self._loads: dict[UUID, OwnerLoad] = {}
        self._in_flight = 0

    def start(self, owner_id: UUID, now: float) -> None:
        load = self._loads.get(owner_id)
        if load is None:
            load = self._new_load(owner_id)
        if load.in_flight == 0:
            load.heard_at = now
        load.in_flight += 1
        self._in_flight += 1

    def end(self, owner_id: UUID) -> None:
        self._loads[owner_id].in_flight -= 1
        self._in_flight -= 1

    def heard(self, owner_id: UUID, now: float, took_s: float, *, is_failure: bool) -> None:
        """Note an exchange's end.

        An owner that fails is unknown again: what it has in flight may fail as well.
        """
        load = self._loads[owner_id]
        load.heard_at = now
        average_s = load.average_s
        if is_failure:
            load.average_s = None
        elif average_s is None:
            load.average_s = took_s
        else:
            load.average_s = average_s + _WEIGHT * (took_s - average_s)

    def room(self, now: float) -> int:
        """Return how many more exchanges may start in this process."""
        room = self.concurrency - self._in_flight
        if room >= self.concurrency // 2:
            return room
        slow = sum(
            load.in_flight for load in self._loads.values() if load.in_flight and load.is_slow(now)
        )
        return room + max(0, slow - self.concurrency // 2)

    def room_of(self, owner_id: UUID, now: float) -> int:
        """Return how many more exchanges this owner may start."""
        load = self._loads.get(owner_id)
        is_known = load is not None and load.average_s is not None and not load.is_slow(now)
        share = self.concurrency if is_known else max(1, self.concurrency // 4)
        return max(0, share - (load.in_flight if load is not None else 0))

    def _new_load(self, owner_id: UUID) -> OwnerLoad:
        if len(self._loads) >= _MOST_KNOWN:
            self._loads = {key: load for key, load in self._loads.items() if load.in_flight}
        load = self._loads[owner_id] = OwnerLoad()
        return load
