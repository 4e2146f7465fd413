"""One bad thing stops only itself: whatever an adapter does or a row holds, the others' messages go
on.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import psycopg
import pytest
import pytest_asyncio
from hypothesis import HealthCheck, example, given, reject
from hypothesis import settings as limits
from hypothesis import strategies as st
from psycopg import sql
from pydantic import SecretStr
from sqlmodel import col, select

from backend.crypto import Vault
from backend.ids import new_id
from backend.models import AuditEntry, Connector, Message, ProjectMember
from backend.platform import Platform
from backend.queueing import ReadySet
from backend.services.accounts.mail import PlatformMail
from backend.services.delivery.broken import BrokenConnectors
from backend.services.delivery.engine import DeliveryEngine
from backend.services.delivery.open_connectors import OpenConnectors
from backend.services.delivery.unopened import UnopenedWatch
from backend.services.delivery.watch import Watcher
from backend.services.sending.accept import SendRequest
from backend.settings import Settings
from tests.providers.fakes import FakeSmtp, FakeTelegram
from tests.services.delivery import hostile
from tests.world import World, make_engine, make_sweeper

TOKEN: Final = {"botToken": "123456:test-token-0123456789abcdefghijklm"}
_PATIENCE_S: Final = 20.0


@pytest.fixture
def hostile_provider(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with hostile.installed(tmp_path, monkeypatch):
        yield


@dataclass
class Workers:
    """What a worker process runs, on the test's loop, beside an honest project's connector."""

    platform: Platform
    engine: DeliveryEngine
    watcher: Watcher
    telegram: FakeTelegram
    honest: World
    connector: Connector

    async def send_honest(self, count: int = 3) -> list[UUID]:
        requests = [
            SendRequest(to="42", text=new_id().hex, connector_id=self.connector.id)
            for _ in range(count)
        ]
        return [(await self.honest.send(request)).message_id for request in requests]

    async def until_sent(self, ids: list[UUID]) -> None:
        """Work until the honest messages are with their provider and recorded, each once."""
        await self.platform.doorbell.drain()
        ends_at = time.monotonic() + _PATIENCE_S
        while {(await self.honest.message(message_id)).status for message_id in ids} != {"sent"}:
            assert time.monotonic() < ends_at, [
                (await self.honest.message(message_id)).status for message_id in ids
            ]
            await self.turn()
        texts = [received.body["text"] for received in self.telegram.messages]
        assert len(texts) == len(set(texts))

    async def turn(self) -> None:
        """Once everything that a worker does again and again. None of it may raise."""
        await self.engine.drain_slice(0.15)
        await make_sweeper(self.platform).sweep()
        await self.watcher.round()
        await self.platform.doorbell.drain()


@pytest_asyncio.fixture
async def workers(platform: Platform) -> AsyncIterator[Workers]:
    honest = await World.make(platform)
    connector = await honest.connector("telegram", TOKEN)
    async with FakeTelegram() as telegram:
        engine = make_engine(platform, base_urls={"telegram": telegram.base_url})
        connectors = OpenConnectors(platform.database, platform.vault, platform.providers)
        watcher = Watcher(
            platform.database.raw,
            platform.doorbell,
            connectors,
            retry_policy=engine._retry_policy,
            lease_s=5,
            exchange_timeout_s=2,
            settle_s=0.05,
        )
        yield Workers(platform, engine, watcher, telegram, honest, connector)
        await watcher.answered()
        await engine.close(5)
        await connectors.close()


async def _hostile(
    world: World, where: str, what: str, count: int = 2
) -> tuple[Connector, list[UUID]]:
    connector = await world.connector("hostile", {"where": where, "what": what}, config={})
    requests = [SendRequest(to="42", text="boo", connector_id=connector.id) for _ in range(count)]
    return connector, [(await world.send(request)).message_id for request in requests]


async def _execute(platform: Platform, statement: Any, parameters: Any = None) -> list[Any]:
    async with platform.database.raw.connection() as connection:
        cursor = await connection.execute(statement, parameters)
        return await cursor.fetchall() if cursor.description else []


async def _forget(platform: Platform, project_id: UUID) -> None:
    await _execute(platform, "DELETE FROM send_queue WHERE project_id = %s", (project_id,))


# -- adapters
# ---------------------------------------------------------------------------------------

FAULTS: Final = [(where, what) for where in hostile.CALLS for what in hostile.ERRORS] + [
    ("answer", what) for what in hostile.ANSWERS
]


@pytest.mark.usefixtures("hostile_provider")
@given(fault=st.sampled_from(FAULTS))
@example(fault=("__init__", "ValueError"))
@example(fault=("account_key", "SystemExit"))
@example(fault=("is_group", "TypeError"))
@example(fault=("send", "CancelledError"))
@example(fault=("answer", "number that JSON does not take"))
@limits(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
async def test_whatever_an_adapter_does_a_second_projects_messages_arrive(
    workers: Workers, fault: tuple[str, str]
) -> None:
    bad = await World.make(workers.platform)
    connector, ids = await _hostile(bad, *fault)
    await workers.until_sent(await workers.send_honest())
    # Nothing of it is being worked on for ever: it waits, or it has ended with a reason.
    for message_id in ids:
        message = await bad.message(message_id)
        assert message.status in {"queued", "sent", "delivered", "failed", "uncertain"}
        assert message.status in {"queued", "sent", "delivered"} or message.error_reason
    # The connector can be changed, whatever becomes of what it held open.
    await _execute(
        workers.platform, "UPDATE connectors SET is_active = false WHERE id = %s", (connector.id,)
    )
    await _forget(workers.platform, bad.project_id)


@pytest.mark.usefixtures("hostile_provider")
async def test_a_connector_that_cannot_be_opened_stops_only_its_own_messages(
    workers: Workers,
) -> None:
    bad = await World.make(workers.platform)
    connector, ids = await _hostile(bad, "__init__", "ValueError")
    await workers.until_sent(await workers.send_honest())
    assert {(await bad.message(message_id)).status for message_id in ids} == {"queued"}
    unopened = workers.engine._connectors.unopened.get(connector.id)
    assert unopened is not None
    assert "cannot be opened (ValueError)" in unopened.reason


@pytest.mark.usefixtures("hostile_provider")
async def test_an_answer_that_cannot_be_stored_costs_only_its_details(workers: Workers) -> None:
    bad = await World.make(workers.platform)
    _, ids = await _hostile(bad, "answer", "number that JSON does not take")
    await workers.until_sent(await workers.send_honest())
    assert {(await bad.message(message_id)).status for message_id in ids} == {"sent"}


@pytest.mark.usefixtures("hostile_provider")
async def test_credentials_are_changed_although_the_adapter_does_not_let_go(
    workers: Workers,
) -> None:
    bad = await World.make(workers.platform)
    connector, ids = await _hostile(bad, "aclose", "SystemExit")
    await workers.until_sent(await workers.send_honest())
    assert {(await bad.message(message_id)).status for message_id in ids} == {"sent"}
    sealed = workers.platform.vault.encrypt(
        '{"where": "nowhere", "what": "none"}', context=str(connector.id)
    )
    await _execute(
        workers.platform,
        "UPDATE connectors SET credentials_encrypted = %s WHERE id = %s",
        (sealed, connector.id),
    )
    workers.engine._connectors.expire(connector.id)
    again = (await bad.send(SendRequest(to="42", text="boo", connector_id=connector.id))).message_id
    await workers.until_sent(await workers.send_honest())
    await bad.wait_for(again, "sent")


# -- workers that lack the key
# ------------------------------------------------------------------------


def _keyless(platform: Platform, telegram: FakeTelegram) -> DeliveryEngine:
    """An engine as a worker with another ENCRYPTION_KEY has it."""
    engine = make_engine(platform, base_urls={"telegram": telegram.base_url})
    engine._connectors._vault = Vault(secrets.token_hex(32))
    return engine


async def test_a_worker_that_cannot_decrypt_holds_no_connector_for_others(workers: Workers) -> None:
    platform = workers.platform
    keyless = _keyless(platform, workers.telegram)
    ids = await workers.send_honest()
    await platform.doorbell.drain()
    for _ in range(3):
        await keyless.drain_slice(0.2)
    assert {(await workers.honest.message(message_id)).status for message_id in ids} == {"queued"}
    assert not await platform.redis.keys("hold:*")
    # Its turns are still there for a worker that has the key: no sweeper has to find them.
    await platform.doorbell.drain()
    await workers.engine.drain_slice(1)
    for message_id in ids:
        await workers.honest.wait_for(message_id, "sent", timeout_s=5)
    await keyless.close(1)


async def test_a_worker_takes_turns_again_when_a_connector_has_new_credentials(
    workers: Workers,
) -> None:
    platform = workers.platform
    keyless = _keyless(platform, workers.telegram)
    ids = await workers.send_honest()
    await platform.doorbell.drain()
    await keyless.drain_slice(0.2)
    assert keyless._connectors.unopened.avoided() == [workers.connector.id]
    assert keyless._connectors._vault is not platform.vault
    sealed = keyless._connectors._vault.encrypt(
        '{"botToken": "123456:test-token-0123456789abcdefghijklm"}',
        context=str(workers.connector.id),
    )
    async with platform.database.transaction() as session:
        connector = await session.get_one(Connector, workers.connector.id)
        connector.credentials_encrypted = sealed
    keyless._connectors.expire(workers.connector.id)
    await UnopenedWatch(
        keyless._connectors.unopened,
        keyless._connectors.get_again,
        ReadySet(platform.redis),
        keyless._broken,
    ).round()
    assert keyless._connectors.unopened.avoided() == []
    await keyless.drain_slice(1)
    for message_id in ids:
        await workers.honest.wait_for(message_id, "sent", timeout_s=5)
    await keyless.close(1)


async def test_owners_get_a_mail_when_no_worker_can_open_a_connector_and_only_then(
    workers: Workers,
) -> None:
    platform, connector = workers.platform, workers.connector
    keyless = _keyless(platform, workers.telegram)
    connectors = keyless._connectors
    async with platform.database.session() as session:
        owners = await ProjectMember.owner_addresses(session, workers.honest.project_id)
    async with FakeSmtp() as smtp:
        url = SecretStr(f"smtp://{smtp.host}:{smtp.port}?security=none&from=hello@example.com")
        mail = PlatformMail(Settings(platform_smtp_url=url), platform.providers)
        broken = BrokenConnectors(platform.database, mail, public_url="https://mjs.example")
        watch = UnopenedWatch(
            connectors.unopened,
            connectors.get_again,
            ReadySet(platform.redis),
            broken,
            broken_after_s=0.3,
        )
        # A worker with the key takes the turns that this one leaves.
        await workers.send_honest()
        await platform.doorbell.drain()
        await keyless.drain_slice(0.2)
        await asyncio.sleep(0.4)
        await workers.engine.drain_slice(0.5)
        await watch.round()
        await mail.idle()
        assert smtp.mails == []
        # No worker takes them.
        ids = await workers.send_honest()
        await platform.doorbell.drain()
        await keyless.drain_slice(0.2)
        await asyncio.sleep(0.4)
        for _ in range(2):
            await watch.round()
        await mail.idle()
        await mail.aclose()
    (mail_sent,) = smtp.mails
    assert [*mail_sent.recipients] == owners
    assert "cannot open the connector" in str(mail_sent)
    async with platform.database.session() as session:
        (row,) = await Connector.find_many(session, {connector.id})
        query = select(AuditEntry).where(col(AuditEntry.subject_id) == connector.id)
        actions = [entry.action for entry in (await session.exec(query)).all()]
    assert row.broken_reason == "The connector's credentials cannot be read; enter them again."
    assert actions.count("connector.broken") == 1
    assert {(await workers.honest.message(message_id)).status for message_id in ids} == {"queued"}
    await keyless.close(1)


# -- rows
# ---------------------------------------------------------------------------------------------

_INSTANTS: Final = (
    "infinity",
    "-infinity",
    "0044-03-15 12:00:00 BC",
    "4713-11-24 00:00:00+00 BC",
    "0001-01-01 00:00:00+00",
    "10000-01-01 00:00:00+00",
    "294276-12-31 00:00:00+00",
    "1970-01-01 00:00:00+00",
)
_DEEP: Final = "[" * 1500 + "]" * 1500
_JSON: Final = (
    "null",
    "5",
    '"x"',
    "[]",
    "{}",
    "[1]",
    _DEEP,
    "9" * 5000,
    '{"n": 1e400}',
    '{"text": 5}',
    '{"text": null}',
    '{"text": "x", "template": 5}',
    '{"text": "x", "template": {"name": 1, "language": [], "parameters": 7}}',
    '{"steps": 5}',
    '{"steps": [{}], "fallbackAfterS": "x"}',
    '{"steps": [{"connectorId": "x"}, 5]}',
    '{"steps": [{"on": "failure"}, {"on": "failure", "connectorId": "x"}],'
    ' "fallbackAfterS": 1e300}',
    '{"pacing": 5}',
    '{"pacing": {"perSecond": 0}}',
    '{"pacing": {"perSecond": "x"}}',
    '{"pacing": {"perSecond": -1}}',
    '{"pacing": {"perRecipientPerSecond": 1e308}}',
    '{"retry": 5}',
    '{"retry": {"maxAgeS": 1e300}}',
    '{"retry": {"maxAgeS": "x", "baseS": -1}}',
    '{"retry": {"baseS": 1e308, "capS": 1e308}}',
)
_TEXTS: Final = ("", "x", "\u202e\U0001f4a3", "{{ x }}", "'; DROP TABLE messages; --", "x" * 5000)
_VALUES: Final[dict[str, tuple[str | None, ...]]] = {
    "timestamp with time zone": _INSTANTS,
    "jsonb": _JSON,
    "text": _TEXTS,
    "character varying": tuple(text[:10] for text in _TEXTS),
    "smallint": ("-32768", "32767", "0", "-1"),
    "integer": ("-2147483648", "2147483647", "0", "-1"),
    "boolean": ("true", "false"),
    "uuid": ("00000000-0000-0000-0000-000000000000", "ffffffff-ffff-ffff-ffff-ffffffffffff"),
}
# Which row it is, and whose; everything else may hold anything.
_KEPT: Final = {
    ("messages", "id"),
    ("messages", "project_id"),
    ("connectors", "id"),
    ("connectors", "project_id"),
    ("send_queue", "message_id"),
    ("send_queue", "project_id"),
}
_KEY: Final = {"messages": "id", "send_queue": "message_id", "connectors": "id"}


def _columns() -> list[tuple[str, str]]:
    tables = [table for table in Message.metadata.sorted_tables if table.name in _KEY]
    return [(t.name, c.name) for t in tables for c in t.columns if (t.name, c.name) not in _KEPT]


async def _spoil(platform: Platform, table: str, column: str, key: UUID, pick: int) -> str | None:
    """Write one of the values that the column's type has; rejects the example where Postgres
    refuses it.
    """
    query = (
        "SELECT data_type FROM information_schema.columns WHERE table_name = %s AND column_name"
        " = %s"
    )
    ((type_,),) = await _execute(platform, query, (table, column))
    values = (None, *_VALUES[type_])
    value = values[pick % len(values)]
    update = sql.SQL("UPDATE {table} SET {column} = %s::text::{type} WHERE {key} = %s").format(
        table=sql.Identifier(table),
        column=sql.Identifier(column),
        key=sql.Identifier(_KEY[table]),
        type=sql.SQL(type_),
    )
    try:
        await _execute(platform, update, (value, key))
    except psycopg.Error:
        reject()
    return value


@given(
    place=st.sampled_from(_columns()), pick=st.integers(0, 30), state=st.sampled_from([0, 0, 2, 3])
)
@example(place=("messages", "expires_at"), pick=2, state=0)
@example(place=("messages", "expires_at"), pick=6, state=0)
@example(place=("messages", "attempts"), pick=2, state=0)
@example(place=("messages", "content"), pick=1, state=0)
@example(place=("messages", "route"), pick=15, state=2)
@example(place=("send_queue", "tries"), pick=2, state=0)
@example(place=("connectors", "config"), pick=20, state=0)
@limits(max_examples=35, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
async def test_whatever_a_row_holds_a_second_projects_messages_arrive(
    workers: Workers, place: tuple[str, str], pick: int, state: int
) -> None:
    platform, (table, column) = workers.platform, place
    bad = await World.make(platform)
    connector = await bad.connector(config={})
    spoilt = (
        await bad.send(SendRequest(to="42", text="boo", connector_id=connector.id))
    ).message_id
    other = (await bad.send(SendRequest(to="42", text="boo", connector_id=connector.id))).message_id
    if state:
        # Sent and lost, or watched: no worker holds it, and its time has come.
        await _execute(
            platform,
            "UPDATE send_queue SET state = %s, lease_until = now() - interval '1 s', due_at = now()"
            " WHERE message_id = %s",
            (state, spoilt),
        )
    await _spoil(platform, table, column, connector.id if table == "connectors" else spoilt, pick)
    await workers.until_sent(await workers.send_honest())
    await workers.turn()
    if table != "connectors":
        # Not even the same connector's other messages.
        await bad.wait_for(other, "delivered", timeout_s=_PATIENCE_S)
    # What cannot be worked on does not wait for the next try for ever.
    waiting = await _execute(
        platform,
        "SELECT state FROM send_queue WHERE message_id = %s AND claim IS NOT NULL",
        (spoilt,),
    )
    assert waiting == [] or table == "send_queue"
    await _forget(platform, bad.project_id)


@pytest.mark.parametrize(
    ("expires_at", "status"),
    [("0044-03-15 BC", "expired"), ("10000-01-01", "delivered"), ("infinity", "delivered")],
)
async def test_an_end_beyond_pythons_time_stops_no_other(
    workers: Workers, expires_at: str, status: str
) -> None:
    bad = await World.make(workers.platform)
    connector = await bad.connector()
    spoilt = (
        await bad.send(SendRequest(to="42", text="boo", connector_id=connector.id))
    ).message_id
    await _execute(
        workers.platform, "UPDATE messages SET expires_at = %s WHERE id = %s", (expires_at, spoilt)
    )
    ids = await workers.send_honest()
    await workers.platform.doorbell.drain()
    # One slice, no lease that has to run out first.
    await workers.engine.drain_slice(0.5)
    for message_id in ids:
        await workers.honest.wait_for(message_id, "sent", timeout_s=5)
    await bad.wait_for(spoilt, status, timeout_s=5)


async def test_a_message_that_cannot_be_claimed_is_failed_with_a_reason(workers: Workers) -> None:
    bad = await World.make(workers.platform)
    connector = await bad.connector()
    spoilt = (
        await bad.send(SendRequest(to="42", text="boo", connector_id=connector.id))
    ).message_id
    await _execute(
        workers.platform, "UPDATE send_queue SET tries = 32767 WHERE message_id = %s", (spoilt,)
    )
    await workers.until_sent(await workers.send_honest())
    message = await bad.message(spoilt)
    assert (message.status, message.error_code) == ("failed", "MESSAGE_UNREADABLE")
    assert "NumericValueOutOfRange" in (message.error_reason or "")
    assert await _execute(
        workers.platform, "SELECT 1 FROM dead_letters WHERE message_id = %s", (spoilt,)
    )
