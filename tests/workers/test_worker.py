"""`messagejs worker` as a process: it delivers, outlives Valkey, and ends within its grace."""

from __future__ import annotations

import asyncio
import pickle
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID

import orjson
import pytest
from redis import Redis

from backend.models import Connector
from backend.queueing import DRAIN_JOB, QUEUE
from backend.services.policy.request import SendRequest
from backend.settings import Settings
from tests.providers.fakes import FakeTelegram
from tests.workers.conftest import Valkey, Worker
from tests.world import World
from workers.worker import Liveness

TOKEN = {"botToken": "123456:test-token-0123456789abcdefghijklm"}
StartWorker = Callable[..., Worker]


async def _send(world: World, connector: Connector, to: str = "42") -> UUID:
    return (
        await world.send(SendRequest(to=to, text="hello", connector_id=connector.id))
    ).message_id


async def _start(start_worker: StartWorker, **variables: str) -> Worker:
    return await asyncio.to_thread(start_worker, **variables)


async def _until_received(telegram: FakeTelegram, count: int = 1) -> None:
    async with asyncio.timeout(10):
        while len(telegram.messages) < count:
            await asyncio.sleep(0.02)


async def test_a_worker_delivers_what_was_accepted(world: World, start_worker: StartWorker) -> None:
    worker = await _start(start_worker)
    connector = await world.connector()
    messages = [await _send(world, connector, f"user-{number}") for number in range(20)]
    for message_id in messages:
        assert (await world.wait_for(message_id, "delivered")).attempts == 1
    assert [attempt.outcome for attempt in await world.attempts(messages[0])] == ["accepted"]
    await asyncio.to_thread(worker.stop)


async def test_a_worker_finds_what_was_accepted_before_it_started(
    world: World, start_worker: StartWorker
) -> None:
    """Whose bell was not heard: the ready set is emptied meanwhile."""
    message_id = await _send(world, await world.connector())
    await world.platform.doorbell.drain()
    await world.platform.redis.flushdb()
    await _start(start_worker)
    await world.wait_for(message_id, "delivered")


@pytest.mark.parametrize(
    "job",
    [
        {"data": orjson.dumps(["shutil.rmtree", None, ["{target}"], {}])},
        {"data": orjson.dumps(["os.system", None, ["touch {target}/done"], {}])},
        {"data": pickle.dumps(("os.system", None, ("touch {target}/done",), {}))},
        {
            "data": orjson.dumps([DRAIN_JOB, None, [], {}]),
            "success_callback_name": "{module}.anything",
        },
        {
            "data": orjson.dumps([DRAIN_JOB, None, [], {}]),
            "failure_callback_name": "{module}.anything",
        },
        {"data": orjson.dumps(["{module}.anything", None, [], {}])},
        {"data": b"neither"},
        {"no": "data"},
    ],
    ids=[
        "rmtree",
        "system",
        "pickle",
        "success-callback",
        "failure-callback",
        "import",
        "junk",
        "empty",
    ],
)
async def test_a_job_that_is_not_ours_is_dropped_unread_and_the_worker_goes_on(
    world: World, start_worker: StartWorker, tmp_path: Path, job: dict[str, bytes | str]
) -> None:
    target = tmp_path / "target"
    target.mkdir()
    (tmp_path / "planted.py").write_text(
        f"import pathlib; pathlib.Path({str(target)!r}, 'done').touch()\n"
    )
    worker = await _start(start_worker, PYTHONPATH=str(tmp_path))
    fields = {
        name: (
            (value.encode() if isinstance(value, str) else value)
            .replace(b"{target}", str(target).encode())
            .replace(b"{module}", b"planted")
        )
        for name, value in job.items()
    }
    if fields.get("data", b"").startswith(b"\x80"):  # a pickle counts the bytes of its text
        fields["data"] = pickle.dumps(("os.system", None, (f"touch {target}/done",), {}))
    fields |= {
        "origin": QUEUE.encode(),
        "status": b"queued",
        "created_at": b"2026-01-01T00:00:00.000000Z",
    }
    redis: Any = world.platform.redis
    await redis.hset("rq:job:stranger", mapping=fields)
    await redis.rpush(f"rq:queue:{QUEUE}", "stranger")
    await world.wait_for(await _send(world, await world.connector()), "delivered", timeout_s=15)
    async with asyncio.timeout(10):
        while await redis.llen(f"rq:queue:{QUEUE}"):
            await asyncio.sleep(0.05)
    await asyncio.to_thread(worker.stop)
    assert list(target.iterdir()) == []
    assert target.exists()


async def test_two_workers_hand_each_message_over_once(
    world: World, start_worker: StartWorker, telegram: FakeTelegram
) -> None:
    await asyncio.gather(_start(start_worker), _start(start_worker))
    connector = await world.connector("telegram", TOKEN)
    messages = [await _send(world, connector, str(1000 + number)) for number in range(200)]
    for message_id in messages:
        await world.wait_for(message_id, "sent", timeout_s=20)
    assert sorted(str(received.body["chat_id"]) for received in telegram.messages) == sorted(
        str(1000 + number) for number in range(200)
    )


async def test_a_worker_outlives_valkey_being_away_for_three_seconds(
    world: World, start_worker: StartWorker, valkey: Valkey
) -> None:
    worker = await _start(start_worker)
    connector = await world.connector()
    await world.wait_for(await _send(world, connector), "delivered")
    valkey.kill()
    # Postgres is the queue of record: accepting goes on.
    meanwhile = await _send(world, connector)
    await asyncio.sleep(3)
    assert worker.process.poll() is None
    await asyncio.to_thread(valkey.start)
    await world.wait_for(meanwhile, "delivered", timeout_s=15)
    await world.wait_for(await _send(world, connector), "delivered", timeout_s=15)
    assert await asyncio.to_thread(worker.stop) < 10


@pytest.mark.slow
async def test_outages_of_valkey_leave_no_connection_and_no_flood_of_log_lines_behind(
    world: World, start_worker: StartWorker, valkey: Valkey, own_settings: Settings
) -> None:
    worker = await _start(start_worker)
    connector = await world.connector()

    async def outage() -> None:
        valkey.kill()
        await asyncio.sleep(1.2)
        await asyncio.to_thread(valkey.start)
        await world.wait_for(await _send(world, connector), "delivered", timeout_s=15)

    def connections() -> int:
        client = Redis.from_url(own_settings.require_redis_url())
        try:
            # Those that wait for messages: this test's platform has one of them, the worker the
            # others.
            clients: Any = client.client_list(_type="pubsub")
            return len(clients)
        finally:
            client.close()

    await outage()
    await asyncio.sleep(1)
    before = connections()
    for _ in range(2):
        await outage()
    async with asyncio.timeout(10):
        while await asyncio.to_thread(connections) > before:
            await asyncio.sleep(0.1)
    log = worker.log()
    assert "Traceback" not in log, log
    assert log.count("worker.redis_away") + log.count("could not connect to Redis") <= 3 * 2, log


@pytest.mark.parametrize("away_s", [0.4, 1.0, 1.6])
async def test_a_worker_ends_while_valkey_is_away(
    start_worker: StartWorker, valkey: Valkey, away_s: float
) -> None:
    """Whether RQ is just connecting, with handlers of its own, or we wait between two tries."""
    worker = await _start(start_worker)
    valkey.kill()
    await asyncio.sleep(away_s)
    try:
        await asyncio.to_thread(worker.stop, signal.SIGTERM, 12)
    finally:
        await asyncio.to_thread(valkey.start)
    assert "worker.stopped" in worker.log()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_an_idle_worker_ends_at_once(
    start_worker: StartWorker, number: signal.Signals
) -> None:
    worker = await _start(start_worker, SHUTDOWN_GRACE_S="40")
    await asyncio.to_thread(worker.stop, number, 20)
    assert worker.process.returncode == 0
    assert "worker.stopped" in worker.log()


async def test_a_send_under_way_ends_within_the_grace(
    world: World, start_worker: StartWorker, telegram: FakeTelegram
) -> None:
    telegram.latency_s = 1.0
    worker = await _start(start_worker, SHUTDOWN_GRACE_S="40")
    message_id = await _send(world, await world.connector("telegram", TOKEN))
    await _until_received(telegram)
    # The answer is up to a second away, the grace forty: it must not be waited for in full.
    await asyncio.to_thread(worker.stop, patience_s=20)
    assert (await world.message(message_id)).status == "sent"


async def test_a_send_slower_than_the_grace_is_uncertain_and_not_repeated(
    world: World, start_worker: StartWorker, telegram: FakeTelegram
) -> None:
    telegram.latency_s = 3.5  # under PROVIDER_TIMEOUT_S (4)
    worker = await _start(start_worker, SHUTDOWN_GRACE_S="0.5")
    message_id = await _send(world, await world.connector("telegram", TOKEN))
    await _until_received(telegram)
    assert await asyncio.to_thread(worker.stop) < 3.5
    message = await world.message(message_id)
    assert (message.status, message.attempts) == ("uncertain", 1)
    await _start(start_worker)
    await asyncio.sleep(1.5)  # longer than a sweep
    assert len(telegram.messages) == 1


async def test_a_stopped_worker_leaves_what_it_did_not_begin_to_the_next(
    world: World, start_worker: StartWorker, telegram: FakeTelegram
) -> None:
    telegram.latency_s = 0.3
    first = await _start(start_worker, DELIVERY_CONCURRENCY="2")
    connector = await world.connector("telegram", TOKEN)
    messages = [await _send(world, connector, str(100 + number)) for number in range(12)]
    await _until_received(telegram)
    await asyncio.to_thread(first.stop)
    assert len(telegram.messages) < 12
    telegram.latency_s = 0
    await _start(start_worker)
    for message_id in messages:
        assert (await world.wait_for(message_id, "sent")).attempts == 1
    assert len(telegram.messages) == 12


class Delivery:
    is_stop_requested = False


async def test_a_worker_whose_rq_thread_hangs_beats_no_more_until_it_moves_or_is_to_stop() -> None:
    delivery, beats = Delivery(), []
    liveness = Liveness(delivery, lambda: beats.append("beat"), every_s=0.01, silence_beats=3)
    beating = asyncio.create_task(liveness.keep_beating())

    async def beats_after(seconds: float) -> int:
        beats.clear()
        await asyncio.sleep(seconds)
        return len(beats)

    assert await beats_after(0.5) == 3
    liveness.moved()
    assert await beats_after(0.5) == 3
    assert await beats_after(0.1) == 0
    delivery.is_stop_requested = True
    assert await beats_after(0.5) > 3
    beating.cancel()
