"""Rounds: a failed one stops nothing, more to do means no pause, cancellation ends them."""

from __future__ import annotations

import asyncio

import psycopg
import pytest
from structlog.testing import capture_logs

from backend.process.rounds import Rounds, log_failures

NEVER_S = 3600.0


class Work:
    """Gives the answers one by one, raises those that are errors, then waits for its end."""

    def __init__(self, *answers: bool | Exception | None) -> None:
        self._answers = list(answers)
        self.rounds = 0
        self.has_ended = asyncio.Event()

    async def __call__(self) -> bool | None:
        self.rounds += 1
        if not self._answers:
            self.has_ended.set()
            return False
        answer = self._answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


async def _cancel(task: asyncio.Task[None]) -> None:
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def _run_to_the_end(rounds: Rounds, work: Work) -> None:
    task = asyncio.create_task(rounds.run())
    async with asyncio.timeout(5):
        await work.has_ended.wait()
    await _cancel(task)


async def test_a_failed_round_is_reported_and_the_next_one_comes() -> None:
    errors: list[Exception] = []
    work = Work(LookupError("broken"), None, ValueError("again"))
    await _run_to_the_end(Rounds(0.001, work, on_error=errors.append), work)
    assert [type(error) for error in errors] == [LookupError, ValueError]
    assert work.rounds >= 4


async def test_without_a_report_a_failure_ends_the_rounds_for_their_supervisor_to_see() -> None:
    work = Work(None, LookupError("broken"))
    with pytest.raises(LookupError):
        await Rounds(0.001, work).run()
    assert work.rounds == 2


async def test_with_more_to_do_the_next_round_follows_at_once_and_others_get_their_turn() -> None:
    work = Work(*[True] * 50)
    turns = 0

    async def count_turns() -> None:
        nonlocal turns
        while not work.has_ended.is_set():
            turns += 1
            await asyncio.sleep(0)

    beside = asyncio.create_task(count_turns())
    await _run_to_the_end(Rounds(NEVER_S, work), work)
    await beside
    assert work.rounds == 51
    assert turns >= 50


async def test_after_a_failure_there_is_a_pause_although_there_was_more_to_do() -> None:
    work = Work(True, LookupError("broken"), True)
    failed = asyncio.Event()
    task = asyncio.create_task(Rounds(NEVER_S, work, on_error=lambda _: failed.set()).run())
    async with asyncio.timeout(5):
        await failed.wait()
    for _ in range(10):
        await asyncio.sleep(0)
    assert work.rounds == 2
    await _cancel(task)


async def test_the_first_round_waits_as_long_as_it_is_told_to() -> None:
    work = Work()
    task = asyncio.create_task(Rounds(0.001, work, first_after_s=NEVER_S).run())
    for _ in range(10):
        await asyncio.sleep(0)
    assert work.rounds == 0
    await _cancel(task)


async def test_cancellation_ends_a_round_in_the_middle_and_is_not_reported() -> None:
    errors: list[Exception] = []
    started = asyncio.Event()

    async def hang() -> None:
        started.set()
        await asyncio.Event().wait()

    task = asyncio.create_task(Rounds(0.001, hang, on_error=errors.append).run())
    async with asyncio.timeout(5):
        await started.wait()
    await _cancel(task)
    assert errors == []


@pytest.mark.parametrize(
    ("error", "event", "level"),
    [
        (psycopg.OperationalError("gone"), "sweep.database_away", "warning"),
        (LookupError("broken"), "sweep.failed", "error"),
    ],
)
def test_an_outage_is_a_warning_and_a_bug_an_error_with_its_traceback(
    error: Exception, event: str, level: str
) -> None:
    with capture_logs() as logs:
        log_failures(away="sweep.database_away", failed="sweep.failed")(error)
    assert [(entry["event"], entry["log_level"]) for entry in logs] == [(event, level)]
    assert logs[0].get("exc_info") is (error if level == "error" else None)
