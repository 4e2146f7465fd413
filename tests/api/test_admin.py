"""What administrators of the server may, and nobody else."""

from __future__ import annotations

import pytest

from tests.api.accounts import Account, Api
from tests.api.apps import make_admin

USERS = "/api/v1/admin/users"
PROJECTS = "/api/v1/admin/projects"


@pytest.fixture
async def admin(api: Api) -> Account:
    account = await api.register()
    await make_admin(api, account)
    return account


async def test_for_others_administration_is_closed(api: Api) -> None:
    account = await api.register()
    await make_admin(api, account, is_admin=False)
    for response in (
        await api.get(account, USERS),
        await api.get(account, f"{USERS}/{account.user_id}"),
        await api.put(account, f"{USERS}/{account.user_id}", {"isPlatformAdmin": True}),
        await api.get(account, PROJECTS),
        await api.put(account, f"{PROJECTS}/{account.project_id}", {"plan": "enterprise"}),
    ):
        assert (response.status_code, response.json()["code"]) == (403, "ACCESS_DENIED")


async def test_users_are_found_by_a_part_of_their_address(api: Api, admin: Account) -> None:
    account = await api.register()
    body = (await api.get(admin, USERS, email=account.email.upper()[:-4])).json()
    assert [user["id"] for user in body["users"]] == [account.user_id]
    assert (await api.get(admin, USERS, email="%_%")).json()["users"] == []


async def test_a_user_who_is_switched_off_is_out_at_once(api: Api, admin: Account) -> None:
    account = await api.register()
    path = f"{USERS}/{account.user_id}"
    assert (await api.put(admin, path, {"isActive": False})).json()["isActive"] is False
    assert (await api.get(account, "/api/v1/auth/me")).status_code == 401
    login = {"email": account.email, "password": account.password}
    assert (await api.client.post("/api/v1/auth/login", json=login)).status_code == 401
    await api.put(admin, path, {"isActive": True})
    assert (
        await api.get(account, "/api/v1/auth/me")
    ).status_code == 401  # the old log-in stays ended
    assert (await api.client.post("/api/v1/auth/login", json=login)).status_code == 200


async def test_a_plan_is_changed_and_logged(api: Api, admin: Account) -> None:
    account = await api.register()
    path = f"{PROJECTS}/{account.project_id}"
    assert (await api.get(admin, path)).json()["plan"] == "enterprise"
    assert (await api.put(admin, path, {"plan": "free"})).json()["plan"] == "free"
    log = (
        await api.get(
            account, f"/api/v1/projects/{account.project_id}/audit", action="project.plan_changed"
        )
    ).json()
    assert [(entry["before"], entry["after"]) for entry in log["entries"]] == [
        ({"plan": "enterprise"}, {"plan": "free"})
    ]
    listed = (await api.get(admin, PROJECTS, limit=100)).json()["projects"]
    assert any(item["id"] == account.project_id and item["plan"] == "free" for item in listed)
    wrong = await api.put(admin, path, {"plan": "gold"})
    assert wrong.status_code == 400


async def test_administering_opens_no_tenants_project(api: Api, admin: Account) -> None:
    account = await api.register()
    assert (await api.get(admin, f"/api/v1/projects/{account.project_id}")).status_code == 404


SEND = {"to": "someone", "connector": "sandbox", "message": "Hello"}


async def test_a_project_switched_off_accepts_nothing_until_an_administrator_switches_it_on(
    api: Api, admin: Account
) -> None:
    account = await api.register()
    bearer = {"Authorization": f"Bearer {(await api.key(account))['key']}"}
    path, ours = f"{PROJECTS}/{account.project_id}", f"/api/v1/projects/{account.project_id}"

    async def send() -> tuple[int, str]:
        response = await api.client.post("/api/v1/messages", json=SEND, headers=bearer)
        return response.status_code, response.json().get("code", "")

    assert (await send())[0] == 202
    assert (await api.put(admin, path, {"isActive": False})).json()["isActive"] is False
    assert await send() == (403, "PROJECT_NOT_ACTIVE")
    # What it has may still be read.
    assert (await api.client.get("/api/v1/messages", headers=bearer)).status_code == 200
    sale = {"name": "Sale", "connector": "sandbox", "message": "Hello", "csv": "to\nsomeone\n"}
    by_person = await api.post(account, f"/api/v1/campaigns?projectId={account.project_id}", sale)
    assert (by_person.status_code, by_person.json()["code"]) == (403, "PROJECT_NOT_ACTIVE")
    assert (await api.get(account, ours)).json()["isActive"] is False
    refused = await api.put(account, ours, {"isActive": True})
    assert (refused.status_code, refused.json()["code"]) == (403, "PROJECT_NOT_ACTIVE")
    assert (await api.put(admin, path, {"isActive": True})).json()["isActive"] is True
    assert (await send())[0] == 202
    log = (await api.get(account, f"{ours}/audit", action="project")).json()
    assert [entry["action"] for entry in log["entries"]][:2] == [
        "project.resumed",
        "project.suspended",
    ]


async def test_the_projects_of_a_user_who_is_switched_off_accept_nothing(
    api: Api, admin: Account
) -> None:
    account = await api.register()
    bearer = {"Authorization": f"Bearer {(await api.key(account))['key']}"}
    await api.put(admin, f"{USERS}/{account.user_id}", {"isActive": False})
    refused = await api.client.post("/api/v1/messages", json=SEND, headers=bearer)
    assert (refused.status_code, refused.json()["code"]) == (403, "PROJECT_NOT_ACTIVE")
    await api.put(admin, f"{USERS}/{account.user_id}", {"isActive": True})
    assert (await api.client.post("/api/v1/messages", json=SEND, headers=bearer)).status_code == 202


async def test_a_deleted_projects_key_is_not_valid(api: Api) -> None:
    account = await api.register()
    bearer = {"Authorization": f"Bearer {(await api.key(account))['key']}"}
    assert (await api.client.post("/api/v1/messages", json=SEND, headers=bearer)).status_code == 202
    assert (await api.delete(account, f"/api/v1/projects/{account.project_id}")).status_code == 204
    refused = await api.client.post("/api/v1/messages", json=SEND, headers=bearer)
    assert (refused.status_code, refused.json()["code"]) == (401, "INVALID_API_KEY")
