"""API keys over HTTP: shown once, limited by kind and mode, refused at once when deleted."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from backend import ids
from backend.crypto import keyed_hash
from backend.errors import InvalidApiKey
from backend.models import ApiKey
from tests.api.conftest import Account, Api

ALL_SCOPES = [
    "messages:send", "messages:read", "contacts:check", "connector:info", "stats:read", "webhooks:manage",
]  # fmt: skip


def keys_of(account: Account) -> str:
    return f"/api/v1/projects/{account.project_id}/keys"


async def test_a_new_key_has_the_shape_of_the_reference(api: Api, ada: Account) -> None:
    response = await api.post(ada, keys_of(ada), {"name": "Production Key", "rateLimit": 1000})
    assert response.status_code == 201
    key = response.json()
    assert key.items() >= {"name": "Production Key", "rateLimit": 1000, "isActive": True, "lastUsed": None}.items()
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
    for response in (await api.get(ada, keys_of(ada)), await api.get(ada, f"{keys_of(ada)}/{key['id']}")):
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
    assert (changed["name"], changed["scopes"], changed["rateLimit"]) == ("New", ["messages:send"], 10)
    assert (await api.put(ada, path, {"rateLimit": None})).json()["rateLimit"] is None
    assert (await api.get(ada, path)).json()["name"] == "New"


async def test_a_deleted_key_is_refused_at_once_and_gone_from_the_api(api: Api, ada: Account) -> None:
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
    with pytest.raises(InvalidApiKey):
        await catalog.key(key["key"])


async def test_the_list_shows_last_used_and_no_other_projects_keys(api: Api) -> None:
    account = await api.register()
    key = await api.key(account)
    other = await api.key(account, await api.project(account))
    body = (await api.get(account, keys_of(account))).json()
    assert [item["id"] for item in body["keys"]] == [key["id"]]
    assert body["keys"][0].keys() >= {"id", "name", "lastUsed", "rateLimit", "isActive", "createdAt"}
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
        ({"name": "k", "kind": "publishable", "scopes": ["messages:read"]}, "scopes[0]", "VALIDATION_ERROR"),
        ({"name": "k", "allowedOrigins": ["https://*.example.com"]}, "allowedOrigins[0]", "VALIDATION_ERROR"),
        ({"name": "k", "allowedOrigins": ["https://example.com/path"]}, "allowedOrigins[0]", "VALIDATION_ERROR"),
        ({"name": "k", "allowedOrigins": ["example.com"]}, "allowedOrigins[0]", "VALIDATION_ERROR"),
        ({"name": "k", "expiresAt": "2020-01-01T00:00:00Z"}, "expiresAt", "VALIDATION_ERROR"),
        ({"name": "k", "expiresAt": "2099-01-01T00:00:00"}, "expiresAt", "VALIDATION_ERROR"),
        ({"name": "k", "expiresAt": "tomorrow"}, "expiresAt", "VALIDATION_ERROR"),
        ({"name": "k", "colour": "red"}, "colour", "UNKNOWN_FIELD"),
        ({"name": "k\u0000"}, "name", "VALIDATION_ERROR"),
    ],
)
async def test_a_wrong_key_is_named(api: Api, ada: Account, body: dict[str, Any], field: str, code: str) -> None:
    response = await api.post(ada, keys_of(ada), body)
    assert (response.status_code, response.json()["code"]) == (400, code), response.text
    assert response.json()["details"]["errors"][0]["field"] == field


async def test_a_live_publishable_key_takes_no_local_origin_and_a_test_key_does(api: Api, ada: Account) -> None:
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
