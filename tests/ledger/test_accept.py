"""The group-commit writer: one message per key, each request its own error, nothing without a
row.
"""

from __future__ import annotations

import asyncio
import random
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from backend.errors import (
    BadRequest,
    DatabaseError,
    IdempotencyConflict,
    RecipientSuppressed,
    SendBlocked,
    ServiceUnavailable,
)
from backend.ids import new_id
from backend.ledger.accept import AcceptWriter, NewMessage, TokenUse
from backend.ledger.idempotency import IdempotencyKey
from backend.models import Suppression
from backend.platform import Platform
from tests.world import World


def _message(
    world: World,
    connector_id: UUID,
    *,
    key: IdempotencyKey | None = None,
    token: str | None = None,
    text: Any = "hi",
    to: str = "ada",
) -> NewMessage:
    columns: dict[str, Any] = {
        "connector_type": "sandbox",
        "mode": "live",
        "recipient": to,
        "content": {"text": text},
        "status": "queued",
        "priority": "normal",
        "on_uncertain": "hold",
    }
    use = TokenUse(token, datetime.now(UTC) + timedelta(minutes=5)) if token is not None else None
    return NewMessage(new_id(), world.project_id, connector_id, 1, columns, key, use)


def _key(name: str, body: bytes = b"body") -> IdempotencyKey:
    return IdempotencyKey("POST /messages", name, body)


async def _count(platform: Platform, world: World) -> tuple[int, int]:
    """Return (messages, queue rows) of the world's project."""
    counts = []
    async with platform.database.raw.connection() as connection:
        for table in ("messages", "send_queue"):
            cursor = await connection.execute(
                f"SELECT count(*) FROM {table} WHERE project_id = %s", (world.project_id,)
            )
            row = await cursor.fetchone()
            assert row is not None
            counts.append(row[0])
    return counts[0], counts[1]


async def test_fifty_repeats_of_one_request_make_one_message(
    platform: Platform, world: World
) -> None:
    connector = await world.connector()
    requests = [_message(world, connector.id, key=_key("same")) for _ in range(50)]
    answers = await asyncio.gather(*(platform.writer.write(request) for request in requests))
    assert len({answer.message_id for answer in answers}) == 1
    assert sum(not answer.is_replay for answer in answers) == 1
    assert await _count(platform, world) == (1, 1)


async def test_two_processes_with_one_key_make_one_message(
    platform: Platform, world: World
) -> None:
    """Two writers share nothing but the database, like two web servers."""
    connector = await world.connector()
    settings = platform.settings
    writers = [
        AcceptWriter(
            platform.database.raw,
            waiting_limit=1000,
            idempotency_ttl_s=settings.idempotency_ttl_s,
            on_commit=lambda _: None,
        )
        for _ in range(2)
    ]
    keys = [f"key-{number}" for number in range(40)]
    answers = await asyncio.gather(
        *(
            writer.write(_message(world, connector.id, key=_key(key)))
            for writer in writers
            for key in keys
        )
    )
    assert len({answer.message_id for answer in answers}) == 40
    assert await _count(platform, world) == (40, 40)


async def test_a_used_key_with_another_body_is_a_conflict(platform: Platform, world: World) -> None:
    connector = await world.connector()
    await platform.writer.write(_message(world, connector.id, key=_key("k", b"one")))
    with pytest.raises(IdempotencyConflict):
        await platform.writer.write(_message(world, connector.id, key=_key("k", b"two")))
    same_batch = await asyncio.gather(
        platform.writer.write(_message(world, connector.id, key=_key("k2", b"one"))),
        platform.writer.write(_message(world, connector.id, key=_key("k2", b"two"))),
        return_exceptions=True,
    )
    assert isinstance(same_batch[1], IdempotencyConflict)
    assert await _count(platform, world) == (2, 2)


async def test_a_key_is_forgotten_after_its_time(platform: Platform, world: World) -> None:
    connector = await world.connector()
    first = await platform.writer.write(_message(world, connector.id, key=_key("old")))
    async with platform.database.raw.connection() as connection:
        await connection.execute(
            "UPDATE idempotency_records SET expires_at = now() - interval '1 second' WHERE"
            " project_id = %s",
            (world.project_id,),
        )
    second = await platform.writer.write(
        _message(world, connector.id, key=_key("old", b"other body"))
    )
    assert second.message_id != first.message_id
    assert not second.is_replay


async def test_one_row_the_database_refuses_does_not_take_the_batch_with_it(
    platform: Platform, world: World
) -> None:
    connector = await world.connector()
    good = [_message(world, connector.id) for _ in range(5)]
    bad = _message(world, connector.id, text="a\x00b")  # jsonb cannot hold NUL
    answers = await asyncio.gather(
        *(platform.writer.write(message) for message in [*good[:2], bad, *good[2:]]),
        return_exceptions=True,
    )
    assert [isinstance(answer, BaseException) for answer in answers] == [
        False,
        False,
        True,
        False,
        False,
        False,
    ]
    assert isinstance(answers[2], BadRequest)
    assert await _count(platform, world) == (5, 5)


async def test_a_value_that_json_does_not_hold_is_its_own_messages_error(
    platform: Platform, world: World
) -> None:
    connector = await world.connector()
    good = [_message(world, connector.id) for _ in range(5)]
    bad = _message(world, connector.id, text=1 << 64)
    answers = await asyncio.gather(
        *(platform.writer.write(message) for message in [*good[:2], bad, *good[2:]]),
        return_exceptions=True,
    )
    assert [isinstance(answer, BaseException) for answer in answers] == [
        False,
        False,
        True,
        False,
        False,
        False,
    ]
    assert isinstance(answers[2], BadRequest)
    assert await _count(platform, world) == (5, 5)


async def test_a_bell_that_breaks_takes_no_message_back(platform: Platform, world: World) -> None:
    def ring(_: object) -> None:
        raise RuntimeError("the bell is broken")

    connector = await world.connector()
    writer = AcceptWriter(
        platform.database.raw, waiting_limit=10, idempotency_ttl_s=60, on_commit=ring
    )
    written = await writer.write(_message(world, connector.id))
    assert not written.is_replay
    assert await _count(platform, world) == (1, 1)


async def test_a_full_queue_answers_503_and_loses_nothing_it_took(
    platform: Platform, world: World
) -> None:
    connector = await world.connector()
    writer = AcceptWriter(
        platform.database.raw, waiting_limit=10, idempotency_ttl_s=60, on_commit=lambda _: None
    )
    answers = await asyncio.gather(
        *(writer.write(_message(world, connector.id)) for _ in range(30)), return_exceptions=True
    )
    refused = [answer for answer in answers if isinstance(answer, ServiceUnavailable)]
    assert len(refused) == 20
    assert refused[0].headers["Retry-After"]
    assert await _count(platform, world) == (10, 10)


async def test_a_suppressed_recipient_is_refused_and_writes_nothing(
    platform: Platform, world: World
) -> None:
    connector = await world.connector()
    async with platform.database.transaction() as session:
        session.add(
            Suppression(
                project_id=world.project_id, channel="sandbox", recipient="bob", reason="opted out"
            )
        )
    with pytest.raises(RecipientSuppressed):
        await platform.writer.write(_message(world, connector.id, to="bob", key=_key("s")))
    await platform.writer.write(_message(world, connector.id, to="ada"))
    assert await _count(platform, world) == (1, 1)


async def test_the_bell_rings_after_the_commit_only(platform: Platform, world: World) -> None:
    connector = await world.connector()
    rung: list[set[tuple[int, UUID]]] = []
    writer = AcceptWriter(
        platform.database.raw, waiting_limit=10, idempotency_ttl_s=60, on_commit=rung.append
    )
    with pytest.raises(BadRequest):
        await writer.write(_message(world, connector.id, text="\x00"))
    assert rung == []
    await writer.write(_message(world, connector.id))
    assert rung == [{(1, connector.id)}]


def _writers(platform: Platform, count: int) -> list[AcceptWriter]:
    """They share nothing but the database, like web servers."""
    return [
        AcceptWriter(
            platform.database.raw,
            waiting_limit=1000,
            idempotency_ttl_s=3600,
            on_commit=lambda _: None,
        )
        for _ in range(count)
    ]


async def test_a_token_makes_one_message_whatever_comes_with_it(
    platform: Platform, world: World
) -> None:
    """Two servers, tokens and keys in every order and mixture: one message a token, and nobody
    waits for ever.
    """
    connector = await world.connector()
    tokens = [f"token-{number:02}" for number in range(20)]
    writers = _writers(platform, 2)
    requests = [
        (
            writer,
            _message(
                world,
                connector.id,
                token=token,
                key=_key(f"{token}-{server}-{turn}") if turn % 2 else None,
            ),
        )
        for turn in range(4)
        for server, writer in enumerate(writers)
        for token in tokens
    ]
    requests += [(writer, _message(world, connector.id)) for writer in writers for _ in range(10)]
    random.Random(1).shuffle(requests)  # noqa: S311 (an order, not a secret)
    answers = await asyncio.gather(
        *(writer.write(message) for writer, message in requests), return_exceptions=True
    )
    refused = [answer for answer in answers if isinstance(answer, BaseException)]
    assert {type(error) for error in refused} == {SendBlocked}
    assert len({id(error) for error in refused}) == len(refused) == 4 * 2 * 20 - 20
    assert await _count(platform, world) == (40, 40)
    async with platform.database.raw.connection() as connection:
        # What answers a repeat is a message that is there.
        cursor = await connection.execute(
            "SELECT count(*) FROM idempotency_records i WHERE project_id = %s"
            " AND NOT EXISTS (SELECT 1 FROM messages m WHERE m.id = i.message_id)",
            (world.project_id,),
        )
        assert await cursor.fetchone() == (0,)


async def test_a_repeat_under_its_key_gets_its_answer_although_the_token_is_used_up(
    platform: Platform, world: World
) -> None:
    connector = await world.connector()
    first, second = _writers(platform, 2)
    answers = await asyncio.gather(
        *(
            writer.write(_message(world, connector.id, token="token", key=_key("k")))
            for writer in (first, second)
            for _ in range(10)
        )
    )
    assert len({answer.message_id for answer in answers}) == 1
    assert sum(not answer.is_replay for answer in answers) == 1
    with pytest.raises(IdempotencyConflict):
        await first.write(_message(world, connector.id, token="another", key=_key("k", b"other")))
    assert not (await first.write(_message(world, connector.id, token="another"))).is_replay
    assert await _count(platform, world) == (2, 2)


async def test_a_suppressed_recipient_does_not_use_up_the_token(
    platform: Platform, world: World
) -> None:
    connector = await world.connector()
    async with platform.database.transaction() as session:
        session.add(
            Suppression(
                project_id=world.project_id, channel="sandbox", recipient="bob", reason="opted out"
            )
        )
    with pytest.raises(RecipientSuppressed):
        await platform.writer.write(_message(world, connector.id, to="bob", token="token"))
    await platform.writer.write(_message(world, connector.id, to="ada", token="token"))


async def test_a_value_that_is_no_json_costs_only_its_own_message(
    platform: Platform, world: World
) -> None:
    connector = await world.connector()
    bad = _message(world, connector.id)
    bad.columns["metadata"] = {"n": 2**80}
    good = [_message(world, connector.id, to=f"ada{number}") for number in range(5)]
    answers = await asyncio.gather(
        *map(platform.writer.write, [good[0], bad, *good[1:]]), return_exceptions=True
    )
    assert isinstance(answers[1], BadRequest)
    assert [answer for answer in answers if isinstance(answer, BaseException)] == [answers[1]]
    assert await _count(platform, world) == (5, 5)


async def test_a_recipient_too_long_for_its_index_is_no_outage(
    platform: Platform, world: World
) -> None:
    """Else everybody's messages of the same moment would be answered with 503."""
    connector = await world.connector()
    long = _message(world, connector.id, to="".join(random.choices("abcdefghij", k=20_000)))  # noqa: S311
    answers = await asyncio.gather(
        *map(platform.writer.write, [long, _message(world, connector.id)]), return_exceptions=True
    )
    assert isinstance(answers[0], DatabaseError)
    assert not isinstance(answers[1], BaseException)
