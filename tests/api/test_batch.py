"""Many messages in one request: each has an answer, and a repeated request has the same ones."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

from tests.api.sender import PATH, Sender, call, fields_of, shown

SOON = (datetime.now(UTC) + timedelta(days=1)).isoformat()
LATER = (datetime.now(UTC) + timedelta(days=2)).isoformat()


async def test_a_batch_answers_for_each_in_order(sender: Sender) -> None:
    response = await call(
        sender,
        "/messages/batch",
        {
            "messages": [
                sender.body(to="first"),
                sender.body(to="nobody", connectorId=sender.connectors["smtp"]),
                {"message": "to nobody"},
                sender.body(to="last", sendAt=SOON, expiresAt=LATER),
            ]
        },
    )
    assert response.status_code == 202, response.text
    answer = response.json()
    assert (answer["accepted"], answer["rejected"]) == (2, 2)
    first, bad_address, no_recipient, last = answer["results"]
    assert [result["index"] for result in answer["results"]] == [0, 1, 2, 3]
    assert (first["status"], last["status"]) == ("queued", "scheduled")
    assert bad_address["code"] == "INVALID_TO"
    assert (no_recipient["code"], no_recipient["details"]["errors"][0]["field"]) == (
        "MISSING_REQUIRED_FIELD",
        "to",
    )
    assert (await shown(sender, first["messageId"]))["to"] == "first"


async def test_five_hundred_are_accepted_and_one_more_is_too_many(sender: Sender) -> None:
    items = [sender.body(to=f"user-{n}") for n in range(501)]
    too_many = await call(sender, "/messages/batch", {"messages": items})
    assert (too_many.status_code, fields_of(too_many)) == (400, {("messages", "VALIDATION_ERROR")})
    response = await call(sender, "/messages/batch", {"messages": items[:500]})
    results = response.json()["results"]
    assert len({result["messageId"] for result in results}) == 500
    assert await sender.total() == 500
    empty = await call(sender, "/messages/batch", {"messages": []})
    assert empty.status_code == 400


async def test_a_number_too_large_in_one_message_of_a_batch_is_that_ones_error(
    sender: Sender,
) -> None:
    items = [
        sender.body(),
        sender.body(metadata={"order": {"n": [1 << 64]}}),
        sender.body(variables={"n": "@"}),
    ]
    for literal in ("1e400", "NaN", "-" + "9" * 5000):
        content = json.dumps({"messages": items}).replace('"@"', literal).encode()
        headers = {"Content-Type": "application/json", "Authorization": f"Bearer {sender.key}"}
        headers["Idempotency-Key"] = literal[:20]
        url = f"{PATH}/batch"
        answers = [
            await sender.api.client.post(url, content=content, headers=headers) for _ in range(2)
        ]
        assert [answer.status_code for answer in answers] == [202, 202], answers[0].text
        body = answers[0].json()
        assert (body["accepted"], body["rejected"]) == (1, 2)
        results = [
            result.get("details", {}).get("errors", [{}])[0].get("field")
            for result in body["results"]
        ]
        assert results == [None, "metadata.order.n[0]", "variables.n"]
        # Repeating it doubles nothing.
        assert answers[1].json()["results"] == body["results"]
    assert await sender.total() == 3


async def test_a_repeated_batch_is_answered_as_before_and_another_under_its_key_refused(
    sender: Sender,
) -> None:
    batch = {"messages": [sender.body(to="one"), {"to": ""}, sender.body(to="two")]}
    first = await call(sender, "/messages/batch", batch, Idempotency_Key="b" * 255)
    again = await call(sender, "/messages/batch", batch, Idempotency_Key="b" * 255)
    assert again.json() == first.json()
    assert ("Idempotency-Replayed" in first.headers, again.headers["Idempotency-Replayed"]) == (
        False,
        "true",
    )
    longer = {"messages": [{"to": ""}, {"to": ""}, {"to": ""}, sender.body(to="three")]}
    other = await call(sender, "/messages/batch", longer, Idempotency_Key="b" * 255)
    assert (other.status_code, other.json()["code"]) == (422, "IDEMPOTENCY_CONFLICT")
    assert await sender.total() == 2


async def test_a_batch_counts_each_of_its_messages(sender: Sender) -> None:
    sender.key = (await sender.api.key(sender.account, rateLimit=3))["key"]
    batch = {"messages": [sender.body() for _ in range(5)]}
    response = await call(sender, "/messages/batch", batch)
    assert [result.get("code", "") for result in response.json()["results"]] == ["", "", ""] + [
        "RATE_LIMIT_EXCEEDED"
    ] * 2
    assert '"key";r=0' in response.headers["RateLimit"]
    full = await call(sender, "/messages/batch", batch)
    assert (full.status_code, full.json()["code"]) == (429, "RATE_LIMIT_EXCEEDED")
    assert int(full.headers["Retry-After"]) > 0


async def test_a_key_that_may_not_send_is_refused_as_a_whole(sender: Sender) -> None:
    key = await sender.api.key(sender.account, scopes=["messages:read"])
    sender.key = key["key"]
    refused = await call(sender, "/messages/batch", {"messages": [sender.body()]})
    assert (refused.status_code, refused.json()["code"]) == (403, "KEY_SCOPE")


async def test_a_batch_of_mistakes_only_is_not_a_202(sender: Sender) -> None:
    response = await call(sender, "/messages/batch", {"messages": [{}, {"to": "ada"}]})
    assert (response.status_code, response.json()["accepted"]) == (200, 0)
