"""One bad thing stops only itself: whatever an adapter does, the others' messages go on."""

from __future__ import annotations

from typing import Final

import pytest
from hypothesis import HealthCheck, example, given
from hypothesis import settings as limits
from hypothesis import strategies as st

from backend.services.policy.request import SendRequest
from tests.services.delivery import hostile
from tests.services.delivery.neighbours import (
    Workers,
    add_hostile,
    execute,
    forget_queued,
)
from tests.world import World

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
    connector, ids = await add_hostile(bad, *fault)
    await workers.until_sent(await workers.send_honest())
    # Nothing of it is being worked on for ever: it waits, or it has ended with a reason.
    for message_id in ids:
        message = await bad.message(message_id)
        assert message.status in {"queued", "sent", "delivered", "failed", "uncertain"}
        assert message.status in {"queued", "sent", "delivered"} or message.error_reason
    # The connector can be changed, whatever becomes of what it held open.
    await execute(
        workers.platform, "UPDATE connectors SET is_active = false WHERE id = %s", (connector.id,)
    )
    await forget_queued(workers.platform, bad.project_id)


@pytest.mark.usefixtures("hostile_provider")
async def test_a_connector_that_cannot_be_opened_stops_only_its_own_messages(
    workers: Workers,
) -> None:
    bad = await World.make(workers.platform)
    connector, ids = await add_hostile(bad, "__init__", "ValueError")
    await workers.until_sent(await workers.send_honest())
    assert {(await bad.message(message_id)).status for message_id in ids} == {"queued"}
    unopened = workers.engine._connectors.unopened.get(connector.id)
    assert unopened is not None
    assert "cannot be opened (ValueError)" in unopened.reason


@pytest.mark.usefixtures("hostile_provider")
async def test_an_answer_that_cannot_be_stored_costs_only_its_details(workers: Workers) -> None:
    bad = await World.make(workers.platform)
    _, ids = await add_hostile(bad, "answer", "number that JSON does not take")
    await workers.until_sent(await workers.send_honest())
    assert {(await bad.message(message_id)).status for message_id in ids} == {"sent"}


@pytest.mark.usefixtures("hostile_provider")
async def test_credentials_are_changed_although_the_adapter_does_not_let_go(
    workers: Workers,
) -> None:
    bad = await World.make(workers.platform)
    connector, ids = await add_hostile(bad, "aclose", "SystemExit")
    await workers.until_sent(await workers.send_honest())
    assert {(await bad.message(message_id)).status for message_id in ids} == {"sent"}
    sealed = workers.platform.vault.encrypt(
        '{"where": "nowhere", "what": "none"}', context=str(connector.id)
    )
    await execute(
        workers.platform,
        "UPDATE connectors SET credentials_encrypted = %s WHERE id = %s",
        (sealed, connector.id),
    )
    workers.engine._connectors.expire(connector.id)
    again = (await bad.send(SendRequest(to="42", text="boo", connector_id=connector.id))).message_id
    await workers.until_sent(await workers.send_honest())
    await bad.wait_for(again, "sent")
