"""Dead letters over HTTP: listed with their reason, sent again exactly once, discarded; each by
who may.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import httpx
import pytest_asyncio
from sqlalchemy import text

from backend import ids
from backend.ids import new_id
from backend.models import ProjectMember
from backend.models.session import Change
from tests.api.accounts import Account, Api
from tests.api.sender import Sender, make_sender

PATH = "/api/v1/dead-letters"


def row_id(message_id: str) -> UUID:
    value = ids.decode(ids.MESSAGE, message_id)
    assert value is not None
    return value


@dataclass
class Office:
    """A project whose messages can be given up."""

    sender: Sender

    @property
    def api(self) -> Api:
        return self.sender.api

    @property
    def account(self) -> Account:
        return self.sender.account

    async def execute(self, statement: str, **values: Any) -> None:
        async with self.api.platform.database.transaction() as session:
            await (await session.connection()).execute(text(statement), values)

    async def dead(self, code: str = "RETRIES_EXHAUSTED", *, key: str = "", **fields: Any) -> str:
        """Send one, and leave it as a worker does that gives up."""
        headers = {"Authorization": f"Bearer {key or self.sender.key}"}
        sent = await self.sender.post(self.sender.body(**fields), headers=headers)
        assert sent.status_code == 202, sent.text
        message_id: str = sent.json()["messageId"]
        ended = {"id": row_id(message_id), "code": code}
        await self.execute("DELETE FROM send_queue WHERE message_id = :id", id=ended["id"])
        await self.execute(
            "UPDATE messages SET status = 'failed', error_code = :code, error_reason = 'The last:"
            " away', failed_at = now() WHERE id = :id",
            **ended,
        )
        await self.execute(
            "INSERT INTO dead_letters (message_id, project_id) SELECT id, project_id FROM messages"
            " WHERE id = :id",
            id=ended["id"],
        )
        return message_id

    async def listed(self, **params: Any) -> list[str]:
        answer = await self.page(**params)
        assert answer.status_code == 200, answer.text
        return [dead_letter["id"] for dead_letter in answer.json()["deadLetters"]]

    async def page(self, **params: Any) -> httpx.Response:
        return await self.api.get(self.account, PATH, projectId=self.account.project_id, **params)

    async def call(self, path: str, body: Any = None, *, key: str = "") -> httpx.Response:
        """By its person, or by a key."""
        if key:
            return await self.api.client.post(
                PATH + path, json=body, headers={"Authorization": f"Bearer {key}"}
            )
        query = f"?projectId={self.account.project_id}" if body is not None else ""
        return await self.api.post(self.account, PATH + path + query, body)

    async def repeats(self, message_id: str) -> list[dict[str, Any]]:
        """Return the messages that repeat one."""
        answer = await self.api.get(
            self.account, "/api/v1/messages", projectId=self.account.project_id
        )
        return [
            message for message in answer.json()["messages"] if message["resentFrom"] == message_id
        ]

    async def audit(self) -> list[tuple[str, dict[str, Any]]]:
        answer = await self.api.get(
            self.account, f"/api/v1/projects/{self.account.project_id}/audit", action="dead_letters"
        )
        return [(entry["action"], entry["after"]) for entry in answer.json()["entries"]]


@pytest_asyncio.fixture
async def office(api: Api) -> Office:
    return Office(await make_sender(api))


async def test_they_are_listed_with_their_reason_and_by_filter(office: Office) -> None:
    first = await office.dead("CONNECTOR_GONE")
    template: dict[str, Any] = {
        "message": None,
        "templateId": office.sender.template_id,
        "variables": {"name": "A", "code": "1"},
    }
    second = await office.dead(to="grace", **template)
    await office.sender.post(office.sender.body())
    answer = (await office.page()).json()
    assert [dead_letter["id"] for dead_letter in answer["deadLetters"]] == [second, first]
    assert {dead_letter["error"] for dead_letter in answer["deadLetters"]} == {"The last: away"}
    assert (answer["pagination"]["total"], answer["pagination"]["totalIsEstimate"]) == (2, False)
    assert answer["deadLetters"][0]["failedAt"] is not None
    assert await office.listed(code="CONNECTOR_GONE") == [first]
    assert await office.listed(recipient="grace") == [second]
    assert await office.listed(templateId=office.sender.template_id) == [second]
    assert await office.listed(connector=office.sender.connectors["sandbox"]) == [second, first]
    assert await office.listed(connector="smtp") == []
    assert await office.listed(to="2020-01-01") == []
    page = (await office.page(limit=1)).json()
    assert await office.listed(limit=1, cursor=page["pagination"]["nextCursor"]) == [first]


async def test_redriving_sends_a_new_message_in_its_place(office: Office) -> None:
    dead = await office.dead(metadata={"order": "7"}, priority="bulk")
    answer = await office.call(f"/{dead}/redrive")
    assert answer.status_code == 202, answer.text
    new = answer.json()["messageId"]
    assert answer.json() == {"messageId": new, "status": "queued", "resentFrom": dead}
    assert await office.listed() == []
    again = (await office.api.get(office.account, f"/api/v1/messages/{new}")).json()
    assert (again["text"], again["to"], again["priority"], again["metadata"]["order"]) == (
        "hi",
        "ada",
        "bulk",
        "7",
    )
    old = (await office.api.get(office.account, f"/api/v1/messages/{dead}")).json()
    assert old["status"] == "failed"
    assert old["timeline"][-1]["status"] == "redriven"
    assert new in old["timeline"][-1]["reason"]
    twice = await office.call(f"/{dead}/redrive")
    assert (twice.status_code, twice.json()["code"]) == (409, "NOT_A_DEAD_LETTER")


async def test_the_default_of_its_type_stands_in_for_a_connector_that_is_gone(
    office: Office,
) -> None:
    project = f"/api/v1/projects/{office.account.project_id}/connectors"
    other = (
        await office.api.post(office.account, project, {"type": "sandbox", "name": "Other"})
    ).json()["id"]
    dead = await office.dead("CONNECTOR_GONE", connectorId=other)
    assert (await office.api.delete(office.account, f"{project}/{other}")).status_code == 204
    answer = await office.call(f"/{dead}/redrive")
    assert answer.status_code == 202, answer.text
    [again] = await office.repeats(dead)
    assert again["connectorId"] == office.sender.connectors["sandbox"]


async def test_of_many_redrives_at_once_one_sends(office: Office) -> None:
    """In one process they share a commit; the lock on the row is what several processes meet at."""
    dead, other = await office.dead(), await office.dead()
    bodies = [{"messageIds": [dead, other]}, {"messageIds": [other, dead]}, {"filter": {}}]
    answers = await asyncio.gather(
        *(office.call(f"/{dead}/redrive") for _ in range(4)),
        *(office.call("/redrive", body) for body in bodies),
    )
    alone, together = answers[:4], answers[4:]
    refused = [answer for answer in alone if answer.status_code != 202]
    assert {(answer.status_code, answer.json()["code"]) for answer in refused} <= {
        (409, "NOT_A_DEAD_LETTER")
    }
    assert {answer.status_code for answer in together} == {200}
    redriven = sum(answer.json()["redriven"] for answer in together)
    assert len(alone) - len(refused) + redriven == 2
    assert [len(await office.repeats(item)) for item in (dead, other)] == [1, 1]
    assert await office.listed() == []


async def test_many_are_redriven_each_with_its_own_result(office: Office) -> None:
    usable, sent_through_smtp = (
        await office.dead(),
        await office.dead(to="a@b.io", connectorId=office.sender.connectors["smtp"]),
    )
    base = f"/api/v1/projects/{office.account.project_id}/connectors"
    connector = f"{base}/{office.sender.connectors['smtp']}"
    assert (await office.api.delete(office.account, connector)).status_code == 204
    alive = (await office.sender.post(office.sender.body())).json()["messageId"]
    nobody = ids.encode(ids.MESSAGE, new_id())
    answer = await office.call(
        "/redrive", {"messageIds": [usable, sent_through_smtp, alive, nobody, usable]}
    )
    assert answer.status_code == 200, answer.text
    reported = answer.json()
    assert (reported["redriven"], reported["failed"]) == (1, 3)
    assert [result.get("code", "") for result in reported["results"]] == [
        "", "CONNECTOR_NOT_FOUND", "NOT_A_DEAD_LETTER", "MESSAGE_NOT_FOUND",
    ]  # fmt: skip
    assert await office.listed() == [sent_through_smtp]
    assert await office.audit() == [("dead_letters.redriven", {"redriven": 1, "failed": 3})]


async def test_a_row_that_cannot_be_sent_again_is_its_own_error_only(office: Office) -> None:
    """As one that was stored before numbers were bounded."""
    bad, good = await office.dead(), await office.dead()
    odd = '{"n": 18446744073709551616}'
    await office.execute(
        "UPDATE messages SET metadata = CAST(:odd AS jsonb) WHERE id = :id", odd=odd, id=row_id(bad)
    )
    answer = await office.call("/redrive", {"messageIds": [bad, good]})
    assert answer.status_code == 200, answer.text
    assert [result.get("code") for result in answer.json()["results"]] == ["VALIDATION_ERROR", None]
    assert (len(await office.repeats(bad)), len(await office.repeats(good))) == (0, 1)
    assert await office.listed() == [bad]


async def test_a_filter_is_walked_through_in_bounded_steps(office: Office) -> None:
    stuck = await office.dead(to="a@b.io", connectorId=office.sender.connectors["smtp"])
    others = [await office.dead() for _ in range(3)]
    await office.dead("CONNECTOR_GONE")
    await office.execute(
        "UPDATE connectors SET is_active = false WHERE type = 'smtp' AND project_id = :id",
        id=ids.decode(ids.PROJECT, office.account.project_id),
    )
    body: dict[str, Any] = {
        "filter": {"code": "RETRIES_EXHAUSTED", "from": "2020-01-01"},
        "limit": 2,
    }
    smtp = ids.decode(ids.CONNECTOR, office.sender.connectors["smtp"])
    assert smtp is not None
    office.api.platform.catalog.forget([Change("connector", smtp)])
    seen, redriven = [], 0
    for _ in range(2):
        reported = (await office.call("/redrive", body)).json()
        seen += [result["messageId"] for result in reported["results"]]
        redriven += reported["redriven"]
        body["cursor"] = reported.get("nextCursor")
    assert seen == [stuck, *others]
    assert (redriven, body["cursor"]) == (3, None)
    assert len(await office.listed()) == 2


async def test_discarding_takes_them_off_the_list_only(office: Office) -> None:
    first, second, third = [await office.dead(code) for code in ("A", "B", "B")]
    item = await office.api.delete(office.account, f"{PATH}/{first}")
    assert item.status_code == 204
    assert (await office.api.delete(office.account, f"{PATH}/{first}")).json()[
        "code"
    ] == "NOT_A_DEAD_LETTER"
    assert (await office.call("/discard", {"messageIds": [first, second]})).json() == {
        "discarded": 1
    }
    assert (await office.call("/discard", {"filter": {"code": "B"}})).json() == {"discarded": 1}
    assert await office.listed() == []
    message = await office.api.get(office.account, f"/api/v1/messages/{third}")
    assert message.json()["status"] == "failed"
    entries = await office.audit()
    assert entries == [
        ("dead_letters.discarded", {"discarded": 1, "filter": {"code": "B"}}),
        ("dead_letters.discarded", {"discarded": 1}),
        ("dead_letters.discarded", {"messageId": first}),
    ]


async def test_ids_or_a_filter_must_be_given_and_not_both(office: Office) -> None:
    for body in ({}, {"messageIds": [ids.encode(ids.MESSAGE, new_id())], "filter": {}}):
        for path in ("/redrive", "/discard"):
            answer = await office.call(path, body)
            assert (answer.status_code, answer.json()["code"]) == (
                400,
                "VALIDATION_ERROR",
            ), answer.text


async def test_a_test_key_reaches_test_messages_only(office: Office) -> None:
    key = (await office.api.key(office.account, mode="test"))["key"]
    live, test = await office.dead(), await office.dead(key=key)
    headers = {"Authorization": f"Bearer {key}"}
    listed = (await office.api.client.get(PATH, headers=headers)).json()["deadLetters"]
    assert [item["id"] for item in listed] == [test]
    item = await office.call(f"/{live}/redrive", key=key)
    assert (item.status_code, item.json()["code"]) == (404, "MESSAGE_NOT_FOUND")
    many = (await office.call("/redrive", {"messageIds": [live]}, key=key)).json()
    assert (many["redriven"], many["results"][0]["code"]) == (0, "MESSAGE_NOT_FOUND")
    discarded = await office.call("/discard", {"messageIds": [live]}, key=key)
    assert (discarded.status_code, discarded.json()) == (200, {"discarded": 0})
    assert (await office.api.client.delete(f"{PATH}/{live}", headers=headers)).status_code == 404
    assert (await office.call("/redrive", {"filter": {}}, key=key)).json()["redriven"] == 1
    assert await office.listed() == [live]


async def test_a_viewer_sees_them_and_a_page_does_not(office: Office) -> None:
    dead = await office.dead()
    viewer = await office.api.register()
    async with office.api.platform.database.transaction() as session:
        project_id, user_id = (
            ids.decode(ids.PROJECT, office.account.project_id),
            ids.decode(ids.USER, viewer.user_id),
        )
        assert project_id is not None
        assert user_id is not None
        session.add(ProjectMember(project_id=project_id, user_id=user_id, role="viewer"))
    query = f"?projectId={office.account.project_id}"
    assert (
        await office.api.get(viewer, PATH, projectId=office.account.project_id)
    ).status_code == 200
    refused = [
        await office.api.post(viewer, f"{PATH}/{dead}/redrive"),
        await office.api.post(viewer, f"{PATH}/redrive{query}", {"filter": {}}),
        await office.api.post(viewer, f"{PATH}/discard{query}", {"filter": {}}),
        await office.api.delete(viewer, f"{PATH}/{dead}"),
    ]
    origins = ["https://shop.example.com"]
    page = (await office.api.key(office.account, kind="publishable", allowedOrigins=origins))["key"]
    headers = {"Authorization": f"Bearer {page}", "Origin": origins[0]}
    refused.append(
        await office.api.client.post(f"{PATH}/redrive", json={"filter": {}}, headers=headers)
    )
    assert [item.status_code for item in refused] == [403] * 5
    assert await office.listed() == [dead]


async def test_what_was_redacted_cannot_be_redriven(office: Office) -> None:
    dead = await office.dead()
    await office.execute(
        "UPDATE messages SET redacted_at = now(), content = '{}' WHERE id = :id", id=row_id(dead)
    )
    answer = await office.call(f"/{dead}/redrive")
    assert (answer.status_code, answer.json()["code"]) == (409, "MESSAGE_REDACTED")
    assert await office.listed() == [dead]
