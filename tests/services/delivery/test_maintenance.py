"""What the sweeper clears away, and what it must not yet."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from backend.ids import new_id
from backend.models import UsedToken
from backend.services.platform import Platform
from tests.world import World, make_sweeper


async def test_a_used_token_is_forgotten_when_no_clock_can_take_it_for_valid(platform: Platform, world: World) -> None:
    now = datetime.now(UTC)
    # A web server whose clock is behind still takes a token that the database knows to have expired.
    ages = {"long-expired": timedelta(hours=-2), "just-expired": timedelta(minutes=-30), "valid": timedelta(minutes=5)}
    async with platform.database.transaction() as session:
        for jti, age in ages.items():
            session.add(UsedToken(project_id=world.project_id, jti=jti, message_id=new_id(), expires_at=now + age))
    await make_sweeper(platform).sweep()
    async with platform.database.raw.connection() as connection:
        cursor = await connection.execute("SELECT jti FROM used_tokens WHERE project_id = %s", (world.project_id,))
        assert {jti for (jti,) in await cursor.fetchall()} == {"just-expired", "valid"}
