"""Limits over HTTP: plans, the month's quota, headers on every answer, and a Redis that is away."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import httpx
import pytest_asyncio
import redis.asyncio
from sqlalchemy import text

from backend import ids
from backend.models.session import Change
from backend.services.limits.rate_limit import RateLimiter
from tests.api.accounts import Api
from tests.api.sender import Sender, call, set_status

QUOTA = 10_000  # FREE_MONTHLY_QUOTA


@pytest_asyncio.fixture
async def free(sender: Sender) -> Sender:
    """A sender whose project is on plan free and has all but three of its month behind it."""
    project_id = ids.decode(ids.PROJECT, sender.account.project_id)
    assert project_id is not None
    platform = sender.api.platform
    async with platform.database.transaction() as session:
        connection = await session.connection()
        await connection.execute(
            text("UPDATE projects SET plan = 'free' WHERE id = :id"), {"id": project_id}
        )
        await connection.execute(
            text("""
            INSERT INTO messages (id, project_id, connector_id, connector_type, mode, recipient,
                content, status,
                priority, on_uncertain, attempts, created_at, updated_at)
            SELECT uuidv7(), :id, :id, 'sandbox', CASE WHEN n > 3 THEN 'live' ELSE 'test' END,
                'ada', '{}',
                'delivered', 'normal', 'hold', 1, now(), now()
            FROM generate_series(1, CAST(:quota AS int)) n
            """),
            {"id": project_id, "quota": QUOTA},
        )
    await platform.tell_changes({Change("project", project_id)})
    return sender


async def test_a_month_is_counted_from_the_history_and_ends_at_the_quota(free: Sender) -> None:
    answers = [await free.post(free.body()) for _ in range(4)]
    assert [answer.status_code for answer in answers] == [202, 202, 202, 429]
    assert answers[3].json()["code"] == "QUOTA_EXCEEDED"
    assert int(answers[3].headers["Retry-After"]) > 0
    assert f'"project";q={QUOTA};w=' in answers[0].headers["RateLimit-Policy"]
    assert '"key";q=1000;w=3600' in answers[0].headers["RateLimit-Policy"]
    assert [
        '"project";r=2' in answers[0].headers["RateLimit"],
        '"project";r=0' in answers[2].headers["RateLimit"],
    ] == [
        True,
        True,
    ]


async def test_only_messages_that_were_accepted_use_up_the_month(free: Sender) -> None:
    bad = free.body(to="nobody", connectorId=free.connectors["smtp"])
    for _ in range(5):
        assert (await free.post(bad)).status_code == 400
    repeats = [await free.post(free.body(), headers={"Idempotency-Key": "once"}) for _ in range(5)]
    assert {answer.status_code for answer in repeats} == {202}
    assert [(await free.post(free.body())).status_code for _ in range(3)] == [202, 202, 429]


async def test_test_messages_cost_nothing(free: Sender) -> None:
    free.key = (await free.api.key(free.account, mode="test"))["key"]
    answers = [await free.post(free.body()) for _ in range(5)]
    assert {answer.status_code for answer in answers} == {202}
    assert "project" not in answers[0].headers["RateLimit"]


async def test_every_way_of_sending_counts(free: Sender) -> None:
    batch = await call(free, "/messages/batch", {"messages": [free.body() for _ in range(2)]})
    assert batch.json()["accepted"] == 2
    message_id = batch.json()["results"][0]["messageId"]
    await set_status(free, message_id, "failed")
    assert (await call(free, f"/messages/{message_id}/resend")).status_code == 202
    text_body = {"to": "ada", "message": "x", "connector": "sandbox"}
    for path, body in (
        ("/messages/text", text_body),
        ("/send", free.body()),
        (f"/messages/{message_id}/resend", None),
    ):
        refused = await call(free, path, body)
        assert (refused.status_code, refused.json()["code"]) == (429, "QUOTA_EXCEEDED")
    # A person in the dashboard spends the same month.
    refused = await free.api.post(free.account, f"/api/v1/messages/{message_id}/resend")
    assert (refused.status_code, refused.json()["code"]) == (429, "QUOTA_EXCEEDED")


async def test_every_answer_of_a_send_says_where_the_limits_stand(sender: Sender) -> None:
    sender.key = (await sender.api.key(sender.account, rateLimit=9))["key"]
    wrong: list[tuple[str, Any, int]] = [
        ("/messages", sender.body(to=""), 400),
        ("/messages", sender.body(connectorId="conn_nonsense"), 404),
        ("/messages/text", {}, 400),
        ("/messages/batch", {}, 400),
        ("/send", {}, 400),
        ("/messages", sender.body(), 202),
    ]
    for path, body, status in wrong:
        response = await call(sender, path, body)
        assert response.status_code == status, path
        assert response.headers["RateLimit-Policy"] == '"key";q=9;w=3600'
        assert response.headers["RateLimit"].startswith('"key";r=')


async def test_without_redis_secret_keys_send_and_publishable_ones_do_not(sender: Sender) -> None:
    platform = sender.api.platform
    away = redis.asyncio.Redis.from_url("redis://127.0.0.1:1/0", socket_connect_timeout=1)

    async def count_month(*_: object) -> int:
        return 0

    secret = (await sender.api.key(sender.account, rateLimit=5))["key"]
    page = await sender.api.key(
        sender.account, kind="publishable", rateLimit=5, allowedOrigins=["https://a.example"]
    )
    here = platform.send_path
    limiter = RateLimiter(
        away,
        window_s=3600,
        count_month=count_month,
        fail_open={"secret": True, "publishable": False},
    )
    platform.send_path = replace(here, rate_limiter=limiter)
    try:
        answers: dict[str, httpx.Response] = {}
        for kind, key in (("secret", secret), ("publishable", page["key"])):
            sender.key = key
            answers[kind] = await sender.post(
                sender.body(), headers={"Origin": "https://a.example"}
            )
    finally:
        platform.send_path = here
        await away.aclose()
    assert answers["secret"].status_code == 202
    assert "RateLimit" not in answers["secret"].headers
    assert (answers["publishable"].status_code, answers["publishable"].json()["code"]) == (
        429,
        "RATE_LIMIT_EXCEEDED",
    )


async def test_the_settings_decide_who_may_send_uncounted(api: Api) -> None:
    limiter = api.platform.rate_limiter
    assert limiter.is_open("secret") is api.platform.settings.rate_limit_fail_open_secret
    assert limiter.is_open("publishable") is api.platform.settings.rate_limit_fail_open_publishable
