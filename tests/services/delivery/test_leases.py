"""Leases: what a dead worker leaves behind is sent again or marked uncertain, never sent twice."""

from __future__ import annotations

import asyncio
from uuid import UUID

import pytest

from backend.ledger.claims import Claim, Claims
from backend.ledger.recorder import Recorder
from backend.models.base import utc_now
from backend.models.session import Database
from backend.platform import Platform
from backend.providers.frame.provider import Accepted
from backend.services.delivery.outcomes import accepted
from backend.services.policy.request import SendRequest
from backend.settings import Settings
from tests.world import World, make_sweeper


async def _claimed(
    platform: Platform, world: World, *, lease_s: float, on_uncertain: str = "hold"
) -> Claim:
    connector = await world.connector()
    template = await world.template("hi", variables=[], on_uncertain=on_uncertain)
    await world.send(SendRequest(to="ada", template_id=template.id, connector_id=connector.id))
    (claim,) = await Claims(platform.database.raw, lease_s=lease_s).take([(1, connector.id)], 10)
    return claim


async def _row(platform: Platform, message_id: UUID) -> tuple[int, UUID | None] | None:
    async with platform.database.raw.connection() as connection:
        cursor = await connection.execute(
            "SELECT state, claim FROM send_queue WHERE message_id = %s", (message_id,)
        )
        return await cursor.fetchone()


async def _sweep_until(platform: Platform, message_id: UUID, state: int | None) -> None:
    sweeper = make_sweeper(platform)
    for _ in range(100):
        await sweeper.sweep()
        row = await _row(platform, message_id)
        if (row[0] if row else None) == state:
            return
        await asyncio.sleep(0.02)
    raise AssertionError(f"the queue row is {row}, expected state {state}")


async def test_a_claimed_message_cannot_be_claimed_again(platform: Platform, world: World) -> None:
    claim = await _claimed(platform, world, lease_s=30)
    again = await Claims(platform.database.raw, lease_s=30).take([(1, claim.connector_id)], 10)
    assert again == []


async def test_a_dead_workers_claimed_message_is_due_again(
    platform: Platform, world: World
) -> None:
    claim = await _claimed(platform, world, lease_s=0.05)
    await _sweep_until(platform, claim.message_id, 0)
    (second,) = await Claims(platform.database.raw, lease_s=30).take([(1, claim.connector_id)], 10)
    assert second.tries == 1  # what was never sent is not a try


@pytest.mark.parametrize(("policy", "state"), [("hold", None), ("resend", 0)])
async def test_a_dead_workers_message_in_flight_is_uncertain(
    platform: Platform, world: World, policy: str, state: int | None
) -> None:
    claim = await _claimed(platform, world, lease_s=0.2, on_uncertain=policy)
    assert await Claims(platform.database.raw, lease_s=0.2).mark_in_flight([claim]) == {
        claim.message_id
    }
    await _sweep_until(platform, claim.message_id, state)
    message = await world.message(claim.message_id)
    assert message.status == "uncertain"
    (attempt,) = await world.attempts(claim.message_id)
    assert attempt.outcome == "uncertain"


async def test_a_live_workers_lease_is_left_alone(platform: Platform, world: World) -> None:
    claim = await _claimed(platform, world, lease_s=0.3)
    claims = Claims(platform.database.raw, lease_s=0.3)
    await claims.mark_in_flight([claim])
    sweeper = make_sweeper(platform)
    for _ in range(8):
        await asyncio.sleep(0.1)
        await claims.renew([claim])
        await sweeper.sweep()
    assert await _row(platform, claim.message_id) == (2, claim.number)


async def test_a_worker_that_lost_its_lease_cannot_write(platform: Platform, world: World) -> None:
    claim = await _claimed(platform, world, lease_s=0.05)
    await _sweep_until(platform, claim.message_id, 0)
    (second,) = await Claims(platform.database.raw, lease_s=30).take([(1, claim.connector_id)], 10)
    recorder = Recorder(platform.database.raw)
    late = await recorder.record(accepted(claim, Accepted("late"), utc_now(), 1.0))
    assert not late.is_ours
    assert (await world.message(claim.message_id)).status == "queued"
    assert await Claims(platform.database.raw, lease_s=30).mark_in_flight([claim]) == set()
    assert await _row(platform, claim.message_id) == (1, second.number)


async def test_a_released_claim_is_due_at_once(platform: Platform, world: World) -> None:
    claim = await _claimed(platform, world, lease_s=30)
    claims = Claims(platform.database.raw, lease_s=30)
    await claims.release([claim])
    (again,) = await claims.take([(1, claim.connector_id)], 10)
    assert again.message_id == claim.message_id
    assert again.tries == 1


async def test_the_sweeper_finds_messages_that_no_bell_rang_for(
    platform: Platform, world: World
) -> None:
    connector = await world.connector()
    await world.send(SendRequest(to="ada", text="x", connector_id=connector.id))
    await platform.doorbell.drain()
    await platform.redis.flushdb()
    turns = await make_sweeper(platform).sweep()
    assert (1, connector.id) in turns


async def test_rounds_that_follow_each_other_find_every_connector(
    platform: Platform, world: World
) -> None:
    async with platform.database.raw.connection() as connection:
        await connection.execute(
            "INSERT INTO send_queue (message_id, project_id, connector_id, lane, state, tries,"
            " due_at) SELECT gen_random_uuid(), %s, gen_random_uuid(), n %% 3, 0, 0, now() + CASE"
            " WHEN n > 4500 THEN interval '1 hour' ELSE interval '0' END FROM generate_series(1,"
            " 5000) n",
            (world.project_id,),
        )
    sweeper = make_sweeper(platform)
    rounds = [await sweeper.sweep() for _ in range(3)]
    assert sum(len(turns) for turns in rounds) == len(set().union(*rounds)) == 4500


async def test_a_status_never_goes_back(platform: Platform, world: World) -> None:
    """A late `sent` of ours after the provider's `delivered`."""
    claim = await _claimed(platform, world, lease_s=30)
    async with platform.database.raw.connection() as connection:
        await connection.execute(
            "UPDATE messages SET status = 'delivered' WHERE id = %s", (claim.message_id,)
        )
    recorded = await Recorder(platform.database.raw).record(
        accepted(claim, Accepted("p1"), utc_now(), 1.0)
    )
    assert recorded.is_ours
    message = await world.message(claim.message_id)
    assert (message.status, message.provider_message_id) == ("delivered", "p1")


async def test_a_claim_knows_how_far_the_databases_clock_is_off(
    platform: Platform, world: World
) -> None:
    claim = await _claimed(platform, world, lease_s=30)
    async with platform.database.raw.connection() as connection:
        row = await (await connection.execute("SELECT clock_timestamp()")).fetchone()
    assert row is not None
    assert abs((claim.now() - row[0]).total_seconds()) < 1


# Those of a large database.
PLANS = {
    "plan_cache_mode": "force_generic_plan",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
}


async def test_a_result_that_waits_for_a_renewal_is_recorded_by_a_database_that_lives(
    platform: Platform, world: World, settings: Settings
) -> None:
    """Postgres 18 crashes where a row changes under a prepared statement that prunes partitions
    (decision 0016).
    """
    general_plans = "?options=" + "%20".join(
        f"-c%20{name}%3D{value}" for name, value in PLANS.items()
    )
    url = settings.require_database_url()
    database = Database(
        url + (general_plans if "?" not in url else general_plans.replace("?", "&")), pool_size=4
    )
    await database.open()
    claims = Claims(platform.database.raw, lease_s=30)
    renew = (
        "UPDATE send_queue SET lease_until = now() + interval '1 minute' WHERE message_id = ANY(%s)"
    )
    recorder = Recorder(database.raw)
    for _ in range(2):
        held = [await _claimed(platform, world, lease_s=30) for _ in range(8)]
        await claims.mark_in_flight(held)
        async with platform.database.raw.connection() as renewing, renewing.transaction():
            await renewing.execute(renew, ([claim.message_id for claim in held],))
            recording = asyncio.gather(
                *(
                    recorder.record(accepted(claim, Accepted("p1"), utc_now(), 1.0))
                    for claim in held
                )
            )
            await asyncio.sleep(0.1)
            assert not recording.done()
        assert all(recorded.is_ours for recorded in await asyncio.wait_for(recording, 5))
    await database.close()
