"""API keys over HTTP: shown once, limited by kind and mode, refused at once when deleted."""

from __future__ import annotations

import asyncio
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from backend import ids
from backend.crypto import keyed_hash
from backend.errors import InvalidApiKey, ProjectNotActive
from backend.models import ApiKey
from backend.settings import Settings
from tests.api.accounts import Account, Api
from tests.api.apps import another_api

ALL_SCOPES = [
    "messages:send", "messages:read", "contacts:check", "connector:info", "stats:read",
    "webhooks:manage",
]  # fmt: skip


def keys_of(account: Account) -> str:
    return f"/api/v1/projects/{account.project_id}/keys"


async def test_a_new_key_has_the_shape_of_the_reference(api: Api, ada: Account) -> None:
    response = await api.post(ada, keys_of(ada), {"name": "Production Key", "rateLimit": 1000})
    assert response.status_code == 201
    key = response.json()
    assert (
        key.items()
        >= {
            "name": "Production Key",
            "rateLimit": 1000,
            "isActive": True,
            "lastUsed": None,
        }.items()
    )
    assert re.fullmatch(r"key_[0-9a-z]{26}", key["id"])
    assert re.fullmatch(r"sk_live_[0-9A-Za-z]{32}", key["key"])
    assert key["scopes"] == ALL_SCOPES


@pytest.mark.parametrize(
    ("kind", "mode", "prefix", "scopes"),
    [
        ("secret", "live", "sk_live_", ALL_SCOPES),
        ("secret", "test", "sk_test_", ALL_SCOPES),
        ("publishable", "live", "pk_live_", ["messages:send"]),
        ("publishable", "test", "pk_test_", ["messages:send"]),
    ],
)
async def test_kind_and_mode_are_in_the_text(
    api: Api, ada: Account, kind: str, mode: str, prefix: str, scopes: list[str]
) -> None:
    key = await api.key(ada, kind=kind, mode=mode)
    assert key["key"].startswith(prefix)
    assert key["scopes"] == scopes


async def test_the_text_is_shown_once_and_stored_nowhere(api: Api, ada: Account) -> None:
    key = await api.key(ada)
    text = key["key"]
    for response in (
        await api.get(ada, keys_of(ada)),
        await api.get(ada, f"{keys_of(ada)}/{key['id']}"),
    ):
        assert text not in response.text
        assert text[-4:] in response.text
    project_id, key_id = ids.decode(ids.PROJECT, ada.project_id), ids.decode(ids.KEY, key["id"])
    assert project_id is not None
    assert key_id is not None
    async with api.platform.database.session() as session:
        row = await ApiKey.find(session, project_id, key_id)
    assert row is not None
    assert row.key_hash == keyed_hash(api.platform.settings.require_key_pepper(), text)
    assert text not in str(row.model_dump())


async def test_a_key_is_changed_field_by_field(api: Api, ada: Account) -> None:
    key = await api.key(ada, rateLimit=10)
    path = f"{keys_of(ada)}/{key['id']}"
    changed = (await api.put(ada, path, {"name": "New", "scopes": ["messages:send"]})).json()
    assert (changed["name"], changed["scopes"], changed["rateLimit"]) == (
        "New",
        ["messages:send"],
        10,
    )
    assert (await api.put(ada, path, {"rateLimit": None})).json()["rateLimit"] is None
    assert (await api.get(ada, path)).json()["name"] == "New"


async def test_a_deleted_key_is_refused_at_once_and_gone_from_the_api(
    api: Api, ada: Account
) -> None:
    key = await api.key(ada)
    await api.platform.catalog.key(key["key"])
    path = f"{keys_of(ada)}/{key['id']}"
    response = await api.delete(ada, path)
    assert (response.status_code, response.content) == (204, b"")
    with pytest.raises(InvalidApiKey):
        await api.platform.catalog.key(key["key"])
    assert (await api.get(ada, path)).json()["code"] == "KEY_NOT_FOUND"
    assert (await api.delete(ada, path)).status_code == 404
    assert key["id"] not in (await api.get(ada, keys_of(ada))).text


async def test_an_inactive_key_and_an_inactive_project_are_refused(api: Api) -> None:
    account = await api.register()
    key = await api.key(account)
    catalog = api.platform.catalog
    await api.put(account, f"{keys_of(account)}/{key['id']}", {"isActive": False})
    with pytest.raises(InvalidApiKey):
        await catalog.key(key["key"])
    await api.put(account, f"{keys_of(account)}/{key['id']}", {"isActive": True})
    assert (await catalog.key(key["key"])).name == "Key"
    await api.put(account, f"/api/v1/projects/{account.project_id}", {"isActive": False})
    with pytest.raises(ProjectNotActive):
        await catalog.key(key["key"])


async def test_the_list_shows_last_used_and_no_other_projects_keys(api: Api) -> None:
    account = await api.register()
    key = await api.key(account)
    other = await api.key(account, await api.project(account))
    body = (await api.get(account, keys_of(account))).json()
    assert [item["id"] for item in body["keys"]] == [key["id"]]
    assert body["keys"][0].keys() >= {
        "id",
        "name",
        "lastUsed",
        "rateLimit",
        "isActive",
        "createdAt",
    }
    assert body["pagination"]["total"] == 1
    # The right key, asked for through the wrong project.
    assert (await api.get(account, f"{keys_of(account)}/{other['id']}")).status_code == 404


@pytest.mark.parametrize(
    ("body", "field", "code"),
    [
        ({}, "name", "MISSING_REQUIRED_FIELD"),
        ({"name": ""}, "name", "VALIDATION_ERROR"),
        ({"name": "k", "rateLimit": 0}, "rateLimit", "VALIDATION_ERROR"),
        ({"name": "k", "rateLimit": "many"}, "rateLimit", "VALIDATION_ERROR"),
        ({"name": "k", "kind": "private"}, "kind", "VALIDATION_ERROR"),
        ({"name": "k", "scopes": ["messages:burn"]}, "scopes[0]", "VALIDATION_ERROR"),
        (
            {"name": "k", "kind": "publishable", "scopes": ["messages:read"]},
            "scopes[0]",
            "VALIDATION_ERROR",
        ),
        (
            {"name": "k", "allowedOrigins": ["https://*.example.com"]},
            "allowedOrigins[0]",
            "VALIDATION_ERROR",
        ),
        (
            {"name": "k", "allowedOrigins": ["https://example.com/path"]},
            "allowedOrigins[0]",
            "VALIDATION_ERROR",
        ),
        ({"name": "k", "allowedOrigins": ["example.com"]}, "allowedOrigins[0]", "VALIDATION_ERROR"),
        ({"name": "k", "expiresAt": "2020-01-01T00:00:00Z"}, "expiresAt", "VALIDATION_ERROR"),
        ({"name": "k", "expiresAt": "2099-01-01T00:00:00"}, "expiresAt", "VALIDATION_ERROR"),
        ({"name": "k", "expiresAt": "tomorrow"}, "expiresAt", "VALIDATION_ERROR"),
        ({"name": "k", "colour": "red"}, "colour", "UNKNOWN_FIELD"),
        ({"name": "k\u0000"}, "name", "VALIDATION_ERROR"),
    ],
)
async def test_a_wrong_key_is_named(
    api: Api, ada: Account, body: dict[str, Any], field: str, code: str
) -> None:
    response = await api.post(ada, keys_of(ada), body)
    assert (response.status_code, response.json()["code"]) == (400, code), response.text
    assert response.json()["details"]["errors"][0]["field"] == field


async def test_a_live_publishable_key_takes_no_local_origin_and_a_test_key_does(
    api: Api, ada: Account
) -> None:
    body = {"name": "k", "kind": "publishable", "allowedOrigins": ["http://localhost:3000"]}
    refused = await api.post(ada, keys_of(ada), body)
    assert refused.status_code == 400
    assert "test key" in refused.json()["error"]
    assert (await api.post(ada, keys_of(ada), {**body, "mode": "test"})).status_code == 201


async def test_origins_are_kept_as_browsers_send_them(api: Api, ada: Account) -> None:
    origins = ["HTTPS://Example.com:443/", "https://example.com", "http://bücher.example:8080"]
    key = await api.key(ada, kind="publishable", allowedOrigins=origins)
    assert key["allowedOrigins"] == ["https://example.com", "http://xn--bcher-kva.example:8080"]


async def test_an_expiry_to_come_is_kept_to_the_instant(api: Api, ada: Account) -> None:
    expires_at = datetime.now(UTC).replace(microsecond=0) + timedelta(days=1)
    key = await api.key(ada, expiresAt=expires_at.isoformat())
    assert datetime.fromisoformat(key["expiresAt"]) == expires_at


async def test_the_list_is_searched_by_name_and_by_being_active(api: Api) -> None:
    account = await api.register()
    for name in ("Production 100%", "Staging", "production-eu"):
        await api.key(account, name=name)
    staging = (await api.get(account, keys_of(account), q="staging")).json()["keys"][0]
    await api.put(account, f"{keys_of(account)}/{staging['id']}", {"isActive": False})

    async def names(**params: Any) -> list[str]:
        body = (await api.get(account, keys_of(account), **params)).json()
        assert body["pagination"]["total"] == len(body["keys"])
        return [key["name"] for key in body["keys"]]

    assert await names(q="PRODUCTION") == ["production-eu", "Production 100%"]
    assert await names(q="%") == ["Production 100%"]  # a character like any other, not a wildcard
    assert await names(isActive=False) == ["Staging"]
    assert await names(isActive=True, q="ing") == []
    wrong = await api.get(account, keys_of(account), q="a\0b")
    assert (wrong.status_code, wrong.json()["details"]["errors"][0]["field"]) == (400, "q")


async def test_a_change_from_an_old_reading_is_refused(api: Api, ada: Account) -> None:
    path = f"{keys_of(ada)}/{(await api.key(ada))['id']}"
    tag = (await api.get(ada, path)).headers["ETag"]
    headers = {**ada.headers, "If-Match": tag}
    assert (await api.client.put(path, json={"name": "First"}, headers=headers)).status_code == 200
    for method in ("PUT", "DELETE"):
        refused = await api.client.request(method, path, json={"name": "Second"}, headers=headers)
        assert (refused.status_code, refused.json()["code"]) == (412, "PRECONDITION_FAILED")
    assert (await api.get(ada, path)).json()["name"] == "First"


async def test_a_regenerated_key_works_beside_its_old_text(api: Api, ada: Account) -> None:
    old = await api.key(ada, scopes=["messages:send"], rateLimit=7)
    response = await api.post(ada, f"{keys_of(ada)}/{old['id']}/regenerate")
    assert response.status_code == 200, response.text
    new = response.json()
    assert new["key"] != old["key"]
    assert (new["id"], new["scopes"], new["rateLimit"]) == (old["id"], ["messages:send"], 7)
    assert new["hint"].endswith(new["key"][-4:])
    catalog = api.platform.catalog
    by_old, by_new = await catalog.key(old["key"]), await catalog.key(new["key"])
    assert by_old.id == by_new.id
    # 24 h, unless another overlap is asked for.
    ends_in = datetime.fromisoformat(new["previousKeyExpiresAt"]) - datetime.now(UTC)
    assert timedelta(hours=23, minutes=59) < ends_in <= timedelta(hours=24)
    assert (by_old.expires_at is None, by_new.expires_at is None) == (False, True)
    shown = await api.get(ada, f"{keys_of(ada)}/{old['id']}")
    assert new["key"] not in shown.text


async def test_regenerating_without_an_overlap_refuses_the_old_text_at_once(
    api: Api, ada: Account
) -> None:
    old = await api.key(ada)
    await api.platform.catalog.key(old["key"])  # known by heart
    new = (await api.post(ada, f"{keys_of(ada)}/{old['id']}/regenerate", {"overlap": 0})).json()
    with pytest.raises(InvalidApiKey):
        await api.platform.catalog.key(old["key"])
    assert (await api.platform.catalog.key(new["key"])).name == "Key"
    assert new["previousKeyExpiresAt"] is None


async def test_regenerating_again_ends_the_overlap_before(api: Api, ada: Account) -> None:
    first = await api.key(ada)
    path = f"{keys_of(ada)}/{first['id']}/regenerate"
    second = (await api.post(ada, path, {"overlap": "7d"})).json()
    third = (await api.post(ada, path, {"overlap": 60})).json()
    with pytest.raises(InvalidApiKey):
        await api.platform.catalog.key(first["key"])
    for text in (second["key"], third["key"]):
        assert (await api.platform.catalog.key(text)).name == "Key"
    # Gone with the key, both of them.
    await api.delete(ada, f"{keys_of(ada)}/{first['id']}")
    for text in (second["key"], third["key"]):
        with pytest.raises(InvalidApiKey):
            await api.platform.catalog.key(text)


async def test_an_overlap_is_a_whole_number_however_json_writes_it(api: Api, ada: Account) -> None:
    key = await api.key(ada)
    response = await api.post(ada, f"{keys_of(ada)}/{key['id']}/regenerate", {"overlap": 60.0})
    assert response.status_code == 200, response.text


@pytest.mark.parametrize("overlap", ["8d", 604_801, -1, "-1h", "soon", True, None, [], 0.5])
async def test_a_wrong_overlap_is_named(api: Api, ada: Account, overlap: Any) -> None:
    key = await api.key(ada)
    response = await api.post(ada, f"{keys_of(ada)}/{key['id']}/regenerate", {"overlap": overlap})
    assert response.status_code == 400, response.text
    assert response.json()["details"]["errors"][0]["field"] == "overlap"
    assert (await api.platform.catalog.key(key["key"])).expires_at is None


async def test_a_key_counts_what_it_asked_for_and_what_is_left(api: Api) -> None:
    account = await api.register()
    key = await api.key(account, rateLimit=5)
    path = f"{keys_of(account)}/{key['id']}/usage"
    unused = (await api.get(account, path)).json()
    assert unused == {
        "totalRequests": 0, "successfulRequests": 0, "failedRequests": 0,
        "rateLimit": 5, "remainingQuota": 5, "lastUsed": None, "createdAt": key["createdAt"],
    }  # fmt: skip
    headers = {"Authorization": f"Bearer {key['key']}"}
    wrong_template = {"to": "someone", "templateId": ids.encode(ids.TEMPLATE, ids.new_id())}
    right = {"to": "a", "connector": "sandbox", "message": "Hi"}
    for body in (right, wrong_template, wrong_template, {"colour": 1}, "no object"):
        await api.client.post("/api/v1/messages", json=body, headers=headers)
    await api.platform.key_usage.flush()
    usage = (await api.get(account, path)).json()
    assert (usage["totalRequests"], usage["successfulRequests"], usage["failedRequests"]) == (
        5,
        1,
        4,
    )
    # Tries count against the limit, accepted or not; what could not be read was none.
    assert usage["remainingQuota"] == 2
    batch = {"messages": [right, wrong_template, {"colour": 1}]}
    for sent in (batch, {"messages": "none"}):
        await api.client.post("/api/v1/messages/batch", json=sent, headers=headers)
    await api.platform.key_usage.flush()
    usage = (await api.get(account, path)).json()
    # Each message of the batch, and one for the batch that was none.
    assert (usage["totalRequests"], usage["successfulRequests"], usage["failedRequests"]) == (
        9,
        2,
        7,
    )
    assert usage["lastUsed"] is not None


async def test_a_key_without_a_limit_has_no_quota_to_tell(api: Api, ada: Account) -> None:
    key = await api.key(ada)
    usage = (await api.get(ada, f"{keys_of(ada)}/{key['id']}/usage")).json()
    assert (usage["rateLimit"], usage["remainingQuota"]) == (None, None)


async def test_an_overlap_does_not_outlive_the_keys_own_expiry(api: Api, ada: Account) -> None:
    expires_at = datetime.now(UTC) + timedelta(hours=1)
    old = await api.key(ada, expiresAt=expires_at.isoformat())
    new = (await api.post(ada, f"{keys_of(ada)}/{old['id']}/regenerate", {"overlap": "2h"})).json()
    # Both at once, which is one look-up.
    by_old, by_new = await asyncio.gather(
        *(api.platform.catalog.key(text) for text in (old["key"], new["key"]))
    )
    assert by_old.expires_at == by_new.expires_at == expires_at


async def test_a_project_has_so_many_keys_and_a_new_key_so_many_days(
    api: Api, settings: Settings
) -> None:
    account = await api.register()
    async with another_api(settings, max_keys_per_project=2, key_expiry_days=30) as bounded:
        default, never = await bounded.key(account), await bounded.key(account, expiresAt=None)
        days = (datetime.fromisoformat(default["expiresAt"]) - datetime.now(UTC)) / timedelta(
            days=1
        )
        assert 29.9 < days <= 30
        assert never["expiresAt"] is None
        refused = await bounded.post(account, keys_of(account), {"name": "Third"})
        assert (refused.status_code, refused.json()["code"]) == (409, "TOO_MANY_KEYS")
        assert "2 API keys" in refused.json()["error"]
        await bounded.delete(account, f"{keys_of(account)}/{default['id']}")
        assert (await bounded.post(account, keys_of(account), {"name": "Third"})).status_code == 201


async def test_keys_made_at_the_same_time_do_not_pass_the_bound_together(
    api: Api, settings: Settings
) -> None:
    account = await api.register()
    async with another_api(settings, max_keys_per_project=1) as bounded:
        answers = await asyncio.gather(
            *(bounded.post(account, keys_of(account), {"name": "K"}) for _ in range(4))
        )
    assert sorted(answer.status_code for answer in answers) == [201, 409, 409, 409]
