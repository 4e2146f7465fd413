"""The audit log: every change with who, what and from where, and no secret in it."""

from __future__ import annotations

from typing import Any

import orjson
from sqlmodel import select

from backend import ids
from backend.ids import new_id
from backend.models import AuditEntry
from tests.api.accounts import PASSWORD, Account, Api
from tests.api.apps import make_admin
from tests.api.sample_bodies import filled, operations, sample_body

SECRET = "s3cretMarker"
_SECRET_WORDS = ("password", "secret", "token", "credentials", "apikey")


def audit(account: Account) -> str:
    return f"/api/v1/projects/{account.project_id}/audit"


async def entries(api: Api, account: Account, **params: Any) -> list[dict[str, Any]]:
    response = await api.get(account, audit(account), **params)
    assert response.status_code == 200, response.text
    result: list[dict[str, Any]] = response.json()["entries"]
    return result


async def test_a_change_says_who_what_when_and_from_where(api: Api) -> None:
    account = await api.register(name="Grace")
    key = await api.key(account, name="Shop")
    await api.put(
        account, f"/api/v1/projects/{account.project_id}/keys/{key['id']}", {"name": "Store"}
    )
    newest = (await entries(api, account))[0]
    assert newest.keys() == {
        "id", "createdAt", "projectId", "actor", "keyId", "action", "subject", "address", "before",
        "after",
    }  # fmt: skip
    assert newest["action"] == "key.updated"
    assert newest["subject"] == key["id"]
    assert newest["actor"] == {"id": account.user_id, "email": account.email, "name": "Grace"}
    assert newest["address"] == "127.0.0.1"
    assert (newest["before"]["name"], newest["after"]["name"]) == ("Shop", "Store")


async def test_entries_are_found_by_actor_action_subject_and_time(api: Api) -> None:
    account = await api.register()
    first = await api.key(account, name="One")
    second = await api.key(account, name="Two")
    assert [entry["subject"] for entry in await entries(api, account, action="key.created")] == [
        second["id"],
        first["id"],
    ]
    assert {
        entry["action"].partition(".")[0] for entry in await entries(api, account, action="key")
    } == {"key"}
    assert await entries(api, account, action="ke") == []
    assert [entry["action"] for entry in await entries(api, account, subject=first["id"])] == [
        "key.created"
    ]
    assert len(await entries(api, account, actor=account.user_id)) >= 3
    assert await entries(api, account, actor=ids.encode(ids.USER, new_id())) == []
    assert await entries(api, account, actor=first["id"]) == []
    assert await entries(api, account, to="2024-01-01") == []
    assert len(await entries(api, account, **{"from": "2024-01-01"})) >= 3


async def test_the_log_has_pages(api: Api) -> None:
    account = await api.register()
    for number in range(3):
        await api.key(account, name=f"Key {number}")
    page = (await api.get(account, audit(account), limit=2, action="key")).json()
    assert (len(page["entries"]), page["pagination"]["total"], page["pagination"]["hasMore"]) == (
        2,
        3,
        True,
    )
    rest = await entries(
        api, account, limit=2, action="key", cursor=page["pagination"]["nextCursor"]
    )
    assert len(rest) == 1


async def test_a_filter_that_isnt_an_id_is_named(api: Api, ada: Account) -> None:
    for name in ("actor", "subject"):
        response = await api.get(ada, audit(ada), **{name: "nonsense"})
        assert (response.status_code, response.json()["details"]["errors"][0]["field"]) == (
            400,
            name,
        )


async def test_one_projects_log_shows_nothing_of_another(api: Api) -> None:
    first, second = await api.register(), await api.register()
    await api.key(first)
    key = await api.key(second)
    assert await entries(api, first, subject=key["id"]) == []


async def test_only_administrators_of_the_server_read_the_whole_log(api: Api) -> None:
    account = await api.register()
    assert (await api.get(account, "/api/v1/admin/audit")).status_code == (403)
    await make_admin(api, account)
    body = (await api.get(account, "/api/v1/admin/audit", subject=account.user_id)).json()
    assert [entry["action"] for entry in body["entries"]] == ["user.registered"]


async def test_what_happens_to_an_account_is_in_the_servers_log(api: Api) -> None:
    account = await api.register()
    async with api.from_address("192.0.2.77") as client:
        await client.post(
            "/api/v1/auth/login", json={"email": account.email, "password": "wrong password"}
        )
        await client.post("/api/v1/auth/login", json={"email": account.email, "password": PASSWORD})
    await api.post(
        account,
        "/api/v1/auth/password",
        {"currentPassword": PASSWORD, "newPassword": "another password"},
    )
    await make_admin(api, account)
    result = (await api.get(account, "/api/v1/admin/audit", subject=account.user_id)).json()[
        "entries"
    ]
    assert [(item["action"], item["address"]) for item in result] == [
        ("password.changed", "127.0.0.1"),
        ("user.logged_in", "192.0.2.77"),
        ("user.login_failed", "192.0.2.77"),
        ("user.registered", "127.0.0.1"),
    ]


def _marked(value: Any, name: str = "") -> Any:
    """Return the body with a marker in everything that may be secret."""
    if isinstance(value, dict):
        if name.lower() == "credentials":
            return dict.fromkeys(value, SECRET) or value
        return {field: _marked(item, field) for field, item in value.items()}
    if isinstance(value, str) and any(word in name.lower() for word in _SECRET_WORDS):
        return f"{SECRET}{new_id().hex}"
    return value


def _secrets_in(value: Any, name: str = "") -> set[str]:
    """Return what an answer reveals once: keys, tokens, links."""
    if isinstance(value, dict):
        return {result for field, item in value.items() for result in _secrets_in(item, field)}
    if isinstance(value, list):
        return {result for item in value for result in _secrets_in(item, name)}
    if (
        isinstance(value, str)
        and len(value) > 20
        and name.lower() in {"key", "token", "refreshtoken", "url", "secret"}
    ):
        return {value.rpartition("token=")[2]}
    return set()


async def test_no_mutating_route_leaves_a_secret_in_the_log(api: Api) -> None:
    """Over all routes of the OpenAPI document, each with a body that has markers where secrets
    go.
    """
    account = await api.register()
    await make_admin(api, account)
    secrets = {SECRET, PASSWORD, account.token, account.refresh_token}
    document = (await api.client.get("/api/openapi.json")).json()
    known = await _resources(api, account, secrets)
    changing = [
        item
        for item in operations(document)
        if item[0] != "GET" and not _ends_it_all(item[0], item[1])
    ]
    changing.sort(key=lambda item: item[0] == "DELETE")
    for method, path, operation in changing:
        for everything in (False, True):
            body = _marked(sample_body(document, operation, everything=everything))
            response = await api.client.request(
                method, filled(path, **known), headers=account.headers, json=body
            )
            # A sweep: what is asked of each route is nonsense, and a provider that cannot be
            # reached is a 502.
            assert response.status_code < 500 or response.status_code in {502, 503}, (
                method,
                path,
                response.text,
            )
            if response.headers.get("content-type", "").startswith("application/json"):
                secrets |= _secrets_in(response.json())
    await api.platform.mail.idle()
    async with api.platform.database.session() as session:
        rows = (await session.exec(select(AuditEntry))).all()
    texts = [
        orjson.dumps([row.action, row.before, row.after, row.address]).decode() for row in rows
    ]
    leaks = [text for text in texts if any(secret in text for secret in secrets)]
    assert leaks == []
    project_id = ids.decode(ids.PROJECT, account.project_id)
    assert {row.action for row in rows if row.project_id == project_id} >= {
        "project.created", "project.updated", "project.plan_changed", "invitation.created",
        "invitation.revoked",
        "key.created", "key.updated", "key.revoked", "connector.created", "connector.updated",
        "connector.deleted",
        "template.created", "template.updated", "template.deleted",
    }  # fmt: skip


def _ends_it_all(method: str, path: str) -> bool:
    """What would log the test itself out, or take away what the others need."""
    return path.endswith(("/auth/logout", "/admin/users/{userId}")) or (
        method == "DELETE" and path.endswith(("/projects/{projectId}", "/members/{userId}"))
    )


async def _resources(api: Api, account: Account, secrets: set[str]) -> dict[str, str]:
    """Make one of each, and return their ids by path parameter."""
    project = f"/api/v1/projects/{account.project_id}"
    bodies = {
        "keyId": ("keys", {"name": "Key"}),
        "connectorId": (
            "connectors",
            {
                "type": "telegram",
                "name": "Bot",
                "credentials": {"botToken": f"123456789:{SECRET}{'x' * 25}"},
            },
        ),
        "templateId": ("templates", {"name": "t", "connectorType": "sandbox", "content": "Hello"}),
        "routeId": ("routes", {"name": "urgent", "steps": [{"channel": "sandbox"}]}),
        "invitationId": ("invitations", {"email": f"{new_id()}@example.com"}),
    }
    known = {
        "projectId": account.project_id,
        "userId": account.user_id,
        "sessionId": ids.encode(ids.SESSION, new_id()),
    }
    for name, (plural, body) in bodies.items():
        response = await api.post(account, f"{project}/{plural}", body)
        assert response.status_code == 201, response.text
        secrets |= _secrets_in(response.json())
        known[name] = response.json()["id"]
    return {**known, "messageId": ids.encode(ids.MESSAGE, new_id()), "version": "1"}
