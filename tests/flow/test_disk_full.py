"""A full disk: the API says so with 503, no 202 is without its row, and with room again everything
goes on.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

import pytest
import pytest_asyncio

from tests.flow.sender import Sender
from tests.plain_http import plain_client
from tests.providers.fakes import HostileTelegram
from tests.runtime.conftest import Up

pytestmark = pytest.mark.timeout(120)

DISK_MB: Final = 400


@pytest_asyncio.fixture
async def telegram() -> AsyncIterator[HostileTelegram]:
    async with HostileTelegram() as fake:
        yield fake


@pytest.fixture
def small_disk() -> Iterator[Path]:
    mount = shutil.which("mount")
    if mount is None or os.geteuid() != 0:
        pytest.skip("only root can mount a small disk")
    path = Path(tempfile.mkdtemp(prefix="mjs-disk-"))
    created = subprocess.run(
        [mount, "-t", "tmpfs", "-o", f"size={DISK_MB}m,mode=0711", "tmpfs", str(path)], check=False
    )
    if created.returncode != 0:
        path.rmdir()
        pytest.skip("this machine does not let root mount a tmpfs")
    yield path
    subprocess.run(["umount", "--lazy", str(path)], check=True)
    path.rmdir()


@pytest.fixture
def up(small_disk: Path, telegram: HostileTelegram) -> Iterator[Up]:
    (small_disk / ".env").write_text(
        f"TELEGRAM_API_URL={telegram.base_url}\nDASHBOARD_RATE_LIMIT_PER_MINUTE=0\n"
    )
    up = Up(small_disk / "data")
    up.start_and_wait()
    yield up
    up.clean_up()


def _fill(disk: Path) -> Path:
    """Leave no room at all."""
    ballast = disk / "ballast"
    with suppress(OSError), ballast.open("wb", buffering=0) as file:
        while True:
            file.write(b"\0" * 65_536)
    return ballast


async def _send_until_full(sender: Sender, connector_id: str, disk: Path) -> Counter[int]:
    """Send large messages while the disk fills; returns the answers' statuses once several were
    refused.
    """
    answers: Counter[int] = Counter()
    headers = {"Authorization": f"Bearer {sender.key}"}
    ends_at = time.monotonic() + 40
    async with plain_client(sender.base_url, timeout=20, headers=headers) as client:
        serial = 0
        while answers[503] < 3 and time.monotonic() < ends_at:
            body = {"to": "42", "connectorId": connector_id, "message": f"{'x' * 3000} {serial}"}
            answer = await client.post("/api/v1/messages", json=body)
            answers[answer.status_code] += 1
            if answer.status_code == 202:
                sender.accepted[serial] = answer.json()["messageId"]
            else:
                assert answer.json()["code"] == "SERVICE_UNAVAILABLE", answer.text
                assert "Retry-After" in answer.headers
            serial += 1
            if serial == 20:
                await asyncio.to_thread(_fill, disk)
    return answers


async def test_a_full_disk_is_a_clear_503_and_no_202_is_without_its_row(
    up: Up, small_disk: Path, telegram: HostileTelegram
) -> None:
    sender = Sender(f"http://127.0.0.1:{up.port}")
    await sender.register()
    connector_id = await sender.connector("full")
    answers = await _send_until_full(sender, connector_id, small_disk)
    assert answers[503] >= 3, (answers, up.log()[-2000:])
    assert set(answers) == {202, 503}
    (small_disk / "ballast").unlink()

    await asyncio.to_thread(up.until, up.is_ready, "ready again with room on the disk", 40.0)
    async with asyncio.timeout(40):
        counts = await sender.settled(connector_id)
    # Whatever was answered 202 is there; a refused one may have been written before the answer was
    # lost.
    assert counts.total() >= answers[202]
    for message_id in sender.accepted.values():
        assert (await sender.message(message_id))["status"] in {"sent", "uncertain"}
    sender.accepted = {}
    again = await sender.connector("again")
    await sender.send_all(again, 20)
    assert (await sender.settled(again))["sent"] == 20
    assert max(telegram.taken["again"].values()) == 1
