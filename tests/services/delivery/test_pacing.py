"""Pacing by the engine: the rate holds for all workers, and a paced connector costs the others
nothing.

How many tokens there are when is for tests/dispatch/test_pacing.py. Here nothing asks how fast this
machine is: what must not be faster is compared with the time that passed, the rest with the order
in which messages arrive.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, Final
from uuid import UUID

from backend.models import Connector
from backend.platform import Platform
from backend.services.delivery.engine import DeliveryEngine
from backend.services.policy.request import SendRequest
from tests.providers.fakes import FakeTelegram, Received
from tests.world import World, make_engine

TOKEN: Final = {"botToken": "123456:test-token-0123456789abcdefghijklm"}
PATIENCE_S: Final = 30.0
# What a connector may send at once beside the message that is on time.
BURST_S: Final = 0.1


class OrderedTelegram(FakeTelegram):
    """Notes the texts in the order in which they arrived."""

    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = []

    def success(self, received: Received) -> Any:
        self.texts.append(str(received.body.get("text")))
        return super().success(received)

    def arrived(self, prefix: str) -> int:
        return sum(text.startswith(prefix) for text in self.texts)


async def _queue(
    world: World, connector: Connector, texts: Sequence[str], *, to: str | None = None
) -> list[UUID]:
    requests = [
        SendRequest(to=to or str(1000 + place), text=text, connector_id=connector.id)
        for place, text in enumerate(texts)
    ]
    sent = await asyncio.gather(*(world.send(request) for request in requests))
    return [accepted.message_id for accepted in sent]


async def _run_until(is_done: Callable[[], bool], *engines: DeliveryEngine) -> float:
    """Let them drain as workers do, slice after slice, then stop them; returns the seconds."""
    began = time.monotonic()

    async def work(engine: DeliveryEngine) -> None:
        while not is_done():
            assert time.monotonic() - began < PATIENCE_S
            await engine.drain_slice(0.1)

    await asyncio.gather(*(work(engine) for engine in engines))
    for engine in engines:
        await engine.close(2)
    return time.monotonic() - began


def _paced(per_second: float | None, each: float | None = None) -> dict[str, Any]:
    return {"pacing": {"perSecond": per_second, "perRecipientPerSecond": each}}


def _most(per_second: float, elapsed_s: float) -> float:
    """What a rate lets through: the first one, a burst, and what the time that passed is worth."""
    return 1 + per_second * (BURST_S + elapsed_s)


async def test_two_engines_keep_one_connectors_rate_together(
    platform: Platform, world: World
) -> None:
    connector = await world.connector("telegram", TOKEN, config=_paced(50))
    await _queue(world, connector, [f"m{number}" for number in range(150)])
    async with OrderedTelegram() as telegram:
        engines = [
            make_engine(platform, base_urls={"telegram": telegram.base_url}) for _ in range(2)
        ]
        await platform.doorbell.drain()
        elapsed_s = await _run_until(lambda: telegram.arrived("m") == 150, *engines)
    assert len(set(telegram.texts)) == len(telegram.texts) == 150
    assert len(telegram.texts) <= _most(50, elapsed_s)


async def test_connectors_of_one_bot_share_its_pace_and_others_do_not(
    platform: Platform, world: World
) -> None:
    other = {"botToken": "777777:other-token-0123456789abcdefghijkl"}
    twins = [await world.connector("telegram", TOKEN, config=_paced(20)) for _ in range(2)]
    alone = await world.connector("telegram", other, config=_paced(20))
    for name, connector in zip("abc", [*twins, alone], strict=True):
        await _queue(world, connector, [f"{name}{number}" for number in range(60)])
    async with OrderedTelegram() as telegram:
        engine = make_engine(platform, base_urls={"telegram": telegram.base_url})
        await platform.doorbell.drain()
        elapsed_s = await _run_until(lambda: len(telegram.texts) >= 80, engine)
    in_all = Counter(text[0] for text in telegram.texts)
    assert in_all["a"] + in_all["b"] <= _most(20, elapsed_s)
    assert in_all["c"] <= _most(20, elapsed_s)
    # Half of the 80 came through the connector alone, although it is one of three.
    first = Counter(text[0] for text in telegram.texts[:80])
    assert 34 <= first["c"] <= 46
    assert min(first["a"], first["b"]) >= 10


async def test_a_paced_backlog_does_not_delay_another_connectors_message(
    platform: Platform, world: World
) -> None:
    slow = await world.connector("telegram", TOKEN, config=_paced(40))
    free = await world.connector("telegram", TOKEN)
    await _queue(world, slow, [f"slow {number}" for number in range(1000)])
    async with OrderedTelegram() as telegram:
        engine = make_engine(platform, base_urls={"telegram": telegram.base_url})
        await platform.doorbell.drain()
        running = asyncio.create_task(_run_until(lambda: telegram.arrived("free") == 5, engine))
        overtaken_by = []
        for number in range(5):
            slow_before = telegram.arrived("slow")
            await _queue(world, free, [f"free {number}"])
            async with asyncio.timeout(PATIENCE_S):
                while telegram.arrived("free") <= number:
                    await asyncio.sleep(0.005)
            overtaken_by.append(telegram.arrived("slow") - slow_before)
            await asyncio.sleep(0.1)
        elapsed_s = await running
    # Behind the backlog it would be nearly a thousand; 20 are half a second's.
    assert sorted(overtaken_by)[2] < 20
    assert telegram.arrived("slow") <= _most(40, elapsed_s)


async def test_a_burst_to_one_recipient_spreads_out_and_the_others_go_on(
    platform: Platform, world: World
) -> None:
    connector = await world.connector("telegram", TOKEN, config=_paced(None, 4))
    ids = await _queue(world, connector, [f"same {number}" for number in range(8)], to="42")
    others = await _queue(world, connector, [f"many {number}" for number in range(50)])
    async with OrderedTelegram() as telegram:
        engine = make_engine(platform, base_urls={"telegram": telegram.base_url})
        await platform.doorbell.drain()
        elapsed_s = await _run_until(lambda: telegram.arrived("same") == len(ids), engine)
    assert telegram.arrived("many") == len(others)
    # All the others come before the recipient's third message, which is half a second later.
    before_third = [text for text in telegram.texts if text.startswith("same")][2]
    last_of_many = max(place for place, text in enumerate(telegram.texts) if "many" in text)
    assert last_of_many < telegram.texts.index(before_third)
    # 4/s: seven quarters of a second after the first. Redis counts in its own milliseconds.
    assert elapsed_s > 7 * 0.25 - 0.02
    # Waiting for the recipient's turn is not a try.
    assert {
        attempt.number for message_id in ids for attempt in await world.attempts(message_id)
    } == {1}


async def test_a_telegram_group_has_a_pace_of_its_own(platform: Platform, world: World) -> None:
    connector = await world.connector("telegram", TOKEN, config={})
    async with OrderedTelegram() as telegram:
        engine = make_engine(platform, base_urls={"telegram": telegram.base_url})
        await _queue(world, connector, ["group 1", "group 2"], to="-100200300")
        await _queue(world, connector, ["chat 1", "chat 2"], to="42")
        await platform.doorbell.drain()
        await _run_until(lambda: telegram.arrived("chat") == 2, engine)
    # The chat's second comes after a second; the group's, at 20 a minute, after three.
    assert telegram.arrived("group") == 1


async def test_redis_flushed_in_the_middle_costs_a_burst_at_most(
    platform: Platform, world: World
) -> None:
    connector = await world.connector("telegram", TOKEN, config=_paced(50))
    ids = await _queue(world, connector, [f"m{number}" for number in range(40)])
    async with OrderedTelegram() as telegram:
        engine = make_engine(platform, base_urls={"telegram": telegram.base_url})
        await platform.doorbell.drain()
        running = asyncio.create_task(_run_until(lambda: telegram.arrived("m") == len(ids), engine))
        async with asyncio.timeout(PATIENCE_S):
            while telegram.arrived("m") < 10:
                await asyncio.sleep(0.005)
        await platform.redis.flushdb()
        # What the sweeper does each second.
        platform.doorbell.ring([(1, connector.id)])
        elapsed_s = await running
    assert Counter(telegram.texts) == Counter({f"m{number}": 1 for number in range(len(ids))})
    # The flush forgets what was sent: one burst more.
    assert len(telegram.texts) <= _most(50, elapsed_s) + 1 + 50 * BURST_S
