"""Sweep: find what no bell rang for. Losing Redis then loses nothing.

Every second, in whichever worker holds the advisory lock: expired leases, due retries, schedules,
messages past their end, and those with another way than the connector they wait for. Every minute:
what waited too long for a connector that cannot send. A step that fails is undone, logged and tried
again the next time; the others go on.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import Any, Final
from uuid import UUID

import psycopg
import structlog

from backend.ledger import cancel, fallback, leases, overdue
from backend.ledger.leases import Lost
from backend.ledger.results import DONE, Again, Done, Watch
from backend.models.session import RawPool
from backend.outages import is_outage
from backend.process.advisory_locks import AdvisoryLock, try_lock
from backend.process.rounds import Rounds, log_failures
from backend.providers.frame.registry import provider_types
from backend.queueing import Doorbell, Turn
from backend.services.accounts.stopping import DELETED_REASON
from backend.services.delivery import next_step

log = structlog.get_logger()

_EVERY_S: Final = 1.0
_STUCK_EVERY_S: Final = 60.0
# How long a connector is left alone whose messages have no other way that can be used.
_REST_S: Final = 10.0
_BEGINNING: Final[Turn] = (-1, UUID(int=0))

_Step = Callable[[psycopg.AsyncConnection[Any]], Awaitable[set[Turn]]]


class Sweeper:
    """`settle_s`: how long a receipt may settle what is uncertain; `max_age_s`: how long a message
    may wait.
    """

    def __init__(
        self, pool: RawPool, doorbell: Doorbell, *, settle_s: float, max_age_s: float
    ) -> None:
        self._pool = pool
        self._doorbell = doorbell
        self._settle_s = settle_s
        self._max_age_s = max_age_s
        self._ended_stuck_at = 0.0
        # Connectors whose messages have no other way open, and until when.
        self._resting: dict[UUID, float] = {}
        self._after = _BEGINNING
        self._has_more = False

    async def run(self) -> None:
        """Sweep every second until canceled; a failed round is logged and the next one tries
        again.
        """
        report = log_failures(away="sweep.database_away", failed="sweep.failed")
        await Rounds(_EVERY_S, self._round, on_error=report).run()

    async def _round(self) -> bool:
        await self.sweep()
        return self._has_more

    async def sweep(self) -> set[Turn]:
        """Do one round; returns the turns that were rung, empty when another worker sweeps."""
        turns: set[Turn] = set()
        self._has_more = False
        async with self._pool.connection() as connection, connection.transaction():
            if not await try_lock(connection, AdvisoryLock.SWEEP):
                return turns
            for step in (
                self._free_claimed,
                self._settle_lost,
                self._leave_unusable_connectors,
                self._end_expired,
                self._find_due,
            ):
                turns |= await self._step(connection, step)
        self._doorbell.ring(turns)
        if time.monotonic() - self._ended_stuck_at > _STUCK_EVERY_S:
            self._ended_stuck_at = time.monotonic()
            for work in (self._cancel_of_deleted_projects, self._end_stuck):
                try:
                    await work()
                except Exception as exc:
                    if is_outage(exc):
                        raise
                    log.exception("sweep.step_failed", step=work.__name__.strip("_"))
        return turns

    async def _step(self, connection: psycopg.AsyncConnection[Any], step: _Step) -> set[Turn]:
        try:
            async with connection.transaction():
                return await step(connection)
        except Exception as exc:
            if is_outage(exc):
                raise
            log.exception("sweep.step_failed", step=step.__name__.strip("_"))
            return set()

    async def _free_claimed(self, connection: psycopg.AsyncConnection[Any]) -> set[Turn]:
        turns = await leases.free_claimed(connection)
        if turns:
            log.info("sweep.leases_expired", claimed=len(turns))
        return turns

    async def _settle_lost(self, connection: psycopg.AsyncConnection[Any]) -> set[Turn]:
        lost = await leases.find_lost(connection)
        self._has_more |= len(lost) == leases.BATCH
        if not lost:
            return set()
        settled = [(message, _after_loss(message, self._settle_s)) for message in lost]
        await leases.settle_lost(connection, settled)
        log.warning("sweep.uncertain", messages=len(lost))
        return set()

    async def _end_expired(self, connection: psycopg.AsyncConnection[Any]) -> set[Turn]:
        self._has_more |= await overdue.end_expired(connection) == overdue.BATCH
        return set()

    async def _find_due(self, connection: psycopg.AsyncConnection[Any]) -> set[Turn]:
        turns = await leases.find_turns(connection, self._after)
        is_last = len(turns) < leases.MOST_TURNS
        self._after = _BEGINNING if is_last else (turns[-1].lane, turns[-1].connector_id)
        self._has_more |= not is_last
        return {(turn.lane, turn.connector_id) for turn in turns if turn.is_due}

    async def _leave_unusable_connectors(
        self, connection: psycopg.AsyncConnection[Any]
    ) -> set[Turn]:
        now = time.monotonic()
        self._resting = {
            connector_id: until for connector_id, until in self._resting.items() if until > now
        }
        turns: set[Turn] = set()
        room = fallback.BATCH
        for connector_id, why in (await fallback.find_unusable(connection)).items():
            if connector_id in self._resting:
                continue
            if room <= 0:
                break
            moved = await self._leave(connection, connector_id, why)
            turns.update(moved)
            room -= len(moved)
            if not moved:
                self._resting[connector_id] = now + _REST_S
        self._has_more |= room <= 0
        if room < fallback.BATCH:
            log.info("sweep.fallback", messages=fallback.BATCH - room)
        return turns

    async def _leave(
        self, connection: psycopg.AsyncConnection[Any], connector_id: UUID, why: str
    ) -> list[Turn]:
        """Messages whose ways cannot be read keep waiting for this one, and no other connector's
        do.
        """
        try:
            async with connection.transaction():
                return await fallback.leave_unusable(connection, connector_id, why)
        except psycopg.Error as exc:
            if is_outage(exc):
                raise
            log.error(  # noqa: TRY400
                "sweep.ways_unreadable", connector_id=str(connector_id), sqlstate=exc.sqlstate
            )
        async with connection.transaction():
            return await fallback.leave_unusable_one_by_one(connection, connector_id, why)

    async def _end_stuck(self) -> None:
        async with self._pool.connection() as connection:
            while True:
                async with connection.transaction():
                    ended = await overdue.end_stuck(connection, max_age_s=self._max_age_s)
                if ended:
                    log.warning("sweep.given_up", messages=ended)
                if ended < overdue.BATCH:
                    return

    async def _cancel_of_deleted_projects(self) -> None:
        """What was accepted or given back around the deletion, and what was too much for its
        request.
        """
        async with self._pool.connection() as connection:
            for project_id in await cancel.find_deleted_projects(connection):
                canceled = -1
                while canceled:
                    async with connection.transaction():
                        canceled = await cancel.cancel_project(
                            connection, project_id, DELETED_REASON
                        )


def _after_loss(lost: Lost, settle_s: float) -> Done | Again | Watch:
    is_resent = lost.on_uncertain == "resend"
    watch_in_s = next_step.watch_in_s(
        settles=next_step.settles_later(provider_types().get(lost.connector_type)),
        is_resent=is_resent,
        fallback_s=_fallback_after_s(lost),
        settle_s=settle_s,
    )
    if watch_in_s is not None:
        return Watch(watch_in_s)
    return Again(0.0) if is_resent else DONE


def _fallback_after_s(lost: Lost) -> float | None:
    try:
        return next_step.fallback_after_s(lost.route, lost.step)
    except Exception:  # a route that cannot be read leads nowhere
        log.exception("sweep.route_unreadable", message_id=str(lost.message_id))
        return None
