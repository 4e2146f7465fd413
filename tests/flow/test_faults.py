"""What was accepted is accounted for, whatever the provider, the servers and the machine do
meanwhile.

accepted = delivered + still queued + failed with a reason + uncertain, counted at the fake
provider, and nothing arrives twice where the template does not say `onUncertain: resend`.
"""

from __future__ import annotations

import asyncio
import os
import signal
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Final

import psutil
import pytest
import pytest_asyncio
import redis

from backend.runtime.embedded import EmbeddedValkey, Layout
from tests.flow.sender import Sender
from tests.providers.fakes import HostileFault, HostileTelegram, meets_fault
from tests.runtime.conftest import Up

pytestmark = pytest.mark.timeout(120)

MESSAGES: Final = 60
LEASE_S: Final = 3
FAULTED: Final = sum(meets_fault(f"serial {serial}") for serial in range(MESSAGES))


@pytest_asyncio.fixture(scope="module")
async def telegram() -> AsyncIterator[HostileTelegram]:
    async with HostileTelegram(latency_s=0.02) as fake:
        yield fake


@pytest.fixture(scope="module")
def up(telegram: HostileTelegram) -> Iterator[Up]:
    with tempfile.TemporaryDirectory(prefix="mjs-faults-") as folder:
        home = Path(folder)
        home.chmod(0o711)
        (home / ".env").write_text(
            f"TELEGRAM_API_URL={telegram.base_url}\nLEASE_S={LEASE_S}\nPROVIDER_TIMEOUT_S=2\n"
            "RETRY_BASE_S=0.1\nCIRCUIT_FIRST_PAUSE_S=1\nDASHBOARD_RATE_LIMIT_PER_MINUTE=0\n"
        )
        up = Up(home / "data", "--workers", "2")
        up.start_and_wait()
        yield up
        up.clean_up()


@pytest_asyncio.fixture(scope="module")
async def owner(up: Up) -> Sender:
    sender = Sender(f"http://127.0.0.1:{up.port}")
    await sender.register()
    return sender


@pytest.fixture
def sender(owner: Sender) -> Sender:
    owner.accepted = {}
    return owner


def _accounted(counts: Counter[str], messages: int) -> None:
    assert counts["sent"] + counts["uncertain"] + counts["failed"] == messages, counts


FATES: Final[dict[HostileFault, str]] = {
    "slow": "sent",
    "reset-before": "uncertain",  # the client cannot see that nothing was read
    "reset-after": "uncertain",
    "500": "uncertain",
    "503": "sent",
    "429": "sent",
    "429-after": "sent",
    "garbage": "uncertain",
    "nothing": "uncertain",
}


@pytest.mark.parametrize(("fault", "fate"), FATES.items())
async def test_each_fault_of_a_provider_costs_no_message_and_sends_none_twice(
    sender: Sender, telegram: HostileTelegram, fault: HostileFault, fate: str
) -> None:
    connector_id = await sender.connector(f"hold-{fault}")
    await sender.send_all(connector_id, MESSAGES)
    async with asyncio.timeout(40):
        counts = await sender.settled(connector_id)
    _accounted(counts, MESSAGES)
    assert counts[fate] >= FAULTED
    assert counts["uncertain"] == (FAULTED if fate == "uncertain" else 0)
    taken = telegram.taken[f"hold-{fault}"]
    assert max(taken.values()) == 1
    answered = telegram.answered[f"hold-{fault}"]
    assert len(answered) == counts["sent"]


@pytest.mark.parametrize("fault", ["reset-after", "nothing"])
async def test_what_may_be_sent_twice_arrives_at_last(
    sender: Sender, telegram: HostileTelegram, fault: HostileFault
) -> None:
    connector_id = await sender.connector(f"resend-{fault}")
    template_id = await sender.template(
        name=f"code {fault}",
        connectorType="telegram",
        content="{{serial}}",
        variables=["serial"],
        onUncertain="resend",
    )
    await sender.send_all(connector_id, MESSAGES, {"templateId": template_id})
    async with asyncio.timeout(40):
        counts = await sender.counts(connector_id)
        while counts["sent"] < MESSAGES:
            await asyncio.sleep(0.1)
            counts = await sender.counts(connector_id)
    taken = telegram.taken[f"resend-{fault}"]
    assert Counter(taken.values()) == {1: MESSAGES - FAULTED, 2: FAULTED}


async def _while_sending(
    sender: Sender, connector_id: str, count: int, disturb: asyncio.Task[None]
) -> Counter[str]:
    await asyncio.gather(sender.send_all(connector_id, count), disturb)
    async with asyncio.timeout(40):
        return await sender.settled(connector_id)


async def _until_accepted(sender: Sender, count: int) -> None:
    while len(sender.accepted) < count:
        await asyncio.sleep(0.01)


async def test_a_flushed_valkey_loses_nothing(
    sender: Sender, telegram: HostileTelegram, up: Up
) -> None:
    connector_id = await sender.connector("flushed")
    client = redis.Redis.from_url(EmbeddedValkey(Layout(up.data_dir)).url)

    async def flush() -> None:
        for accepted in (100, 250, 400):
            await _until_accepted(sender, accepted)
            await asyncio.to_thread(client.flushall)

    counts = await _while_sending(sender, connector_id, 500, asyncio.create_task(flush()))
    assert counts == {"sent": 500} | dict.fromkeys(
        ("pending", "delivered", "uncertain", "failed"), 0
    )
    assert Counter(telegram.taken["flushed"].values()) == {1: 500}


async def test_a_restarted_postgres_loses_nothing(
    sender: Sender, telegram: HostileTelegram, up: Up
) -> None:
    connector_id = await sender.connector("restarted")

    async def restart() -> None:
        await _until_accepted(sender, 150)
        os.kill(
            up.pid_of("postgres"), signal.SIGINT
        )  # a fast shutdown; the supervisor starts it again

    counts = await _while_sending(sender, connector_id, 400, asyncio.create_task(restart()))
    assert counts == {"sent": 400} | dict.fromkeys(
        ("pending", "delivered", "uncertain", "failed"), 0
    )
    assert Counter(telegram.taken["restarted"].values()) == {1: 400}


async def test_a_crashed_backend_of_postgres_loses_nothing(
    sender: Sender, telegram: HostileTelegram, up: Up
) -> None:
    """As the kernel does when memory is short: Postgres ends all connections and recovers, its
    process stays.
    """
    connector_id = await sender.connector("crashed")

    async def crash() -> None:
        for accepted in (120, 240):
            await _until_accepted(sender, accepted)
            backends = [
                child
                for child in psutil.Process(up.pid_of("postgres")).children()
                if "[local]" in " ".join(child.cmdline())
            ]
            backends[accepted % len(backends)].kill()

    counts = await _while_sending(sender, connector_id, 400, asyncio.create_task(crash()))
    _accounted(counts, 400)
    assert counts["failed"] == 0
    assert max(telegram.taken["crashed"].values()) == 1
    assert len(telegram.taken["crashed"]) >= counts["sent"]


async def test_a_worker_that_sleeps_past_its_lease_sends_nothing_twice(
    sender: Sender, telegram: HostileTelegram, up: Up
) -> None:
    connector_id = await sender.connector("paused-slow")
    # A third of the answers take long, so that the worker is stopped with sends in flight.
    worker = psutil.Process(up.pid_of("worker-1"))

    async def pause() -> None:
        await _until_accepted(sender, 100)
        worker.suspend()
        # Past the lease, so that the other worker's sweep takes away what this one holds.
        await asyncio.sleep(LEASE_S + 3)
        worker.resume()

    try:
        counts = await _while_sending(sender, connector_id, 400, asyncio.create_task(pause()))
    finally:
        worker.resume()
    _accounted(counts, 400)
    assert counts["failed"] == 0
    assert max(telegram.taken["paused-slow"].values()) == 1
    # What arrived and is not known to have: only what the sleeping worker had in flight.
    assert len(telegram.taken["paused-slow"]) >= counts["sent"]
    assert up.pid_of("worker-1") == worker.pid
