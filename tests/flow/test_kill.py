"""The product's promise: what was answered 202 is handed over once, whatever is killed meanwhile.

2,000 messages are accepted while a worker, the web server, Valkey, Postgres and the supervisor are
killed with SIGKILL, one after the other, and come back. A send that was cut off in the middle is
`uncertain` and not repeated; everything else arrives exactly once.
"""

from __future__ import annotations

import asyncio
import os
import signal
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Final

import psutil
import pytest
import pytest_asyncio

from tests.flow.sender import SENDERS, Sender
from tests.providers.fakes import FakeTelegram
from tests.runtime.conftest import Up

MESSAGES: Final = 2000
PATIENCE_S: Final = 100.0
# After how many accepted messages each part dies.
DEATHS: Final = {200: "worker-1", 500: "web", 800: "valkey", 1100: "postgres", 1500: "supervisor"}

pytestmark = [pytest.mark.slow, pytest.mark.timeout(180)]


@pytest_asyncio.fixture
async def telegram() -> AsyncIterator[FakeTelegram]:
    async with FakeTelegram(latency_s=0.03) as fake:
        yield fake


@pytest.fixture
def up(telegram: FakeTelegram) -> Iterator[Up]:
    with tempfile.TemporaryDirectory(prefix="mjs-kill-") as folder:
        home = Path(folder)
        home.chmod(0o711)
        # Short leases, so that what a dead worker held is settled within the test.
        (home / ".env").write_text(
            f"TELEGRAM_API_URL={telegram.base_url}\nLEASE_S=4\nPROVIDER_TIMEOUT_S=3\n"
            "RETRY_BASE_S=0.2\nDASHBOARD_RATE_LIMIT_PER_MINUTE=0\n"
        )
        up = Up(home / "data", "--workers", "2")
        yield up
        up.clean_up()


async def _kill_in_turn(up: Up, sender: Sender) -> None:
    for after, name in DEATHS.items():
        while len(sender.accepted) < after:
            await asyncio.sleep(0.01)
        if name == "supervisor":
            family = up.family()
            up.running.kill()
            await asyncio.to_thread(up.running.wait, 10)
            await asyncio.to_thread(psutil.wait_procs, family, 15)
            up.start()
        else:
            os.kill(up.pid_of(name), signal.SIGKILL)


async def test_what_was_accepted_arrives_once_whatever_is_killed(
    up: Up, telegram: FakeTelegram
) -> None:
    await asyncio.to_thread(up.start_and_wait)
    sender = Sender(f"http://127.0.0.1:{up.port}")
    await sender.register()
    connector_id = await sender.connector("kill")
    started = time.monotonic()
    async with asyncio.timeout(PATIENCE_S):
        await asyncio.gather(sender.send_all(connector_id, MESSAGES), _kill_in_turn(up, sender))
        counts = await sender.settled(connector_id)
    print(f"settled after {time.monotonic() - started:.1f} s: {dict(counts)}")  # noqa: T201 (the run's figures)

    assert len(set(sender.accepted.values())) == MESSAGES
    assert counts["sent"] + counts["uncertain"] == MESSAGES
    arrived = Counter(received.body["text"] for received in telegram.messages)
    assert max(arrived.values()) == 1, [text for text, times in arrived.items() if times > 1]
    for serial, message_id in sender.accepted.items():
        if f"serial {serial}" not in arrived:
            assert (await sender.message(message_id))["status"] == "uncertain"
    # Two workers die with their sends; more than a handful of unclear ones means something else is
    # wrong.
    assert counts["uncertain"] <= 4 * SENDERS
