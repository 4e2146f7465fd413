"""One hostile tenant does all it can, in random order, beside an honest one, who notices nothing.

Nothing of the honest one is lost, doubled or shown to the other, and the server answers everybody.
"""

from __future__ import annotations

import asyncio
import secrets
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Final

import pytest
import pytest_asyncio

from bench.hostile_tenant import HostileTenant
from tests.flow.sender import Sender
from tests.plain_http import plain_client
from tests.providers.fakes import FakeTelegram
from tests.runtime.conftest import Up

RAGE_S: Final = 60.0
# A bound on "gets through": far above what it takes alone (some 20 ms), far below a queue that
# stands still.
_WITHIN_S: Final = 10.0

pytestmark = [pytest.mark.slow, pytest.mark.timeout(360)]


@pytest_asyncio.fixture
async def telegram() -> AsyncIterator[FakeTelegram]:
    async with FakeTelegram() as fake:
        yield fake


@pytest.fixture
def up(telegram: FakeTelegram) -> Iterator[Up]:
    with tempfile.TemporaryDirectory(prefix="mjs-hostile-") as folder:
        home = Path(folder)
        home.chmod(0o711)
        (home / ".env").write_text(
            f"TELEGRAM_API_URL={telegram.base_url}\nDASHBOARD_RATE_LIMIT_PER_MINUTE=0\nALLOW_PRIVATE_NETWORK=true\n"
        )
        up = Up(home / "data", has_pages=True)
        yield up
        up.clean_up()


class Honest(Sender):
    """Sends a message a tenth of a second, each once, and probes the server's health in between."""

    def __init__(self, base_url: str, secret: str) -> None:
        super().__init__(base_url, email="honest@example.com")
        self.secret = secret
        self.probes: list[int] = []

    async def go_on(self, connector_id: str, hostile: asyncio.Task[None]) -> int:
        """Send until the hostile one is done; returns how many were sent."""
        headers = {"Authorization": f"Bearer {self.key}"}
        serial = 0
        async with plain_client(self.base_url, timeout=_WITHIN_S) as client:
            while not hostile.done():
                body = {
                    "to": "42",
                    "connectorId": connector_id,
                    "message": f"{self.secret} {serial}",
                }
                answer = await client.post("/api/v1/messages", json=body, headers=headers)
                assert answer.status_code == 202, answer.text
                self.accepted[serial] = answer.json()["messageId"]
                self.probes.append((await client.get("/healthz")).status_code)
                serial += 1
                await asyncio.sleep(0.1)
        return serial


async def test_an_honest_tenant_notices_nothing_of_a_hostile_one(
    up: Up, telegram: FakeTelegram
) -> None:
    await asyncio.to_thread(up.start_and_wait)
    url = f"http://127.0.0.1:{up.port}"
    honest = Honest(url, secret=f"honest-{secrets.token_hex(8)}")
    await honest.register()
    connector_id = await honest.connector("honest")
    hostile = HostileTenant(url, seed=1, victim=honest.project_id, has_pages=True)
    await hostile.enter()
    rage = asyncio.create_task(_rage(hostile))
    sent = await honest.go_on(connector_id, rage)
    await rage
    async with asyncio.timeout(60):
        counts = await honest.settled(connector_id)

    report = hostile.report
    print(f"{sent} sent; {dict(report.actions)}; {dict(report.statuses)}")  # noqa: T201 (the run's figures)
    assert not report.failures
    assert min(report.actions.values()) >= 1
    assert counts["sent"] == sent == len(set(honest.accepted.values()))
    arrived = Counter(
        text for received in telegram.messages if honest.secret in (text := received.body["text"])
    )
    assert arrived == {f"{honest.secret} {serial}": 1 for serial in range(sent)}
    assert set(honest.probes) == {200}
    shown = [text for text in report.texts if honest.secret in text or "honest@example.com" in text]
    assert shown == []
    # Nothing had to be started again for it.
    assert "died" not in up.log()


async def _rage(hostile: HostileTenant) -> None:
    await hostile.rage(RAGE_S)
