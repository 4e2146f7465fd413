"""The keeper: forgets in the background, in whichever worker holds the advisory lock.

Content every quarter of a minute, messages every hour: a project that stores nothing has a
message's content gone about two minutes after it was handed over.
"""

from __future__ import annotations

import time
from typing import Final

import structlog

from backend.models.session import RawPool
from backend.outages import is_outage
from backend.process.advisory_locks import AdvisoryLock, try_hold
from backend.process.rounds import Rounds, log_failures
from backend.services.retention.policies import Defaults
from backend.services.retention.redaction import Redaction
from backend.services.retention.removal import Removal

log = structlog.get_logger()

_EVERY_S: Final = 15.0
_REMOVE_EVERY_S: Final = 3600.0


class Keeper:
    def __init__(self, pool: RawPool, defaults: Defaults) -> None:
        self._pool = pool
        self._redaction = Redaction(defaults)
        self._removal = Removal(defaults)
        self._removed_at = -_REMOVE_EVERY_S

    async def run(self) -> None:
        """Work until cancelled; a failed round is logged and the next one tries again."""
        report = log_failures(away="retention.database_away", failed="retention.failed")
        await Rounds(_EVERY_S, self._round, first_after_s=_EVERY_S, on_error=report).run()

    async def _round(self) -> None:
        await self.keep()

    async def keep(self) -> bool:
        """Do one round; False when another worker does it."""
        async with (
            self._pool.connection() as connection,
            try_hold(connection, AdvisoryLock.RETENTION) as is_ours,
        ):
            if not is_ours:
                return False
            try:
                await self._redaction.run_once(connection)
            except Exception as exc:
                if is_outage(exc):
                    raise
                log.exception("retention.redaction_failed")  # removal goes on
            if time.monotonic() - self._removed_at >= _REMOVE_EVERY_S:
                self._removed_at = time.monotonic()
                await self._removal.run_once(connection)
        return True
