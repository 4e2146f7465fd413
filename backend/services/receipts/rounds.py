"""Catching up: every second, in every worker, the receipts that were not applied when they
came.

Those whose message was not known yet or was just being sent, those a web process stored and did not
live to apply, and the sandbox's own. Each is taken by one worker only; with nothing to do a round
is one look into an index.
"""

from __future__ import annotations

import time
from typing import Final

from backend.process.rounds import Rounds, log_failures
from backend.services.callbacks.store import ReceiptStore
from backend.services.receipts.apply import BATCH, ReceiptApplier

_EVERY_S: Final = 1.0
_TIDY_EVERY_S: Final = 60.0


class ReceiptRounds:
    def __init__(
        self, applier: ReceiptApplier, store: ReceiptStore, *, retention_days: int
    ) -> None:
        self._applier = applier
        self._store = store
        self._retention_days = retention_days
        self._tidied_at = 0.0

    async def run(self) -> None:
        """Go on until cancelled; a failed round is logged and the next one tries again."""
        report = log_failures(away="receipts.database_away", failed="receipts.round_failed")
        await Rounds(_EVERY_S, self.round, first_after_s=_EVERY_S, on_error=report).run()

    async def round(self) -> None:
        while await self._applier.apply_due() >= BATCH:
            pass
        if time.monotonic() - self._tidied_at > _TIDY_EVERY_S:
            self._tidied_at = time.monotonic()
            await self._store.forget(older_than_days=self._retention_days)
