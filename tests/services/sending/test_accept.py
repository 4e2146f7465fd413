"""Accepting a message: who may send what through which connector, and what a repeat gets."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from backend.errors import (
    AppError,
    BadRequest,
    ConnectorNotActive,
    ConnectorNotFound,
    InvalidConnectorType,
    InvalidPhone,
    InvalidTo,
    KeyScope,
    RateLimitExceeded,
    SendBlocked,
    ServerError,
    TemplateNotActive,
    TemplateNotFound,
    ValidationFailed,
)
from backend.ids import new_id
from backend.ledger.idempotency import IdempotencyKey
from backend.models import Template
from backend.models.session import Change, announce
from backend.platform import Platform
from backend.services.policy.request import SendRequest
from backend.services.policy.sender import Sender
from backend.services.sending.accept import Accepted, accept_message
from backend.services.sending.batch import accept_batch
from tests.world import World


async def _caller(world: World, **fields: object) -> Sender:
    return Sender.of_key(await world.platform.catalog.key(await world.key(**fields)))


async def test_a_template_is_rendered_and_stored_with_its_version(world: World) -> None:
    await world.connector()
    template = await world.template("Your code is {{code}}", variables=["code"])
    accepted = await world.send(
        SendRequest(to="ada", template_id=template.id, variables={"code": "42"})
    )
    message = await world.message(accepted.message_id)
    assert message.content == {"text": "Your code is 42"}
    assert (message.status, message.template_version, message.recipient) == ("queued", 1, "ada")


async def test_missing_and_unknown_variables_are_named(world: World) -> None:
    await world.connector()
    template = await world.template("{{code}} {{name}}", name="otp", variables=["code", "name"])
    with pytest.raises(ValidationFailed) as caught:
        await world.send(
            SendRequest(to="ada", template_id=template.id, variables={"code": 1, "nmae": "x"})
        )
    errors = {(error.field, error.code) for error in caught.value.errors}
    assert errors == {
        ("variables.name", "MISSING_REQUIRED_FIELD"),
        ("variables.nmae", "UNKNOWN_VARIABLE"),
    }


async def test_what_does_not_exist_is_named(world: World) -> None:
    connector = await world.connector()
    requests: list[tuple[SendRequest, type[AppError]]] = [
        (SendRequest(to="a", text="x", connector_id=new_id()), ConnectorNotFound),
        (SendRequest(to="a", template_id=new_id()), TemplateNotFound),
        (SendRequest(to="a", text="x", connector_type="pigeon"), InvalidConnectorType),
        (SendRequest(to="a", text="x", connector_type="smtp"), ConnectorNotFound),
        (SendRequest(to="a", connector_id=connector.id), ValidationFailed),
        (SendRequest(to="a", text="x"), ValidationFailed),
    ]
    for request, error in requests:
        with pytest.raises(error):
            await world.send(request)


async def test_another_tenants_connector_and_template_do_not_exist(
    platform: Platform, world: World
) -> None:
    other = await World.make(platform)
    theirs, template = await other.connector(), await other.template()
    with pytest.raises(ConnectorNotFound):
        await world.send(SendRequest(to="a", text="x", connector_id=theirs.id))
    with pytest.raises(TemplateNotFound):
        await world.send(SendRequest(to="a", template_id=template.id, variables={"name": "x"}))


async def test_an_inactive_connector_or_template_sends_nothing(world: World) -> None:
    inactive = await world.connector(is_active=False)
    with pytest.raises(ConnectorNotActive):
        await world.send(SendRequest(to="a", text="x", connector_id=inactive.id))
    template = await world.template(is_active=False)
    with pytest.raises(TemplateNotActive):
        await world.send(SendRequest(to="a", template_id=template.id, variables={"name": "x"}))


async def test_a_recipient_must_fit_the_channel(world: World) -> None:
    twilio = await world.connector(
        "twilio",
        {"accountSid": "AC" + "0" * 32, "authToken": "0" * 32, "fromNumber": "+14155550100"},
    )
    smtp = await world.connector(
        "smtp", {"host": "127.0.0.1", "port": 25, "fromAddress": "a@example.com"}
    )
    with pytest.raises(InvalidPhone, match="12"):
        await world.send(SendRequest(to="12", text="x", connector_id=twilio.id))
    with pytest.raises(InvalidTo) as caught:
        await world.send(SendRequest(to="nobody", text="x", connector_id=smtp.id))
    assert caught.value.error_code == "INVALID_TO"
    accepted = await world.send(SendRequest(to="1234567890", text="x", connector_id=twilio.id))
    assert (await world.message(accepted.message_id)).recipient == "+1234567890"


async def test_a_test_key_reaches_only_the_sandbox(platform: Platform, world: World) -> None:
    sandbox = await world.connector()
    smtp = await world.connector(
        "smtp", {"host": "127.0.0.1", "port": 25, "fromAddress": "a@example.com"}
    )
    caller = await _caller(world, mode="test")
    accepted = await accept_message(
        platform.send_path,
        caller,
        SendRequest(to="ada@example.com", text="x", connector_id=smtp.id),
    )
    message = await world.message(accepted.message_id)
    assert (message.connector_id, message.connector_type, message.mode) == (
        sandbox.id,
        "sandbox",
        "test",
    )


async def test_a_publishable_key_never_sends_free_text_or_secret_templates(
    platform: Platform, world: World
) -> None:
    sandbox = await world.connector()
    template = await world.template()
    caller = await _caller(world, kind="publishable")
    with pytest.raises(SendBlocked):
        await accept_message(
            platform.send_path, caller, SendRequest(to="a", text="x", connector_id=sandbox.id)
        )
    with pytest.raises(SendBlocked):
        await accept_message(
            platform.send_path,
            caller,
            SendRequest(to="a", template_id=template.id, variables={"name": "x"}),
        )


async def test_a_key_needs_its_scope(platform: Platform, world: World) -> None:
    sandbox = await world.connector()
    caller = await _caller(world, scopes=["messages:read"])
    with pytest.raises(KeyScope):
        await accept_message(
            platform.send_path, caller, SendRequest(to="a", text="x", connector_id=sandbox.id)
        )


async def test_a_key_sends_no_more_than_its_limit_in_an_hour(
    platform: Platform, world: World
) -> None:
    sandbox = await world.connector()
    caller = await _caller(world, rate_limit=3)
    request = SendRequest(to="a", text="x", connector_id=sandbox.id)
    remaining = [
        (await accept_message(platform.send_path, caller, request)).allowance for _ in range(3)
    ]
    assert [allowance.buckets[0].remaining for allowance in remaining if allowance] == [2, 1, 0]
    with pytest.raises(RateLimitExceeded) as caught:
        await accept_message(platform.send_path, caller, request)
    assert int(caught.value.headers["Retry-After"]) > 0


async def test_a_repeat_gets_its_answer_although_the_template_is_gone(
    platform: Platform, world: World
) -> None:
    await world.connector()
    template = await world.template("hi", variables=[])
    key = IdempotencyKey("POST /messages", "k", b"body")
    request = SendRequest(to="a", template_id=template.id)
    first = await world.send(request, idempotency=key)
    async with platform.database.transaction() as session:
        row = await session.get(Template, template.id)
        assert row is not None
        row.deleted_at = datetime.now(UTC)
        announce(session, Change("template", template.id))
    repeat = await world.send(request, idempotency=key)
    assert repeat.is_replay
    assert repeat.message_id == first.message_id
    with pytest.raises(TemplateNotFound):
        await world.send(request)


async def test_a_scheduled_message_waits_and_a_senseless_time_is_refused(
    platform: Platform, world: World
) -> None:
    sandbox = await world.connector()
    now = datetime.now(UTC)
    later = SendRequest(to="a", text="x", connector_id=sandbox.id, send_at=now + timedelta(hours=1))
    accepted = await world.send(later)
    assert accepted.status == "scheduled"
    async with platform.database.raw.connection() as connection:
        cursor = await connection.execute(
            "SELECT due_at FROM send_queue WHERE message_id = %s", (accepted.message_id,)
        )
        row = await cursor.fetchone()
    assert row is not None
    assert abs((row[0] - now).total_seconds() - 3600) < 1
    too_late = SendRequest(
        to="a", text="x", connector_id=sandbox.id, send_at=now + timedelta(days=500)
    )
    expired = SendRequest(
        to="a", text="x", connector_id=sandbox.id, expires_at=now - timedelta(seconds=1)
    )
    for request in (too_late, expired):
        with pytest.raises(BadRequest):
            await world.send(request)


async def test_a_change_is_seen_by_the_next_send(platform: Platform, world: World) -> None:
    """The catalog keeps rows for seconds; an announced change must not wait for that."""
    sandbox = await world.connector()
    await world.send(SendRequest(to="a", text="x", connector_id=sandbox.id))
    async with platform.database.transaction() as session:
        row = await session.merge(sandbox)
        row.is_active = False
        announce(session, Change("connector", sandbox.id))
    with pytest.raises(ConnectorNotActive):
        await world.send(SendRequest(to="a", text="x", connector_id=sandbox.id))


async def test_whatever_one_message_of_a_batch_raises_the_others_are_answered_truly(
    world: World,
) -> None:
    await world.connector()

    def broken() -> SendRequest:
        raise RuntimeError("not one of ours")

    good = SendRequest(to="ada", text="hi", connector_type="sandbox")
    odd = SendRequest(to="ada", text="hi", connector_type="sandbox", metadata={"n": 1 << 64})
    requests = [lambda: good, broken, lambda: odd, lambda: good]
    answers = await accept_batch(world.platform.send_path, await _caller(world), requests)
    assert [type(answer) for answer in answers] == [Accepted, ServerError, BadRequest, Accepted]
    for answer in answers:
        if isinstance(answer, Accepted):
            assert (await world.message(answer.message_id)).status == "queued"
