"""What the sweeper, the watcher and the recorder cannot work with keeps no other project's messages
waiting.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest
import pytest_asyncio

from backend.dispatch.retry import RetryPolicy
from backend.ledger.recorder import Recorder
from backend.ledger.results import Watch
from backend.models import Connector
from backend.models.base import utc_now
from backend.models.send_queue import WATCHED
from backend.platform import Platform
from backend.providers.frame.errors import OutcomeUnknown
from backend.providers.frame.provider import Accepted
from backend.services.delivery import outcomes
from tests.services.delivery.routed import accept_routed, change, queue_row, way
from tests.services.delivery.watching import make_watcher, reporting, take
from tests.world import World, make_sweeper

POLICY = RetryPolicy(max_attempts=3, base_s=60, cap_s=60, max_age_s=3600)
# Ways that cannot be read: falling back needs an array of objects.
UNREADABLE = (
    '{"steps": 5}',
    '{"steps": [{"connectorId": "x"}, {"connectorId": "y", "on": "failure"}]}',
    "5",
)


@pytest_asyncio.fixture
async def worlds(platform: Platform) -> AsyncIterator[tuple[World, World]]:
    yield await World.make(platform), await World.make(platform)


async def _two_ways(world: World) -> tuple[UUID, Connector, Connector]:
    first, second = await world.connector(), await world.connector()
    return await accept_routed(world, way(first), way(second)), first, second


@pytest.mark.parametrize("route", UNREADABLE)
async def test_ways_that_cannot_be_read_keep_no_other_message_from_its_next_way(
    platform: Platform, worlds: tuple[World, World], route: str
) -> None:
    bad, good = worlds
    spoilt, bad_first, _ = await _two_ways(bad)
    moved, good_first, good_second = await _two_ways(good)
    beside = await accept_routed(bad, way(bad_first), way(await bad.connector()))
    await change(platform, "UPDATE messages SET route = %s WHERE id = %s", route, spoilt)
    await change(
        platform,
        "UPDATE connectors SET is_active = false WHERE id = ANY(%s)",
        [bad_first.id, good_first.id],
    )
    assert await make_sweeper(platform).sweep()
    row = await queue_row(platform, moved)
    assert row is not None
    assert row[1] == good_second.id
    # Nor does the same connector's next message wait for it.
    row = await queue_row(platform, beside)
    assert row is not None
    assert row[1] != bad_first.id
    # It goes on waiting, and is not looked at first again and again.
    row = await queue_row(platform, spoilt)
    assert row is not None
    assert row[1] == bad_first.id


@pytest.mark.parametrize(
    "spoilt_by", ["attempts = 2147483647", "route = '5'", "status = 'lost in thought'"]
)
async def test_a_lost_send_that_cannot_be_written_about_keeps_no_other_from_its_status(
    platform: Platform, worlds: tuple[World, World], spoilt_by: str
) -> None:
    bad, good = worlds
    spoilt = await accept_routed(bad, way(await bad.connector()))
    lost = await accept_routed(good, way(await good.connector()))
    await change(platform, f"UPDATE messages SET {spoilt_by} WHERE id = %s", spoilt)
    await change(
        platform,
        "UPDATE send_queue SET state = 2, lease_until = now() - interval '1 s'"
        " WHERE message_id = ANY(%s)",
        [spoilt, lost],
    )  # fmt: skip
    await make_sweeper(platform).sweep()
    assert (await good.message(lost)).status == "uncertain"
    # Nobody sends it again.
    assert await queue_row(platform, spoilt) is None


@pytest.mark.parametrize(
    "config", ['{"retry": {"maxAgeS": "x"}}', '{"retry": {"maxAgeS": 1e300}}', '{"retry": 5}', "5"]
)
async def test_a_connectors_age_that_is_none_keeps_no_other_message_from_its_end(
    platform: Platform, worlds: tuple[World, World], config: str
) -> None:
    bad, good = worlds
    bad_connector, good_connector = await bad.connector(), await good.connector()
    await accept_routed(bad, way(bad_connector))
    old = await accept_routed(good, way(good_connector))
    await change(
        platform,
        "UPDATE connectors SET is_active = false WHERE id = ANY(%s)",
        [bad_connector.id, good_connector.id],
    )
    await change(
        platform, "UPDATE connectors SET config = %s WHERE id = %s", config, bad_connector.id
    )
    await change(
        platform,
        "UPDATE send_queue SET due_at = now() - interval '2 hours' WHERE message_id = %s",
        old,
    )
    await make_sweeper(platform, max_age_s=3600).sweep()
    assert (await good.message(old)).status == "failed"


@pytest.mark.parametrize("route", UNREADABLE)
async def test_a_route_that_cannot_be_read_keeps_no_other_from_what_comes_of_its_wait(
    platform: Platform, worlds: tuple[World, World], route: str
) -> None:
    bad, _ = worlds
    provider = reporting(platform)
    ids = []
    for world in worlds:
        first, second = await world.connector(), await world.connector()
        message_id = await accept_routed(world, way(first), way(second), fallback_after_s=1)
        claim = await take(platform, first)
        result = outcomes.accepted(claim, Accepted(f"p-{message_id}"), utc_now(), 1.0)
        assert (
            await Recorder(platform.database.raw).record(replace(result, next=Watch(1.0)))
        ).is_ours
        ids.append(message_id)
    await change(platform, "UPDATE messages SET route = %s WHERE id = %s", route, ids[0])
    await change(
        platform,
        "UPDATE send_queue SET due_at = now() - interval '1 s' WHERE message_id = ANY(%s)",
        ids,
    )
    await make_watcher(platform, provider).round()
    row = await queue_row(platform, ids[1])
    assert row is not None
    assert row[0] != WATCHED
    # It keeps its status, and is watched no more.
    assert (await bad.message(ids[0])).status == "sent"
    assert await queue_row(platform, ids[0]) is None


async def test_outcomes_that_cannot_be_stored_keep_no_other_from_being_recorded(
    platform: Platform, worlds: tuple[World, World]
) -> None:
    bad, good = worlds
    recorder = Recorder(platform.database.raw)
    claims = {}
    for world in worlds:
        connector = await world.connector()
        await accept_routed(world, way(connector))
        claims[world.project_id] = await take(platform, connector)
    # A trigger refuses what is written about it: no bin of times is as far away.
    spoilt = claims[bad.project_id]
    await change(
        platform, "UPDATE messages SET send_at = '-infinity' WHERE id = %s", spoilt.message_id
    )
    answers: list[Any] = [
        outcomes.failed(spoilt, OutcomeUnknown("?", answer={"n": 2**80}), POLICY, utc_now(), 1.0),
        outcomes.accepted(claims[good.project_id], Accepted("p-1"), utc_now(), 1.0),
    ]
    await asyncio.gather(*map(recorder.record, answers))
    assert (await good.message(claims[good.project_id].message_id)).status == "sent"
    assert await queue_row(platform, spoilt.message_id) is None
