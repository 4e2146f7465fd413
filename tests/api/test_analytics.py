"""Analytics over HTTP: reference 002's and 003's shapes, whom they are for, and what is refused."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from backend import ids
from backend.ids import new_id
from tests.api.accounts import Account, Api
from tests.api.messages import save

AT = datetime(2024, 1, 15, 10, 30, tzinfo=UTC)
MESSAGES, USAGE, CONNECTORS, STATS = (
    "/api/v1/analytics/messages",
    "/api/v1/analytics/usage",
    "/api/v1/analytics/connectors",
    "/api/v1/stats",
)

# The answers in reference 002 and 003, their field names and types.
REFERENCE: list[tuple[str, dict[str, str], dict[str, Any]]] = [
    (
        MESSAGES,
        {"from": "2024-01-01", "to": "2024-01-31"},
        {
            "period": {"from": "2024-01-01T00:00:00Z", "to": "2024-01-31T23:59:59Z"},
            "totals": {"sent": 1250, "delivered": 1180, "failed": 70, "deliveredRate": 0.944},
            "byConnector": {"whatsapp": {"sent": 800, "delivered": 780, "failed": 20}},
            "byDay": [{"date": "2024-01-15", "sent": 45, "delivered": 43, "failed": 2}],
        },
    ),
    (
        USAGE,
        {},
        {
            "totalMessages": 1250,
            "totalProjects": 5,
            "totalConnectors": 12,
            "averageDeliveryRate": 0.944,
            "topConnectors": [{"type": "whatsapp", "messages": 800}],
        },
    ),
    (
        CONNECTORS,
        {},
        {"connectors": [{"type": "whatsapp", "sent": 800, "delivered": 780, "failed": 20}]},
    ),
    (
        STATS,
        {"startDate": "2024-01-01", "endDate": "2024-12-31"},
        {
            "success": True,
            "data": {
                name: {"sent": 150, "received": 89}
                for name in ("today", "thisWeek", "thisMonth", "total")
            },
        },
    ),
]


def assert_shape(answer: Any, example: Any, path: str = "") -> None:
    """Every field of the example is there, with its type; what is added does not disturb a
    client.
    """
    assert type(answer) is type(example), path
    if isinstance(example, dict):
        assert answer.keys() >= example.keys(), path
        for name, value in example.items():
            assert_shape(answer[name], value, f"{path}.{name}")
    elif isinstance(example, list):
        assert answer, path
        for item in answer:
            assert_shape(item, example[0], f"{path}[]")


async def _two_delivered_one_failed(
    api: Api, account: Account, *, at: datetime = AT, **fields: Any
) -> None:
    for status in ("delivered", "read", "failed"):
        await save(
            api,
            account,
            at=at,
            status=status,
            error_code="400" if status == "failed" else None,
            **fields,
        )


@pytest.mark.parametrize(("path", "params", "example"), REFERENCE)
async def test_answers_have_the_references_fields_and_types(
    api: Api, path: str, params: dict[str, str], example: dict[str, Any]
) -> None:
    account = await api.register()
    await _two_delivered_one_failed(api, account)
    await _two_delivered_one_failed(api, account, at=datetime.now(UTC) - timedelta(minutes=1))
    response = await api.get(account, path, projectId=account.project_id, **params)
    assert response.status_code == 200, response.text
    assert_shape(response.json(), example)


async def test_messages_are_counted_by_connector_day_and_reason(api: Api) -> None:
    account = await api.register()
    await _two_delivered_one_failed(api, account, sent_at=AT + timedelta(milliseconds=100))
    await save(api, account, at=AT, status="queued", connector_type="telegram")
    response = await api.get(
        account,
        MESSAGES,
        projectId=account.project_id,
        **{"from": "2024-01-14", "to": "2024-01-16"},
    )
    answer = response.json()
    assert answer["period"] == {
        "from": "2024-01-14T00:00:00.000Z",
        "to": "2024-01-16T23:59:59.999Z",
    }
    assert answer["totals"] == {
        "sent": 3,
        "delivered": 2,
        "failed": 1,
        "deliveredRate": 0.6667,
        "accepted": 4,
    }
    assert answer["byConnector"] == {
        "whatsapp": {"sent": 3, "delivered": 2, "failed": 1},
        "telegram": {"sent": 0, "delivered": 0, "failed": 0},
    }
    nothing = {"sent": 0, "delivered": 0, "failed": 0}
    assert answer["byDay"] == [
        {"date": "2024-01-14", **nothing},
        {"date": "2024-01-15", "sent": 3, "delivered": 2, "failed": 1},
        {"date": "2024-01-16", **nothing},
    ]
    assert answer["byStatus"] == {"delivered": 1, "failed": 1, "queued": 1, "read": 1}
    assert answer["failuresByReason"] == [{"code": "400", "messages": 1}]
    assert answer["timeToProvider"]["p50Ms"] == pytest.approx(100, rel=0.045)
    assert answer["timeToDelivery"] == {"p50Ms": None, "p95Ms": None}
    assert answer["byHour"] is None


async def test_hours_are_shown_in_the_chosen_zone(api: Api) -> None:
    account = await api.register()
    await _two_delivered_one_failed(api, account)
    params = {
        "from": "2024-01-15",
        "to": "2024-01-15",
        "timezone": "Asia/Kathmandu",
        "interval": "hour",
    }
    answer = (await api.get(account, MESSAGES, projectId=account.project_id, **params)).json()
    assert answer["timezone"] == "Asia/Kathmandu"
    assert answer["period"]["from"] == "2024-01-14T18:15:00.000Z"
    assert [hour for hour in answer["byHour"] if hour["sent"]] == [
        {"hour": "2024-01-15T16:00:00+05:45", "sent": 3, "delivered": 2, "failed": 1}
    ]
    assert len(answer["byHour"]) == 24
    assert [day["sent"] for day in answer["byDay"]] == [3]


async def test_each_connector_has_its_numbers(api: Api, ada: Account) -> None:
    account = await api.register()
    connectors = await api.get(account, f"/api/v1/projects/{account.project_id}/connectors")
    sandbox = connectors.json()["connectors"][0]
    await _two_delivered_one_failed(
        api,
        account,
        connector_id=ids.decode(ids.CONNECTOR, sandbox["id"]),
        connector_type="sandbox",
    )
    params = {"projectId": account.project_id, "from": "2024-01-15", "to": "2024-01-15"}
    (only,) = (await api.get(account, CONNECTORS, **params)).json()["connectors"]
    assert only["connectorId"] == sandbox["id"]
    assert (only["type"], only["name"], only["isActive"]) == ("sandbox", sandbox["name"], True)
    assert (only["sent"], only["delivered"], only["failed"], only["deliveredRate"]) == (
        3,
        2,
        1,
        0.6667,
    )
    assert only["failuresByReason"] == [{"code": "400", "messages": 1}]
    for connector, sent in (
        (sandbox["id"], 3),
        ("sandbox", 3),
        ("telegram", 0),
        (ids.encode("conn", new_id()), 0),
    ):
        answer = (await api.get(account, MESSAGES, connector=connector, **params)).json()
        assert answer["totals"]["sent"] == sent, connector


async def test_stats_are_of_today_this_week_this_month_and_in_all(api: Api) -> None:
    account = await api.register()
    await _two_delivered_one_failed(api, account)
    await _two_delivered_one_failed(api, account, at=datetime.now(UTC))
    data = (await api.get(account, STATS, projectId=account.project_id)).json()["data"]
    assert {name: counts["sent"] for name, counts in data.items()} == {
        "today": 3,
        "thisWeek": 3,
        "thisMonth": 3,
        "total": 6,
    }
    assert {counts["received"] for counts in data.values()} == {0}
    params = {"projectId": account.project_id, "startDate": "2024-01-01", "endDate": "2024-12-31"}
    assert (await api.get(account, STATS, **params)).json()["data"]["total"]["sent"] == 3


async def test_a_key_needs_its_scope_and_sees_its_project_and_mode(api: Api) -> None:
    account = await api.register()
    now = datetime.now(UTC) - timedelta(seconds=1)
    await save(api, account, at=now, status="sent")
    await save(api, account, at=now, status="sent", mode="test")

    async def asked(path: str, key: str, **params: str) -> Any:
        return await api.client.get(path, headers={"Authorization": f"Bearer {key}"}, params=params)

    live = (await api.key(account, scopes=["stats:read"]))["key"]
    test = (await api.key(account, scopes=["stats:read"], mode="test"))["key"]
    other = (await api.key(account, scopes=["messages:read"]))["key"]
    assert (await asked(STATS, live)).json()["data"]["today"]["sent"] == 2
    assert (await asked(STATS, test)).json()["data"]["today"]["sent"] == 1
    assert (await asked(STATS, live, mode="live")).json()["data"]["today"]["sent"] == 1
    assert (await asked(USAGE, live)).json()["totalProjects"] == 1
    assert (await asked(STATS, test, mode="live")).json()["code"] == "KEY_SCOPE"
    foreign = await asked(STATS, live, projectId=(await api.register()).project_id)
    assert (foreign.status_code, foreign.json()["code"]) == (404, "PROJECT_NOT_FOUND")
    for path in (MESSAGES, USAGE, CONNECTORS, STATS):
        refused = await asked(path, other)
        assert (refused.status_code, refused.json()["code"]) == (403, "KEY_SCOPE")


@pytest.mark.parametrize("path", [MESSAGES, USAGE, CONNECTORS, STATS])
async def test_only_members_and_keys_may_ask(api: Api, ada: Account, path: str) -> None:
    assert (await api.client.get(path)).status_code == 401
    missing = await api.get(ada, path)
    assert (missing.status_code, missing.json()["code"]) == (400, "MISSING_REQUIRED_FIELD")
    stranger = await api.register()
    for project_id in (ada.project_id, "proj_nonsense", ids.encode(ids.PROJECT, new_id())):
        foreign = await api.get(stranger, path, projectId=project_id)
        assert (foreign.status_code, foreign.json()["code"]) == (404, "PROJECT_NOT_FOUND")


@pytest.mark.parametrize(
    ("params", "field", "code"),
    [
        ({"from": "soon"}, "from", "VALIDATION_ERROR"),
        ({"to": "2024-13-01"}, "to", "VALIDATION_ERROR"),
        ({"from": "2024-02-01", "to": "2024-01-01"}, "from", "VALIDATION_ERROR"),
        ({"from": "2010-01-01"}, "from", "VALIDATION_ERROR"),
        (
            {"from": "2024-01-01", "to": "2024-03-01", "interval": "hour"},
            "from",
            "VALIDATION_ERROR",
        ),
        ({"timezone": "Mars/Olympus"}, "timezone", "VALIDATION_ERROR"),
        ({"interval": "minute"}, "interval", "VALIDATION_ERROR"),
        ({"mode": "dry"}, "mode", "VALIDATION_ERROR"),
        ({"connector": "pigeon"}, "connector", "INVALID_CONNECTOR_TYPE"),
        ({"connector": "conn_nonsense"}, "connector", "VALIDATION_ERROR"),
    ],
)
async def test_a_wrong_parameter_is_named(
    api: Api, ada: Account, params: dict[str, str], field: str, code: str
) -> None:
    response = await api.get(ada, MESSAGES, projectId=ada.project_id, **params)
    assert response.status_code == 400, response.text
    assert [(error["field"], error["code"]) for error in response.json()["details"]["errors"]] == [
        (field, code)
    ]
