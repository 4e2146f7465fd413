"""Members and invitations: there is always an owner, and an invitation is good once, for one
address.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta
from urllib.parse import parse_qs, urlsplit

import pytest
from sqlmodel import col, update

from backend.ids import new_id
from backend.models import Invitation
from backend.models.base import utc_now
from backend.settings import Settings
from tests.api.accounts import PASSWORD, Account, Api
from tests.api.apps import another_api, user_of

ACCEPT = "/api/v1/invitations/accept"


def members(account: Account) -> str:
    return f"/api/v1/projects/{account.project_id}/members"


def invitations(account: Account) -> str:
    return f"/api/v1/projects/{account.project_id}/invitations"


async def invite(api: Api, owner: Account, email: str, role: str = "developer") -> str:
    """Return the token."""
    response = await api.post(owner, invitations(owner), {"email": email, "role": role})
    assert response.status_code == 201, response.text
    url: str = response.json()["url"]
    return parse_qs(urlsplit(url).query)["token"][0]


async def join(api: Api, owner: Account, role: str) -> Account:
    """Return a new user who has accepted an invitation to the owner's project."""
    account = await api.register()
    token = await invite(api, owner, account.email, role)
    response = await api.post(account, ACCEPT, {"token": token})
    assert response.status_code == 200, response.text
    assert response.json() == {"projectId": owner.project_id, "role": role}
    return account


async def test_an_invited_user_joins_with_the_role_and_is_listed(api: Api) -> None:
    owner = await api.register(name="Grace")
    viewer = await join(api, owner, "viewer")
    body = (await api.get(viewer, members(owner))).json()
    assert body["pagination"]["total"] == 2
    assert [(member["userId"], member["role"]) for member in body["members"]] == [
        (viewer.user_id, "viewer"),
        (owner.user_id, "owner"),
    ]
    assert body["members"][0].keys() == {
        "userId",
        "email",
        "name",
        "role",
        "createdAt",
        "updatedAt",
    }
    assert (await api.get(owner, invitations(owner))).json()["invitations"] == []


async def test_the_list_of_members_goes_on_at_its_cursor(api: Api) -> None:
    owner = await api.register()
    joined = [await join(api, owner, "viewer") for _ in range(2)]
    seen: list[str] = []
    cursor: dict[str, str] = {}
    while True:
        page = (await api.get(owner, members(owner), limit=1, **cursor)).json()
        seen += [member["userId"] for member in page["members"]]
        if not page["pagination"]["hasMore"]:
            break
        cursor = {"cursor": page["pagination"]["nextCursor"]}
    assert seen == [joined[1].user_id, joined[0].user_id, owner.user_id]


async def test_a_role_is_changed_and_holds_at_once(api: Api) -> None:
    owner = await api.register()
    member = await join(api, owner, "viewer")
    body = {"name": "Key"}
    keys = f"/api/v1/projects/{owner.project_id}/keys"
    assert (await api.post(member, keys, body)).status_code == 403
    response = await api.put(owner, f"{members(owner)}/{member.user_id}", {"role": "developer"})
    assert (response.status_code, response.json()["role"]) == (200, "developer")
    assert (await api.post(member, keys, body)).status_code == 201


async def test_a_removed_member_finds_the_project_no_more(api: Api) -> None:
    owner = await api.register()
    member = await join(api, owner, "admin")
    assert (await api.delete(owner, f"{members(owner)}/{member.user_id}")).status_code == 204
    response = await api.get(member, f"/api/v1/projects/{owner.project_id}")
    assert (response.status_code, response.json()["code"]) == (404, "PROJECT_NOT_FOUND")
    gone = await api.get(owner, f"{members(owner)}/{member.user_id}")
    assert (gone.status_code, gone.json()["code"]) == (404, "MEMBER_NOT_FOUND")


async def test_everybody_may_leave_but_the_last_owner(api: Api) -> None:
    owner = await api.register()
    viewer = await join(api, owner, "viewer")
    assert (await api.delete(viewer, f"{members(owner)}/{viewer.user_id}")).status_code == 204
    for response in (
        await api.delete(owner, f"{members(owner)}/{owner.user_id}"),
        await api.put(owner, f"{members(owner)}/{owner.user_id}", {"role": "admin"}),
    ):
        assert (response.status_code, response.json()["code"]) == (409, "LAST_OWNER")


async def test_of_two_owners_who_leave_at_once_one_stays(api: Api) -> None:
    owner = await api.register()
    second = await join(api, owner, "owner")
    responses = await asyncio.gather(
        api.delete(owner, f"{members(owner)}/{owner.user_id}"),
        api.delete(second, f"{members(owner)}/{second.user_id}"),
    )
    assert sorted(response.status_code for response in responses) == [204, 409]


async def test_an_admin_neither_makes_nor_unmakes_owners(api: Api) -> None:
    owner = await api.register()
    admin = await join(api, owner, "admin")
    for response in (
        await api.put(admin, f"{members(owner)}/{admin.user_id}", {"role": "owner"}),
        await api.put(admin, f"{members(owner)}/{owner.user_id}", {"role": "viewer"}),
        await api.delete(admin, f"{members(owner)}/{owner.user_id}"),
        await api.post(admin, invitations(owner), {"email": "a@example.com", "role": "owner"}),
    ):
        assert (response.status_code, response.json()["code"]) == (403, "ACCESS_DENIED")


async def test_an_invitation_is_good_once(api: Api) -> None:
    owner = await api.register()
    guest = await api.register()
    token = await invite(api, owner, guest.email)
    statuses = [(await api.post(guest, ACCEPT, {"token": token})).status_code for _ in range(2)]
    assert statuses == [200, 400]
    again = await api.post(owner, invitations(owner), {"email": guest.email})
    assert (again.status_code, again.json()["code"]) == (409, "ALREADY_MEMBER")


async def test_an_invitation_is_for_its_address_only(api: Api) -> None:
    owner = await api.register()
    thief = await api.register()
    token = await invite(api, owner, f"{new_id()}@example.com")
    response = await api.post(thief, ACCEPT, {"token": token})
    assert (response.status_code, response.json()["code"]) == (403, "ACCESS_DENIED")


async def test_a_revoked_replaced_or_expired_invitation_is_refused(api: Api) -> None:
    owner = await api.register()
    guest = await api.register()
    replaced = await invite(api, owner, guest.email)
    expired = await invite(api, owner, guest.email)
    async with api.platform.database.transaction() as session:
        past = utc_now() - timedelta(seconds=1)
        await session.exec(
            update(Invitation).where(col(Invitation.email) == guest.email).values(expires_at=past)
        )
    revoked = await invite(api, owner, guest.email)
    pending = (await api.get(owner, invitations(owner))).json()["invitations"]
    assert [item["email"] for item in pending] == [guest.email]
    assert "url" not in pending[0]
    path = f"{invitations(owner)}/{pending[0]['id']}"
    assert [(await api.delete(owner, path)).status_code for _ in range(2)] == [204, 404]
    for token in (replaced, expired, revoked, "iv_nothing"):
        response = await api.post(guest, ACCEPT, {"token": token})
        assert (response.status_code, response.json()["code"]) == (400, "INVALID_LINK")


@pytest.mark.parametrize("change", ["demoted", "removed", "switched off"])
async def test_an_invitation_from_somebody_who_may_no_longer_invite_is_refused(
    api: Api, change: str
) -> None:
    owner = await api.register()
    admin = await join(api, owner, "admin")
    guest = await api.register()
    token = await invite(api, replace(owner, token=admin.token), guest.email)
    if change == "demoted":
        await api.put(owner, f"{members(owner)}/{admin.user_id}", {"role": "developer"})
    elif change == "removed":
        await api.delete(owner, f"{members(owner)}/{admin.user_id}")
    else:
        async with api.platform.database.transaction() as session:
            (await user_of(session, admin)).is_active = False
    response = await api.post(guest, ACCEPT, {"token": token})
    assert (response.status_code, response.json()["code"]) == (400, "INVALID_LINK")


async def test_registering_with_an_invitation_joins_its_project(api: Api) -> None:
    owner = await api.register()
    email = f"{new_id()}@example.com"
    token = await invite(api, owner, email, "admin")
    account = await api.register(email=email, invitation=token)
    assert account.project_id == owner.project_id
    mine = (await api.get(account, f"{members(owner)}/{account.user_id}")).json()
    assert mine["role"] == "admin"


async def test_a_failed_registration_leaves_the_invitation(api: Api) -> None:
    owner = await api.register()
    taken = await api.register()
    token = await invite(api, owner, taken.email)
    body = {"email": taken.email, "password": PASSWORD, "invitation": token}
    assert (await api.client.post("/api/v1/auth/register", json=body)).status_code == 409
    assert (await api.post(taken, ACCEPT, {"token": token})).status_code == 200


@pytest.mark.parametrize(
    ("registration", "expected", "refusal"),
    [("invite", 201, (400, "INVALID_LINK")), ("closed", 403, (403, "REGISTRATION_CLOSED"))],
)
async def test_where_registration_is_not_open_only_an_invitation_helps_if_anything(
    api: Api, settings: Settings, registration: str, expected: int, refusal: tuple[int, str]
) -> None:
    owner = await api.register()
    email = f"{new_id()}@example.com"
    token = await invite(api, owner, email)
    body = {"email": email, "password": PASSWORD}
    async with another_api(settings, registration=registration) as server:
        assert (await server.client.get("/api/v1/instance")).json()["registration"] == registration
        bare = await server.client.post("/api/v1/auth/register", json=body)
        assert (bare.status_code, bare.json()["code"]) == (403, "REGISTRATION_CLOSED")
        wrong = await server.client.post(
            "/api/v1/auth/register", json={**body, "invitation": "iv_made_up"}
        )
        assert (wrong.status_code, wrong.json()["code"]) == refusal
        invited = await server.client.post(
            "/api/v1/auth/register", json={**body, "invitation": token}
        )
        assert invited.status_code == expected


async def test_an_address_registers_only_so_many(settings: Settings) -> None:
    async with (
        another_api(settings, registrations_per_address=2) as server,
        server.from_address(f"2001:db8:{new_id().hex[-4:]}::1") as client,
    ):
        statuses = []
        for _ in range(3):
            body = {"email": f"{new_id()}@example.com", "password": PASSWORD}
            response = await client.post("/api/v1/auth/register", json=body)
            statuses.append(response.status_code)
        assert statuses == [201, 201, 429]
        assert int(response.headers["retry-after"]) <= 3600
