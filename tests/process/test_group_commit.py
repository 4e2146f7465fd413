"""Group commit: alone at once, together under load, and each item gets its own answer."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from backend.errors import ServiceUnavailable
from backend.process.group_commit import GroupCommit


class Handler:
    """Doubles numbers; waits at `gate` while it is closed; remembers its batches."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.failure: BaseException | None = None

    async def __call__(self, batch: Sequence[int]) -> Sequence[int | BaseException]:
        self.batches.append(list(batch))
        await self.gate.wait()
        if self.failure is not None:
            raise self.failure
        return [
            ValueError(f"{number} is negative") if number < 0 else number * 2 for number in batch
        ]


def _group(
    handler: Handler, *, waiting_limit: int = 100, batch_size: int = 256
) -> GroupCommit[int, int]:
    return GroupCommit(handler, name="test", waiting_limit=waiting_limit, batch_size=batch_size)


async def _let_the_first_batch_start(handler: Handler) -> None:
    async with asyncio.timeout(20):
        while not handler.batches:
            await asyncio.sleep(0)


async def test_alone_an_item_goes_at_once() -> None:
    handler = Handler()
    group = _group(handler)
    for number in range(3):
        # No timer and nothing to wait for: a handful of turns of the loop, not a delay.
        async with asyncio.timeout(0.05):
            assert await group.submit(number) == number * 2
    assert handler.batches == [[0], [1], [2]]


async def test_what_waits_during_a_batch_is_the_next_batch_in_order() -> None:
    handler = Handler()
    group = _group(handler)
    handler.gate.clear()
    first = group.submit(0)
    await _let_the_first_batch_start(handler)
    others = [group.submit(number) for number in range(1, 50)]
    handler.gate.set()
    assert await asyncio.gather(first, *others) == [number * 2 for number in range(50)]
    assert handler.batches == [[0], list(range(1, 50))]


async def test_a_batch_is_no_larger_than_its_size() -> None:
    handler = Handler()
    group = _group(handler, batch_size=20)
    assert await asyncio.gather(*(group.submit(number) for number in range(50))) == [
        n * 2 for n in range(50)
    ]
    assert [len(batch) for batch in handler.batches] == [20, 20, 10]


async def test_each_item_gets_its_own_error() -> None:
    group = _group(Handler())
    answers = await asyncio.gather(
        *(group.submit(number) for number in (1, -2, 3)), return_exceptions=True
    )
    assert (answers[0], answers[2]) == (2, 6)
    assert isinstance(answers[1], ValueError)


async def test_a_failed_batch_reaches_all_of_it_and_the_next_one_works() -> None:
    handler = Handler()
    group = _group(handler)
    handler.gate.clear()
    handler.failure = ConnectionError("away")
    first = group.submit(0)
    await _let_the_first_batch_start(handler)
    waiting = [group.submit(number) for number in (1, 2)]
    handler.gate.set()
    answers = await asyncio.gather(first, *waiting, return_exceptions=True)
    assert [type(answer) for answer in answers] == [ConnectionError] * 3
    handler.failure = None
    assert await group.submit(4) == 8


async def test_a_waiter_that_gives_up_does_not_harm_the_others() -> None:
    handler = Handler()
    group = _group(handler)
    handler.gate.clear()
    first = group.submit(0)
    await _let_the_first_batch_start(handler)
    others = [group.submit(number) for number in (1, 2, 3)]
    first.cancel()
    others[1].cancel()
    handler.gate.set()
    assert await others[0] == 2
    assert await others[2] == 6
    assert first.cancelled()
    assert others[1].cancelled()


async def test_a_given_up_item_is_handled_all_the_same() -> None:
    """Its request was cut off, but the client may have been promised nothing else: it is not half
    done.
    """
    handler = Handler()
    group = _group(handler)
    group.submit(7).cancel()
    await group.drain()
    assert handler.batches == [[7]]


async def test_more_than_the_limit_is_refused_with_when_to_come_back() -> None:
    handler = Handler()
    group = _group(handler, waiting_limit=3)
    handler.gate.clear()
    taken = [group.submit(0)]
    await _let_the_first_batch_start(handler)
    taken += [group.submit(number) for number in (1, 2, 3)]
    with pytest.raises(ServiceUnavailable, match="3 requests wait") as caught:
        group.submit(4)
    assert caught.value.headers == {"Retry-After": "1"}
    handler.gate.set()
    assert await asyncio.gather(*taken) == [0, 2, 4, 6]
    assert await group.submit(4) == 8


async def test_draining_waits_for_everything_submitted() -> None:
    handler = Handler()
    group = _group(handler, batch_size=2)
    futures = [group.submit(number) for number in range(5)]
    await group.drain()
    assert all(future.done() for future in futures)
    await group.drain()  # with nothing to do it returns


async def test_a_handler_that_forgets_an_answer_leaves_no_caller_waiting() -> None:
    async def forgetful(batch: Sequence[int]) -> Sequence[int]:
        return [number * 2 for number in batch[:-1]]

    group: GroupCommit[int, int] = GroupCommit(forgetful, name="test", waiting_limit=10)
    futures = [group.submit(number) for number in (1, 2, 3)]
    async with asyncio.timeout(20):
        answers = await asyncio.gather(*futures, return_exceptions=True)
    assert isinstance(answers[2], BaseException)


async def test_stopping_in_the_middle_leaves_no_caller_waiting() -> None:
    handler = Handler()
    group = _group(handler)
    handler.gate.clear()
    futures = [group.submit(number) for number in (1, 2)]
    await _let_the_first_batch_start(handler)
    (task,) = [task for task in asyncio.all_tasks() if task.get_name() == "test"]
    task.cancel()
    async with asyncio.timeout(20):
        await asyncio.wait([task])
    assert all(future.cancelled() for future in futures)


async def test_owners_take_turns_however_much_one_of_them_has_waiting() -> None:
    handler = Handler()
    group: GroupCommit[int, int] = GroupCommit(
        handler,
        name="test",
        waiting_limit=100,
        batch_size=4,
        owner_of=lambda number: number // 100,
        owner_limit=50,
    )
    handler.gate.clear()
    futures = [group.submit(99)]
    await _let_the_first_batch_start(handler)
    futures += [group.submit(number) for number in range(10)]
    futures += [group.submit(number) for number in (100, 101, 200)]
    handler.gate.set()
    await asyncio.gather(*futures)
    assert handler.batches == [[99], [0, 100, 200, 1], [101, 2, 3, 4], [5, 6, 7, 8], [9]]


async def test_an_owner_with_too_many_waiting_is_refused_and_the_others_are_not() -> None:
    handler = Handler()
    group: GroupCommit[int, int] = GroupCommit(
        handler, name="test", waiting_limit=10, owner_of=lambda number: number // 100, owner_limit=5
    )
    handler.gate.clear()
    futures = [group.submit(99)]
    await _let_the_first_batch_start(handler)
    futures += [group.submit(number) for number in range(5)]
    with pytest.raises(ServiceUnavailable, match="5 requests of the project wait") as caught:
        group.submit(6)
    assert caught.value.headers == {"Retry-After": "1"}
    futures.append(group.submit(100))
    handler.gate.set()
    await asyncio.gather(*futures)
    assert await group.submit(6) == 12
