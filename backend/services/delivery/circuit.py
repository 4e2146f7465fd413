"""Step 7, the circuit breaker: a connector that only fails is paused, and probed with one message
at a time.

    closed -> open -> (pause over) half open -> closed | open, paused for twice as long

Failures are sends that were not possible or whose outcome is unknown; a refusal or a throttle is an
answer. `circuit:{connector}` in Redis says that it is open (queueing.py hands out the probes), its
`hold:` is the pause; the connector's row shows it to people and outlives Redis. Losing Redis' part
closes the circuit until failures open it again.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Final, LiteralString
from uuid import UUID

import psycopg
import redis
import redis.asyncio
import structlog

from backend.ledger.claims import Claim
from backend.models.session import RawPool
from backend.outages import OutageLog
from backend.providers.frame.errors import OutcomeUnknown, SendError, Throttled, Unavailable
from backend.providers.frame.provider import Accepted
from backend.queueing import LANE_COUNT, Doorbell, Turn
from backend.services.delivery.open_connectors import Account, Accounts

log = structlog.get_logger()

# Failures in a row that open it, and those that do so even where something succeeded a moment ago.
_FAILURES: Final = 5
_FAILURES_AMID_SUCCESS: Final = 20
_RECENT_S: Final = 1.0
_STALE_S: Final = 30.0
_FORGET_AFTER_MS: Final = 24 * 3600 * 1000
_MOST_KNOWN: Final = 10_000

# KEYS: circuit, hold. ARGV: first pause, longest pause, is it a probe (ms; 1 or 0), ms after which
# it is forgotten. Returns the new pause, 0 when somebody else has opened it.
_OPEN_SCRIPT: Final = """
local pause = tonumber(redis.call('GET', KEYS[1]))
if pause and ARGV[3] == '0' then return 0 end
pause = pause and math.min(pause * 2, tonumber(ARGV[2])) or tonumber(ARGV[1])
redis.call('SET', KEYS[1], string.format('%.0f', pause), 'PX', ARGV[4])
redis.call('SET', KEYS[2], '1', 'PX', string.format('%.0f', pause))
return pause
"""

_WRITE_OPEN: Final = """
UPDATE connectors SET circuit_opened_at = coalesce(circuit_opened_at, now()), circuit_reason = %s,
    circuit_probe_at = now() + make_interval(secs => %s)
WHERE id = %s
"""
_WRITE_CLOSED: Final = """
UPDATE connectors SET circuit_opened_at = NULL, circuit_reason = NULL, circuit_probe_at = NULL
WHERE id = %s AND circuit_opened_at IS NOT NULL
"""


class CutOff(OutcomeUnknown):
    """The worker stopped in the middle of a send: the provider is not to blame."""


def is_failure(answer: Accepted | SendError) -> bool:
    """Whether the provider did not answer; a refusal or a throttle is an answer."""
    return isinstance(answer, Unavailable | OutcomeUnknown) and not isinstance(answer, Throttled)


@dataclass(slots=True)
class _Run:
    """Failures in a row of one connector in this worker."""

    failures: int = 0
    is_open: bool = False


class Circuits:
    def __init__(
        self,
        client: redis.asyncio.Redis,
        pool: RawPool,
        accounts: Accounts,
        doorbell: Doorbell,
        *,
        first_pause_s: float,
        longest_pause_s: float,
    ) -> None:
        self._outage = OutageLog("circuit.unreachable")
        self._redis = client
        self._pool = pool
        self._accounts = accounts
        self._doorbell = doorbell
        self._first_pause_ms = int(first_pause_s * 1000)
        self._longest_pause_ms = int(longest_pause_s * 1000)
        self._open_script = client.register_script(_OPEN_SCRIPT)
        self._runs: dict[UUID, _Run] = {}
        self._succeeded_at: dict[UUID, float] = {}
        self._closed_at: dict[UUID, float] = {}

    def resume(self, connector_id: UUID) -> None:
        """Note that Redis gave a turn that is no probe: the circuit is closed."""
        run = self._runs.get(connector_id)
        if run is not None and run.is_open:
            del self._runs[connector_id]

    async def note(
        self, claim: Claim, account: Account, answer: Accepted | SendError, *, is_probe: bool
    ) -> bool:
        """Take in what one send came to; returns whether it was one of its message's tries."""
        if (
            isinstance(answer, CutOff)
            or account.provider is None
            or not account.provider.has_circuit
        ):
            if is_probe:
                await self.end_probe(claim.connector_id)
            return True
        if isinstance(answer, SendError) and is_failure(answer):
            return not await self._failed(
                (claim.lane, claim.connector_id), answer.reason, is_probe=is_probe
            )
        await self._answered(account, is_probe=is_probe)
        return True

    async def _failed(self, turn: Turn, reason: str, *, is_probe: bool) -> bool:
        """Count one failure; returns whether the circuit is open."""
        run = self._run_of(turn[1])
        run.failures += 1
        if is_probe or (not run.is_open and self._is_dead(turn[1], run)):
            run.is_open = True
            await self._open(turn, reason, is_probe=is_probe)
        return run.is_open

    async def _answered(self, account: Account, *, is_probe: bool) -> None:
        """Whatever the provider said, it is there. Costs next to nothing where all is well."""
        connector_id = account.connector_id
        now = time.monotonic()
        self._succeeded_at[connector_id] = now
        run = self._runs.pop(connector_id, None) if self._runs else None
        was_open = is_probe or (run is not None and run.is_open)
        # What this send knew of the connector may be older than its closing.
        if was_open or (
            account.is_circuit_open
            and now - self._closed_at.get(connector_id, -_STALE_S) >= _STALE_S
        ):
            self._closed_at[connector_id] = now
            await self._close(connector_id)
        for known in (self._succeeded_at, self._closed_at):
            if len(known) > _MOST_KNOWN:
                known.clear()

    async def end_probe(self, connector_id: UUID, *, pause_s: float = 0.0) -> None:
        """Give back a probe that found out nothing: the next turn is one again."""
        try:
            if pause_s > 0:
                await self._redis.set(
                    f"hold:{connector_id.hex}", "1", px=max(1, int(pause_s * 1000))
                )
            else:
                await self._redis.delete(f"hold:{connector_id.hex}")
        except redis.RedisError as exc:
            self._outage.warn(exc)

    def _is_dead(self, connector_id: UUID, run: _Run) -> bool:
        if run.failures < _FAILURES:
            return False
        since_success_s = time.monotonic() - self._succeeded_at.get(connector_id, float("-inf"))
        return since_success_s > _RECENT_S or run.failures >= _FAILURES_AMID_SUCCESS

    def _run_of(self, connector_id: UUID) -> _Run:
        run = self._runs.get(connector_id)
        if run is None:
            if len(self._runs) >= _MOST_KNOWN:
                self._runs.clear()
            run = self._runs[connector_id] = _Run()
        return run

    async def _open(self, turn: Turn, reason: str, *, is_probe: bool) -> None:
        connector_id = turn[1]
        keys = [f"circuit:{connector_id.hex}", f"hold:{connector_id.hex}"]
        arguments = [self._first_pause_ms, self._longest_pause_ms, int(is_probe), _FORGET_AFTER_MS]
        try:
            pause_ms = int(await self._open_script(keys=keys, args=arguments))
        except redis.RedisError as exc:
            self._outage.warn(exc)
            return
        if pause_ms == 0:
            return
        log.warning(
            "circuit.opened",
            connector_id=str(connector_id),
            pause_s=pause_ms / 1000,
            again=is_probe,
        )
        self._doorbell.ring([turn], delay_ms=pause_ms + 1)
        await self._write(_WRITE_OPEN, (_plain(reason), pause_ms / 1000, connector_id))
        self._accounts.forget_one(connector_id)

    async def _close(self, connector_id: UUID) -> None:
        try:
            await self._redis.delete(f"circuit:{connector_id.hex}", f"hold:{connector_id.hex}")
        except redis.RedisError as exc:
            self._outage.warn(exc)
        await self._write(_WRITE_CLOSED, (connector_id,))
        self._accounts.forget_one(connector_id)
        log.info("circuit.closed", connector_id=str(connector_id))
        self._doorbell.ring([(lane, connector_id) for lane in range(LANE_COUNT)])

    async def _write(self, statement: LiteralString, values: tuple[object, ...]) -> None:
        try:
            async with self._pool.connection() as connection:
                await connection.execute(statement, values)
        except psycopg.Error as exc:
            # Redis decides; the row is corrected by the next probe or success.
            log.warning("circuit.not_written", error=type(exc).__name__)


def _plain(reason: str) -> str:
    """Postgres text takes no NUL and no lone surrogate."""
    return reason.replace("\x00", "").encode("utf-8", "replace").decode()
