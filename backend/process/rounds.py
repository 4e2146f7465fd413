"""Rounds: work that is done again and again for as long as the process lives.

A failed round stops nothing: it is handed to `on_error`, and the next round comes after the usual
pause. Cancellation ends the rounds at once, in the middle of one too.

Only one process at a time: that is for the work itself, which knows the connection and the
transaction that its lock (advisory_locks.py) belongs to.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from backend.outages import is_outage

log = structlog.get_logger()


class Rounds:
    """`work` returns True when there is more to do: then the next round follows at once.

    `first_after_s` is the pause before the first round. Without `on_error`, a failure is raised:
    the supervisor of the task (background.py) counts it and starts the rounds again.
    """

    def __init__(
        self,
        every_s: float,
        work: Callable[[], Awaitable[bool | None]],
        *,
        first_after_s: float = 0.0,
        on_error: Callable[[Exception], None] | None = None,
    ) -> None:
        self._every_s = every_s
        self._work = work
        self._first_after_s = first_after_s
        self._on_error = on_error

    async def run(self) -> None:
        """Run rounds until cancelled."""
        if self._first_after_s > 0:
            await asyncio.sleep(self._first_after_s)
        while True:
            has_more = await self._round()
            # With more to do, the other tasks of the loop still get their turn.
            await asyncio.sleep(0 if has_more else self._every_s)

    async def _round(self) -> bool:
        if self._on_error is None:
            return bool(await self._work())
        try:
            return bool(await self._work())
        except Exception as exc:  # noqa: BLE001 (it is handed over, not swallowed)
            self._on_error(exc)
            return False


def log_failures(*, away: str, failed: str) -> Callable[[Exception], None]:
    """Return what logs a failed round: `away` for a server that is away, `failed` for the rest."""

    def report(error: Exception) -> None:
        if is_outage(error):
            log.warning(away, error=type(error).__name__)
        else:
            log.error(failed, exc_info=error)

    return report
