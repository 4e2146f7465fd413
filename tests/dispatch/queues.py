"""A made-up second queue: parcels that wait for their carrier, beside the messages in one Redis."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final
from uuid import UUID

from backend.queueing import Turn, WorkQueue

PARCELS: Final = WorkQueue(prefix="parcels:", rq_queue="parcels", drain_job="yard.jobs.load")


@dataclass(frozen=True, slots=True)
class Parcel:
    id: UUID
    carrier_id: UUID
    lane: int = 1

    @property
    def turn(self) -> Turn:
        return self.lane, self.carrier_id


@dataclass
class Carriers:
    """Listens to carriers' circuits, as the connectors' rows do."""

    opened_for: list[tuple[UUID, str, bool]] = field(default_factory=list)
    closed_for: list[UUID] = field(default_factory=list)

    async def opened(self, owner_id: UUID, reason: str, pause_s: float, *, is_again: bool) -> None:
        self.opened_for.append((owner_id, reason, is_again))

    async def closed(self, owner_id: UUID) -> None:
        self.closed_for.append(owner_id)


@dataclass
class Yard:
    """Where parcels wait: what a table is for messages."""

    waiting: dict[Turn, deque[Parcel]] = field(default_factory=dict)
    renewed: list[UUID] = field(default_factory=list)

    def add(self, *parcels: Parcel) -> None:
        for parcel in parcels:
            self.waiting.setdefault(parcel.turn, deque()).append(parcel)

    def take(self, turn: Turn, most: int) -> list[Parcel]:
        line = self.waiting.get(turn, deque())
        return [line.popleft() for _ in range(min(most, len(line)))]

    async def renew(self, parcels: Sequence[Parcel]) -> None:
        self.renewed += [parcel.id for parcel in parcels]
