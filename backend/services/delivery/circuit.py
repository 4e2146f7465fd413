"""Connectors' circuits: which answers are failures, and the rows that show people what is open.

Failures are sends that were not possible or whose outcome is unknown; a refusal or a throttle is an
answer. Redis decides (dispatch/circuits.py); the connector's row outlives it.
"""

from __future__ import annotations

from typing import Final, LiteralString
from uuid import UUID

import psycopg
import structlog

from backend.dispatch.circuits import Circuits
from backend.ledger.claims import Claim
from backend.models.session import RawPool
from backend.providers.frame.errors import OutcomeUnknown, SendError, Throttled, Unavailable
from backend.providers.frame.provider import Accepted
from backend.services.delivery.open_connectors import OpenConnector, OpenConnectors

log = structlog.get_logger()

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


async def note_answer(
    circuits: Circuits,
    claim: Claim,
    connector: OpenConnector,
    answer: Accepted | SendError,
    *,
    is_probe: bool,
) -> bool:
    """Take in what one send came to; returns whether it was one of its message's tries."""
    provider = connector.provider
    if isinstance(answer, CutOff) or provider is None or not provider.has_circuit:
        if is_probe:
            await circuits.end_probe(claim.connector_id)
        return True
    if isinstance(answer, SendError) and is_failure(answer):
        turn = (claim.lane, claim.connector_id)
        return not await circuits.failed(turn, answer.reason, is_probe=is_probe)
    await circuits.answered(
        connector.connector_id, is_probe=is_probe, is_known_open=connector.is_circuit_open
    )
    return True


class CircuitRows:
    """Keeps the connectors' rows as their circuits are."""

    def __init__(self, pool: RawPool, connectors: OpenConnectors) -> None:
        self._pool = pool
        self._connectors = connectors

    async def opened(self, owner_id: UUID, reason: str, pause_s: float, *, is_again: bool) -> None:
        log.warning("circuit.opened", connector_id=str(owner_id), pause_s=pause_s, again=is_again)
        await self._write(_WRITE_OPEN, (_plain(reason), pause_s, owner_id))
        self._connectors.expire(owner_id)

    async def closed(self, owner_id: UUID) -> None:
        await self._write(_WRITE_CLOSED, (owner_id,))
        self._connectors.expire(owner_id)
        log.info("circuit.closed", connector_id=str(owner_id))

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
