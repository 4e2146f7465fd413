"""Pacing through Redis: the rate holds whoever sends, and a paced connector costs the others
nothing.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

import pytest
import redis.asyncio
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from backend.ids import new_id
from backend.models import Connector
from backend.platform import Platform
from backend.providers.frame.provider import Pacing
from backend.services.delivery.engine import DeliveryEngine
from backend.services.delivery.open_connectors import Account
from backend.services.delivery.pacing import Pacer
from backend.services.policy.request import SendRequest
from tests.providers.fakes import FakeTelegram, Received, refused_port
from tests.world import World, make_engine

TOKEN = {"botToken": "123456:test-token-0123456789abcdefghijklm"}


class TimedTelegram(FakeTelegram):
    """Notes when each message arrived."""

    def __init__(self) -> None:
        super().__init__()
        self.arrivals: list[tuple[float, str]] = []

    def success(self, received: Received) -> Any:
        self.arrivals.append((time.monotonic(), str(received.body.get("text"))))
        return super().success(received)

    def times_of(self, prefix: str) -> list[float]:
        return [at for at, text in self.arrivals if text.startswith(prefix)]


async def _queue(
    world: World, connector: Connector, texts: Sequence[str], *, to: str | None = None
) -> list[UUID]:
    sent = await asyncio.gather(
        *(
            world.send(
                SendRequest(to=to or str(1000 + place), text=text, connector_id=connector.id)
            )
            for place, text in enumerate(texts)
        )
    )
    return [one.message_id for one in sent]


async def _run(*engines: DeliveryEngine, seconds: float) -> None:
    """Let them drain as workers do, slice after slice, then stop them."""
    ends_at = time.monotonic() + seconds

    async def work(engine: DeliveryEngine) -> None:
        while time.monotonic() < ends_at:
            await engine.drain_slice(max(0.01, ends_at - time.monotonic()))
            await asyncio.sleep(0.005)

    await asyncio.gather(*(work(engine) for engine in engines))
    for engine in engines:
        await engine.close(2)


def _paced(per_second: float | None, each: float | None = None) -> dict[str, Any]:
    return {"pacing": {"perSecond": per_second, "perRecipientPerSecond": each}}


async def test_two_engines_keep_one_connectors_rate_together(
    platform: Platform, world: World
) -> None:
    connector = await world.connector("telegram", TOKEN, config=_paced(50))
    await _queue(world, connector, [f"m{number}" for number in range(300)])
    async with TimedTelegram() as telegram:
        engines = [
            make_engine(platform, base_urls={"telegram": telegram.base_url}) for _ in range(2)
        ]
        await platform.doorbell.drain()
        await _run(*engines, seconds=3)
        times = telegram.times_of("m")
    assert len({text for _, text in telegram.arrivals}) == len(telegram.arrivals)
    # 50/s over what passed between the first and the last, plus the burst of a tenth of a second.
    allowed = 50 * (times[-1] - times[0]) + 5
    assert 0.9 * 50 * (times[-1] - times[0]) <= len(times) <= 1.1 * allowed


async def test_connectors_of_one_account_share_its_pace_and_others_do_not(
    platform: Platform, world: World
) -> None:
    other = {"botToken": "777777:other-token-0123456789abcdefghijkl"}
    twins = [await world.connector("telegram", TOKEN, config=_paced(20)) for _ in range(2)]
    alone = await world.connector("telegram", other, config=_paced(20))
    for name, connector in zip("abc", [*twins, alone], strict=True):
        await _queue(world, connector, [f"{name}{number}" for number in range(60)])
    async with TimedTelegram() as telegram:
        engine = make_engine(platform, base_urls={"telegram": telegram.base_url})
        await platform.doorbell.drain()
        await _run(engine, seconds=2)
    counts = Counter(text[0] for _, text in telegram.arrivals)
    # Two seconds of 20/s and a burst of 3, for the twins together and for the other alone.
    assert 34 <= counts["a"] + counts["b"] <= 47
    assert 34 <= counts["c"] <= 47
    assert min(counts["a"], counts["b"]) >= 10


async def test_a_paced_backlog_does_not_delay_another_connectors_message(
    platform: Platform, world: World
) -> None:
    slow = await world.connector("telegram", TOKEN, config=_paced(40))
    free = await world.connector("telegram", TOKEN)
    await _queue(world, slow, [f"slow {number}" for number in range(1000)])
    async with TimedTelegram() as telegram:
        engine = make_engine(platform, base_urls={"telegram": telegram.base_url})
        await platform.doorbell.drain()
        running = asyncio.create_task(_run(engine, seconds=2.5))
        await asyncio.sleep(0.5)
        delays = []
        for number in range(5):
            asked_at = time.monotonic()
            await _queue(world, free, [f"free {number}"])
            async with asyncio.timeout(2):
                while len(telegram.times_of("free")) <= number:
                    await asyncio.sleep(0.005)
            delays.append(telegram.times_of("free")[-1] - asked_at)
            await asyncio.sleep(0.1)
        await running
    assert sorted(delays)[2] < 0.2
    assert len(telegram.times_of("slow")) <= 40 * 2.5 * 1.1 + 4


async def test_a_burst_to_one_recipient_spreads_out_and_the_others_go_on(
    platform: Platform, world: World
) -> None:
    connector = await world.connector("telegram", TOKEN, config=_paced(None, 4))
    ids = await _queue(world, connector, [f"one {number}" for number in range(8)], to="42")
    others = await _queue(world, connector, [f"many {number}" for number in range(50)])
    async with TimedTelegram() as telegram:
        engine = make_engine(platform, base_urls={"telegram": telegram.base_url})
        await platform.doorbell.drain()
        await _run(engine, seconds=2.4)
        one = telegram.times_of("one")
        assert len(telegram.times_of("many")) == len(others)
        assert max(telegram.times_of("many")) - one[0] < 0.5
    assert len(one) == len(ids)
    # 4/s by Redis' clock: seven quarters of a second; their ways to the provider take differently
    # long.
    assert one[-1] - one[0] > 7 * 0.25 - 0.4
    assert one[-1] - one[0] < 7 * 0.25 + 0.5
    # Waiting for the recipient's turn is not a try.
    assert {
        attempt.number for message_id in ids for attempt in await world.attempts(message_id)
    } == {1}


async def test_a_telegram_group_has_a_pace_of_its_own(platform: Platform, world: World) -> None:
    connector = await world.connector("telegram", TOKEN, config={})
    async with TimedTelegram() as telegram:
        engine = make_engine(platform, base_urls={"telegram": telegram.base_url})
        await _queue(world, connector, ["group 1", "group 2"], to="-100200300")
        await _queue(world, connector, ["chat 1", "chat 2"], to="42")
        await platform.doorbell.drain()
        await _run(engine, seconds=1.6)
    assert len(telegram.times_of("group")) == 1  # 20 a minute
    assert len(telegram.times_of("chat")) == 2  # one a second


async def test_redis_flushed_in_the_middle_costs_a_burst_at_most(
    platform: Platform, world: World
) -> None:
    connector = await world.connector("telegram", TOKEN, config=_paced(50))
    ids = await _queue(world, connector, [f"m{number}" for number in range(40)])
    async with TimedTelegram() as telegram:
        engine = make_engine(platform, base_urls={"telegram": telegram.base_url})
        await platform.doorbell.drain()
        running = asyncio.create_task(_run(engine, seconds=1.6))
        await asyncio.sleep(0.3)
        await platform.redis.flushdb()
        # What the sweeper does each second.
        platform.doorbell.ring([(1, connector.id)])
        await running
    assert Counter(text for _, text in telegram.arrivals) == Counter(
        {f"m{number}": 1 for number in range(len(ids))}
    )


# -- the scripts
# -------------------------------------------------------------------------------------


def _account(pacing: Pacing, key: str = "") -> Account:
    connector_id = new_id()
    return Account(connector_id, pacing=pacing, pace_key=key or connector_id.hex)


async def _granted(pacer: Pacer, account: Account, wanted: int) -> int:
    turn = (1, account.connector_id)
    return (await pacer.ask({turn: wanted}, {account.connector_id: account}))[turn].count


async def test_what_is_given_back_can_be_had_again(platform: Platform) -> None:
    pacer, account = Pacer(platform.redis), _account(Pacing(per_second=100))
    accounts: Mapping[UUID, Account] = {account.connector_id: account}
    assert await _granted(pacer, account, 50) == 11  # one, and a tenth of a second's worth
    assert await _granted(pacer, account, 50) <= 2
    await pacer.give_back({account.connector_id: 10}, accounts)
    assert await _granted(pacer, account, 50) >= 10


async def test_a_rate_that_is_raised_counts_at_once(platform: Platform) -> None:
    pacer, slow = Pacer(platform.redis), _account(Pacing(per_second=0.001), key="one")
    assert await _granted(pacer, slow, 5) == 1
    assert await _granted(pacer, slow, 5) == 0
    fast = _account(Pacing(per_second=1000), key="one")
    assert await _granted(pacer, fast, 500) == 0
    await asyncio.sleep(0.15)
    assert await _granted(pacer, fast, 500) >= 50


async def test_a_connector_without_tokens_is_on_hold_for_all_workers(platform: Platform) -> None:
    pacer, account = Pacer(platform.redis), _account(Pacing(per_second=0.5))
    assert await _granted(pacer, account, 1) == 1
    assert await _granted(pacer, account, 1) == 0
    assert 1000 < await platform.redis.pttl(f"hold:{account.connector_id.hex}") <= 2000


@pytest.mark.parametrize("pacing", [Pacing(), Pacing(per_second=35.0)])
async def test_without_redis_unpaced_connectors_need_none_and_paced_ones_get_a_burst(
    pacing: Pacing,
) -> None:
    client = redis.asyncio.Redis(port=refused_port(), retry=Retry(NoBackoff(), 0))
    pacer, account = Pacer(client), _account(pacing)
    turn = (1, account.connector_id)
    granted = await pacer.ask({turn: 100}, {account.connector_id: account})
    assert {one: grant.count for one, grant in granted.items()} == (
        {turn: 4} if pacing.per_second else {}
    )
    await client.aclose()
