"""Content goes when the project wants it to, and not while anything still needs it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest

from backend.errors import MessageRedacted
from backend.models import Attempt, DeadLetter, Message, TemplateVersion
from backend.models.send_queue import DUE
from backend.platform import Platform
from backend.services.access.access import UserPrincipal, system_access
from backend.services.accounts import projects
from backend.services.messages.actions import resend_message
from backend.services.policy.sender import Sender
from backend.services.retention.masks import masked_recipient
from backend.services.retention.policies import Defaults
from backend.services.retention.redaction import Redaction
from tests.services.retention.conftest import retain
from tests.services.stored_messages import listed, queued, row, save
from tests.world import World, acting

Connection = psycopg.AsyncConnection[Any]
EARLIER = datetime.now(UTC).replace(microsecond=0) - timedelta(minutes=5)
KEEP = Defaults(content_days=0, retention_days=0)
ROUTE = {
    "steps": (
        [{"recipient": "ada@example.com", "content": {"text": "Code 4711"}, "on": "failure"}] * 2
    )
}


async def redact(connection: Connection, defaults: Defaults = KEEP) -> None:
    await Redaction(defaults).run_once(connection)


async def look_again(connection: Connection, message: Message) -> None:
    """Redact as if the hold's time had come."""
    done = await connection.execute(
        "UPDATE content_holds SET check_at = now() WHERE message_id = %s", (message.id,)
    )
    assert done.rowcount == 1
    await redact(connection)


def secret(world: World, **fields: Any) -> Message:
    """A message with something to hide."""
    defaults: dict[str, Any] = {
        "content": {"text": "Code 4711"},
        "metadata_": {"order": 7},
        "at": EARLIER,
    }
    return row(world, **{**defaults, **fields})


async def texts(world: World, *messages: Message) -> list[str | None]:
    return [(await world.message(message.id)).content.get("text") for message in messages]


async def test_nothing_is_stored_of_what_has_come_to_its_end(
    world: World, connection: Connection
) -> None:
    await retain(world, content_retention="nothing")
    message = secret(world, route=ROUTE)
    attempt = Attempt(
        id=message.id,
        message_id=message.id,
        project_id=world.project_id,
        connector_id=message.connector_id,
        number=1,
        outcome="accepted",
        answer={"text": "Code 4711"},
        started_at=EARLIER,
        duration_ms=1,
    )
    await save(world, message, attempt)
    await redact(connection)
    stored = await world.message(message.id)
    assert (stored.content, stored.metadata_, stored.route, stored.recipient) == (
        {},
        None,
        None,
        "+1•••00",
    )
    assert stored.redacted_at is not None
    assert (await world.attempts(message.id))[0].answer is None
    (shown,) = (await listed(world)).items
    assert (shown.text, shown.redacted_at, shown.status) == (None, stored.redacted_at, "delivered")


async def test_what_a_project_keeps_is_not_touched(
    world: World, platform: Platform, connection: Connection
) -> None:
    other = await World.make(platform)
    await retain(other, content_retention="nothing")
    message, explicit = secret(world), secret(other)
    await save(world, message, explicit)
    await redact(connection)
    assert await texts(world, message) == ["Code 4711"]
    assert await texts(other, explicit) == [None]


async def test_a_mask_keeps_the_template_and_the_shape_of_a_text(
    world: World, connection: Connection
) -> None:
    await retain(world, content_retention="mask")
    template = await world.template("Your code is {{code}}", variables=["code"])
    version = TemplateVersion(
        project_id=world.project_id,
        template_id=template.id,
        version=1,
        content="Your code is {{code}}",
    )
    await save(world, version)
    plain = secret(world, content={"text": "Hi Ada\n4711", "subject": "Hé", "html": "<b>4711</b>"})
    filled = secret(world, template_id=template.id, template_version=1)
    parameters = {"name": "otp", "language": "en", "parameters": ["4711"]}
    whatsapp = secret(
        world, content={"text": "x", "template": parameters}, connector_type="whatsapp"
    )
    await save(world, plain, filled, whatsapp)
    await redact(connection)
    assert (await world.message(plain.id)).content == {"text": "•• •••\n••••", "subject": "••"}
    assert (await world.message(filled.id)).content == {"text": "Your code is {{code}}"}
    masked = {"name": "otp", "language": "en", "parameters": ["•••"]}
    assert (await world.message(whatsapp.id)).content == {"text": "•", "template": masked}
    kept = await world.message(plain.id)
    assert (kept.recipient, kept.metadata_) == ("+14155550100", {"order": 7})


async def test_content_is_kept_for_as_many_days_as_the_project_says(
    world: World, connection: Connection
) -> None:
    await retain(world, content_retention="days", content_retention_days=7)
    old = secret(world, at=EARLIER - timedelta(days=7))
    new = secret(world, at=EARLIER - timedelta(days=6))
    await save(world, old, new)
    await redact(connection)
    assert await texts(world, old, new) == [None, "Code 4711"]


async def test_the_server_says_how_long_where_the_project_does_not(
    world: World, platform: Platform, connection: Connection
) -> None:
    keeper = await World.make(platform)
    await retain(keeper, content_retention="keep")
    # So old that no other test's messages are.
    old, kept = (secret(ours, at=datetime(2013, 1, 1, tzinfo=UTC)) for ours in (world, keeper))
    await save(world, old, kept)
    await redact(connection, Defaults(content_days=3650, retention_days=0))
    assert await texts(world, old) == [None]
    assert await texts(keeper, kept) == ["Code 4711"]


async def test_content_that_is_still_needed_stays_until_it_is_not(
    world: World, connection: Connection
) -> None:
    await retain(world, content_retention="nothing")
    waiting = secret(world, status="scheduled", send_at=EARLIER + timedelta(days=300))
    watched = secret(world, status="sent", sent_at=EARLIER)
    undecided = secret(world, status="uncertain")
    on_its_way = secret(world, status="sent", route=ROUTE)
    dead = secret(world, status="failed")
    messages = [waiting, watched, undecided, on_its_way, dead]
    letter = DeadLetter(message_id=dead.id, project_id=world.project_id)
    await save(world, *messages, letter, queued(waiting, DUE), queued(watched, 3))
    await redact(connection)
    assert await texts(world, *messages) == ["Code 4711"] * 5
    # A day later nobody decides any more; the queue still knows the first two.
    await connection.execute(
        "UPDATE messages SET updated_at = now() - interval '25 hours' WHERE id = ANY(%s)",
        ([m.id for m in messages],),
    )
    for message in messages:
        await look_again(connection, message)
    assert await texts(world, *messages) == ["Code 4711", "Code 4711", None, None, None]
    await connection.execute("DELETE FROM send_queue WHERE project_id = %s", (world.project_id,))
    await connection.execute("UPDATE messages SET status = 'canceled' WHERE id = %s", (waiting.id,))
    for message in (waiting, watched):
        await look_again(connection, message)
    assert await texts(world, *messages) == [None] * 5
    holds = await connection.execute(
        "SELECT FROM content_holds WHERE project_id = %s", (world.project_id,)
    )
    assert holds.rowcount == 0


async def test_what_was_accepted_a_moment_ago_waits_for_the_next_rounds(
    world: World, connection: Connection
) -> None:
    """Its id may be older than others that are committed later: the cursor must not pass them."""
    await retain(world, content_retention="nothing")
    message = secret(world, at=datetime.now(UTC) - timedelta(seconds=30))
    await save(world, message)
    await redact(connection)
    assert await texts(world, message) == ["Code 4711"]


async def test_more_messages_than_a_step_takes_are_all_redacted(
    world: World, connection: Connection
) -> None:
    await retain(world, content_retention="nothing")
    messages = [secret(world, at=EARLIER + timedelta(milliseconds=n)) for n in range(1203)]
    await save(world, *messages)
    await redact(connection)
    left = await connection.execute(
        "SELECT FROM messages WHERE project_id = %s AND redacted_at IS NULL", (world.project_id,)
    )
    assert left.rowcount == 0


async def test_a_stricter_setting_reaches_what_the_milder_one_left(
    world: World, connection: Connection
) -> None:
    me = UserPrincipal(user_id=world.user_id, session_id=world.user_id, email="ada@example.com")
    message = secret(world)
    await save(world, message)
    for setting, text in (("keep", "Code 4711"), ("mask", "•••• ••••"), ("nothing", None)):
        async with world.platform.database.transaction() as session:
            await projects.update_project(
                session, acting(me, world.project_id), {"content_retention": setting}
            )
        await redact(connection)
        assert await texts(world, message) == [text]


async def test_a_redacted_message_cannot_be_sent_once_more(
    world: World, connection: Connection
) -> None:
    await retain(world, content_retention="mask")
    message = secret(world, connector_id=(await world.connector()).id)
    await save(world, message)
    await redact(connection)
    with pytest.raises(MessageRedacted, match="contentRetention"):
        await resend_message(
            world.platform.send_path,
            Sender(system_access(world.project_id), "live"),
            message_id=message.id,
        )


@pytest.mark.parametrize(
    ("recipient", "masked"),
    [
        ("+14155550100", "+1•••00"),
        ("ada@example.com", "a•••@example.com"),
        ("@ada_lovelace", "@a•••ce"),
        ("1234567", "•••"),
        ("", "•••"),
    ],
)
def test_a_masked_recipient_cannot_be_written_to(recipient: str, masked: str) -> None:
    assert masked_recipient(recipient) == masked


@pytest.mark.parametrize(
    "content", ["5", '{"text": "Code 4711", "template": 7}', "[" * 1500 + "]" * 1500]
)
async def test_content_that_cannot_be_masked_goes_all_the_same_and_keeps_no_others(
    platform: Platform, connection: Connection, content: str
) -> None:
    bad, good = await World.make(platform), await World.make(platform)
    for world in (bad, good):
        await retain(world, content_retention="mask")
    spoilt, other = secret(bad), secret(good)
    await save(bad, spoilt)
    await save(good, other)
    await connection.execute("UPDATE messages SET content = %s WHERE id = %s", (content, spoilt.id))
    await redact(connection)
    assert (await bad.message(spoilt.id)).content == {}
    assert "4711" not in str((await good.message(other.id)).content)


async def test_days_that_nobody_can_subtract_keep_no_other_project_from_its_retention(
    platform: Platform, connection: Connection
) -> None:
    bad, good = await World.make(platform), await World.make(platform)
    await retain(
        bad, content_retention="days", content_retention_days=2**31 - 1, retention_days=2**31 - 1
    )
    await retain(good, content_retention="nothing")
    other = secret(good)
    await save(good, other)
    await redact(connection)
    assert (await good.message(other.id)).content == {}


async def test_a_message_that_cannot_be_redacted_keeps_no_other_projects_content(
    platform: Platform, connection: Connection
) -> None:
    bad, good = await World.make(platform), await World.make(platform)
    for world in (bad, good):
        await retain(world, content_retention="nothing")
    spoilt, other = secret(bad), secret(good)
    await save(bad, spoilt)
    await save(good, other)
    # As any failure of one row does: no update of it succeeds.
    await connection.execute("ALTER TABLE messages DISABLE TRIGGER USER")
    await connection.execute(
        "UPDATE messages SET created_at = '-infinity', sent_at = now() WHERE id = %s", (spoilt.id,)
    )
    await connection.execute("ALTER TABLE messages ENABLE TRIGGER USER")
    await redact(connection)
    assert (await good.message(other.id)).content == {}
    assert (await bad.message(spoilt.id)).content != {}
    await connection.execute("ALTER TABLE messages DISABLE TRIGGER USER")
    await connection.execute("DELETE FROM messages WHERE id = %s", (spoilt.id,))
    await connection.execute("ALTER TABLE messages ENABLE TRIGGER USER")
