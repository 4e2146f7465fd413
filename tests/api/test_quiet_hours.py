"""Quiet hours over HTTP: what falls into them waits for their end, anyone who sends it and by
whatever way.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import pytest_asyncio

from backend import ids
from backend.models.session import Change
from backend.services.campaigns.feeder import CampaignFeeder
from tests.api.sender import PATH, Sender, fields_of, make_sender

TOMORROW = (datetime.now(UTC) + timedelta(days=1)).date()
NIGHT = {"start": "21:00", "end": "08:00"}
PHONE = "+14155550123"  # of Los Angeles


def at(hour: int, *, days: int = 0, minute: int = 0) -> str:
    """Return an instant of tomorrow in UTC."""
    return f"{TOMORROW + timedelta(days=days)}T{hour:02}:{minute:02}:00.000Z"


def around_now() -> dict[str, str]:
    now = datetime.now(UTC)
    return {
        "start": f"{now - timedelta(hours=1):%H:%M}",
        "end": f"{now + timedelta(hours=1):%H:%M}",
    }


@pytest_asyncio.fixture
async def sender(api: Any) -> Sender:
    return await make_sender(api)


async def set_quiet(sender: Sender, hours: dict[str, Any] | None) -> None:
    project = f"/api/v1/projects/{sender.account.project_id}"
    answer = await sender.api.put(sender.account, project, {"quietHours": hours})
    assert answer.status_code == 200, answer.text
    await refreshed(sender)


async def refreshed(sender: Sender) -> None:
    """The notice of the change takes a moment."""
    project_id = ids.decode(ids.PROJECT, sender.account.project_id)
    assert project_id is not None
    sender.api.platform.catalog.forget([Change("project", project_id)])


async def sent(sender: Sender, **fields: Any) -> dict[str, Any]:
    """Send, and return the message with the answer's status under "answered"."""
    answer = await sender.post(sender.body(**fields))
    assert answer.status_code == 202, answer.text
    message = (await sender.api.get(sender.account, f"{PATH}/{answer.json()['messageId']}")).json()
    return {**message, "answered": answer.json()["status"]}


async def test_a_send_within_them_waits_for_their_end_and_can_be_canceled(sender: Sender) -> None:
    await set_quiet(sender, around_now())
    message = await sent(sender)
    assert (message["answered"], message["status"]) == ("scheduled", "scheduled")
    ends_in = datetime.fromisoformat(message["sendAt"]) - datetime.now(UTC)
    assert timedelta(minutes=58) < ends_in <= timedelta(hours=1)
    assert message["timeline"][0]["status"] == "scheduled"
    async with sender.api.platform.database.raw.connection() as connection:
        cursor = await connection.execute(
            "SELECT due_at FROM send_queue WHERE message_id = %s",
            (ids.decode(ids.MESSAGE, message["id"]),),
        )
        assert (await cursor.fetchone() or [None])[0] == datetime.fromisoformat(message["sendAt"])
    cancel = await sender.api.post(sender.account, f"{PATH}/{message['id']}/cancel")
    assert cancel.status_code == 200
    assert (await sent(sender, priority="high"))["answered"] == "queued"
    await set_quiet(sender, None)
    assert (await sent(sender))["answered"] == "queued"


@pytest.mark.parametrize(
    ("fields", "hour", "goes_at"),
    [
        ({}, at(22), at(8, days=1)),
        ({}, at(7, minute=59), at(8)),
        ({}, at(8), at(8)),
        ({"timezone": "Asia/Kolkata"}, at(2), at(2, minute=30)),  # 07:30 there
        ({"timezone": "Asia/Kolkata"}, at(3), at(3)),
        ({"priority": "high"}, at(22), at(22)),
    ],
)
async def test_a_time_to_send_within_them_moves_to_their_end(
    sender: Sender, fields: dict[str, Any], hour: str, goes_at: str
) -> None:
    await set_quiet(sender, NIGHT)
    message = await sent(sender, sendAt=hour, **fields)
    assert (message["answered"], message["sendAt"]) == ("scheduled", goes_at)


async def test_the_zone_is_the_senders_word_then_the_numbers_then_the_projects(
    sender: Sender,
) -> None:
    await set_quiet(sender, {**NIGHT, "timezone": "Asia/Tokyo"})  # 12:00 to 23:00 UTC
    sms = {"connectorId": sender.connectors["twilio"], "to": PHONE}
    by_project = await sent(sender, sendAt=at(13))
    assert by_project["sendAt"] == at(23)
    by_number = await sent(sender, sendAt=at(20), **sms)
    assert by_number["sendAt"] == at(20)
    by_word = await sent(sender, sendAt=at(13), timezone="UTC", **sms)
    assert by_word["sendAt"] == at(13)
    both = {"email": "ada@example.com", "phone": PHONE}
    by_other_address = await sent(
        sender, sendAt=at(20), to=both, connectorId=sender.connectors["smtp"]
    )
    assert by_other_address["sendAt"] == at(20)


async def test_an_end_before_theirs_is_refused_with_the_reason(sender: Sender) -> None:
    await set_quiet(sender, NIGHT)
    refused = await sender.post(sender.body(sendAt=at(22), expiresAt=at(7, days=1)))
    assert (refused.status_code, fields_of(refused)) == (400, {("expiresAt", "VALIDATION_ERROR")})
    assert "quiet hours" in refused.json()["error"]
    assert (await sent(sender, sendAt=at(22), expiresAt=at(9, days=1)))["sendAt"] == at(8, days=1)


async def test_a_zone_that_does_not_exist_is_named(sender: Sender) -> None:
    for zone in ("Berlin", "", "../etc/passwd", "x" * 61, 7):
        refused = await sender.post(sender.body(timezone=zone))
        assert (refused.status_code, fields_of(refused)) == (
            400,
            {("timezone", "VALIDATION_ERROR")},
        ), zone


@pytest.mark.parametrize(
    ("hours", "field"),
    [
        ({"start": "21:00"}, "quietHours.end"),
        ({"start": "24:00", "end": "08:00"}, "quietHours.start"),
        ({"start": "21:00", "end": "8:00"}, "quietHours.end"),
        ({"start": "21:00", "end": "21:00"}, "quietHours"),
        ({**NIGHT, "timezone": "Berlin"}, "quietHours.timezone"),
        ({**NIGHT, "days": ["mon"]}, "quietHours.days"),
    ],
)
async def test_hours_that_cannot_be_are_refused(
    sender: Sender, hours: dict[str, Any], field: str
) -> None:
    project = f"/api/v1/projects/{sender.account.project_id}"
    refused = await sender.api.put(sender.account, project, {"quietHours": hours})
    assert refused.status_code == 400
    assert [name for name, _ in fields_of(refused)] == [field]


async def test_they_are_shown_and_audited(sender: Sender) -> None:
    project = f"/api/v1/projects/{sender.account.project_id}"
    assert (await sender.api.get(sender.account, project)).json()["quietHours"] is None
    await set_quiet(sender, {**NIGHT, "timezone": "Europe/Berlin"})
    shown = (await sender.api.get(sender.account, project)).json()["quietHours"]
    assert shown == {**NIGHT, "timezone": "Europe/Berlin"}
    entry = (await sender.api.get(sender.account, f"{project}/audit")).json()["entries"][0]
    assert (entry["action"], entry["after"]["quiet_hours"]) == ("project.updated", shown)


async def test_a_message_that_is_sent_again_obeys_them_too(sender: Sender) -> None:
    first = await sent(sender, priority="normal")
    row_id = ids.decode(ids.MESSAGE, first["id"])
    async with sender.api.platform.database.raw.connection() as connection:
        await connection.execute("DELETE FROM send_queue WHERE message_id = %s", (row_id,))
        await connection.execute("UPDATE messages SET status = 'failed' WHERE id = %s", (row_id,))
    await set_quiet(sender, around_now())
    headers = {"Authorization": f"Bearer {sender.key}"}
    again = await sender.api.client.post(f"{PATH}/{first['id']}/resend", headers=headers)
    assert (again.status_code, again.json()["status"]) == (202, "scheduled")


@pytest.mark.parametrize("by_key", [True, False])
async def test_a_campaign_obeys_them(sender: Sender, by_key: bool) -> None:
    await set_quiet(sender, around_now())
    body = {"name": "Sale", "connector": "sandbox", "message": "Hi", "csv": "to\nada\ngrace\n"}
    headers = {"Authorization": f"Bearer {sender.key}"} if by_key else sender.account.headers
    query = "" if by_key else f"?projectId={sender.account.project_id}"
    created = await sender.api.client.post(f"/api/v1/campaigns{query}", json=body, headers=headers)
    assert created.status_code == 201, created.text
    feeder = CampaignFeeder(sender.api.platform.campaigns, ahead=1000)
    for _ in range(200):  # other tests leave campaigns that have their turns as well
        await feeder.feed()
        listed = await sender.api.get(sender.account, PATH, projectId=sender.account.project_id)
        if len(messages := listed.json()["messages"]) == 2:
            break
    assert [message["status"] for message in messages] == ["scheduled", "scheduled"]
