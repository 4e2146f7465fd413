"""Every route that changes something writes an entry: what, who, and from where."""

from __future__ import annotations

from typing import Any, Final
from uuid import UUID, uuid4

import pytest
from sqlmodel import col, select

from backend import ids
from backend.api.resources.audit.bodies import subject_id_of
from backend.ids import new_id
from backend.models import AuditEntry, DeadLetter
from tests.api.accounts import PASSWORD, Account, Api
from tests.api.apps import make_admin
from tests.api.sample_bodies import filled, operations
from tests.services.stored_messages import row, save
from tests.world import World

_ADDRESS: Final = "192.0.2.77"
# The message with its key, the mail or the session is the record of these; nobody is logged in yet
# where an account is made, found again or opened.
_NOT_LOGGED: Final = {
    "POST /api/v1/messages", "POST /api/v1/messages/text", "POST /api/v1/send",
    "POST /api/v1/messages/batch", "POST /api/v1/messages/preview", "POST /api/v1/send-tokens",
    "POST /api/v1/callbacks/{connectorId}",
    "POST /api/v1/projects/{projectId}/templates/{templateId}/preview",
    "POST /api/v1/auth/register", "POST /api/v1/auth/login", "POST /api/v1/auth/logout",
    "POST /api/v1/auth/refresh", "POST /api/v1/auth/refresh-token",
    "POST /api/v1/auth/password-reset", "POST /api/v1/auth/email-confirmation",
    # tests/messagejs_app/test_audit.py follows these two links.
    "POST /api/v1/auth/password-reset/confirm", "POST /api/v1/auth/email-confirmation/confirm",
}  # fmt: skip


class Walk:
    """Calls routes as one caller, and asks the log after each."""

    def __init__(self, api: Api, headers: dict[str, str], *, actor: UUID | None, key: UUID | None):
        self.api, self.headers = api, headers
        self.actor, self.key = actor, key
        self.ids: dict[str, str] = {}
        self.routes: set[str] = set()

    async def change(self, route: str, action: str, body: Any = None, query: str = "") -> Any:
        """Return the answer's body."""
        self.routes.add(route)
        before = await self._entries()
        method, path = route.split(" ")
        async with self.api.from_address(_ADDRESS) as client:
            answer = await client.request(
                method, filled(path, **self.ids) + query, headers=self.headers, json=body
            )
        assert answer.status_code < 300, (route, answer.text)
        new = [entry for entry in await self._entries() if entry not in before]
        assert action in {entry[1] for entry in new}, (route, new)
        assert {entry[2:] for entry in new} == {(self.actor, self.key, _ADDRESS)}, (route, new)
        return answer.json() if answer.content else None

    async def create(self, route: str, action: str, name: str, body: Any, query: str = "") -> Any:
        created = await self.change(route, action, body, query)
        self.ids[name] = created["id"]
        return created

    async def _entries(self) -> list[tuple[Any, ...]]:
        async with self.api.platform.database.session() as session:
            rows = await session.exec(select(AuditEntry).order_by(col(AuditEntry.id)))
            return [
                (entry.id, entry.action, entry.actor_id, entry.key_id, entry.address)
                for entry in rows
            ]


@pytest.mark.usefixtures("api")
async def test_every_route_that_changes_something_says_who_and_from_where(api: Api) -> None:
    account = await api.register()
    await make_admin(api, account)
    walk = Walk(api, account.headers, actor=ids.decode(ids.USER, account.user_id), key=None)
    walk.ids = {"projectId": account.project_id, "userId": account.user_id}
    await _change_project(walk)
    await _change_catalog(walk)
    await _change_campaigns(walk, account)
    await _change_messages(walk, account)
    await _change_dead_letters(walk, account)
    routes = walk.routes | await _change_people(walk)
    document = (await api.client.get("/api/openapi.json")).json()
    changing = {f"{method} {path}" for method, path, _ in operations(document) if method != "GET"}
    assert changing - routes - _NOT_LOGGED == set()
    entries = (await api.get(account, "/api/v1/admin/audit", limit=100)).json()["entries"]
    subjects = [entry["subject"] for entry in entries if entry["subject"] is not None]
    assert all(subject_id_of(subject) is not None for subject in subjects), subjects
    assert _NOT_LOGGED - changing == set()


async def test_what_a_key_changes_names_the_key(api: Api) -> None:
    account = await api.register()
    scopes = ["messages:send", "messages:read"]
    key = await api.key(account, scopes=scopes)
    key_id = ids.decode(ids.KEY, key["id"])
    walk = Walk(api, {"Authorization": f"Bearer {key['key']}"}, actor=None, key=key_id)
    walk.ids = {"projectId": account.project_id}
    await _change_campaigns(walk, account)
    await _change_messages(walk, account)
    await _change_dead_letters(walk, account)


async def _change_project(walk: Walk) -> None:
    project = "/api/v1/projects/{projectId}"
    await walk.change("POST /api/v1/projects", "project.created", {"name": "Second"})
    await walk.change(f"PUT {project}", "project.updated", {"name": "Renamed"})
    await walk.change(
        "PUT /api/v1/admin/projects/{projectId}", "project.plan_changed", {"plan": "free"}
    )


async def _change_catalog(walk: Walk) -> None:
    project = "/api/v1/projects/{projectId}"
    key = f"{project}/keys/{{keyId}}"
    await walk.create(f"POST {project}/keys", "key.created", "keyId", {"name": "Server"})
    await walk.change(f"PUT {key}", "key.updated", {"name": "Renamed"})
    await walk.change(f"POST {key}/regenerate", "key.regenerated")
    await walk.change(f"DELETE {key}", "key.revoked")
    connector = f"{project}/connectors/{{connectorId}}"
    sandbox = {"type": "sandbox", "name": "Box"}
    for path in ("services", "connectors"):
        await walk.create(
            f"POST {project}/{path}", "connector.created", "connectorId", {**sandbox, "name": path}
        )
    await walk.change(f"PUT {connector}", "connector.updated", {"name": "Renamed"})
    await walk.change(f"POST {connector}/test", "connector.tested")
    await walk.change(f"POST {connector}/deactivate", "connector.updated")
    await walk.change(f"POST {connector}/activate", "connector.updated")
    await walk.change(f"DELETE {connector}", "connector.deleted")
    template = f"{project}/templates/{{templateId}}"
    text = {"name": "t", "connectorType": "sandbox", "content": "Hello"}
    await walk.create(f"POST {project}/templates", "template.created", "templateId", text)
    await walk.change(f"PUT {template}", "template.updated", {"content": "Changed"})
    await walk.change(f"POST {template}/rollback", "template.rolled_back", {"version": 1})
    await walk.change(f"POST {template}/deactivate", "template.updated")
    await walk.change(f"POST {template}/activate", "template.updated")
    await walk.change(f"DELETE {template}", "template.deleted")
    route = f"{project}/routes/{{routeId}}"
    steps = {"name": "urgent", "steps": [{"channel": "sandbox"}]}
    await walk.create(f"POST {project}/routes", "route.created", "routeId", steps)
    await walk.change(f"PUT {route}", "route.updated", {"name": "calm"})
    await walk.change(f"DELETE {route}", "route.deleted")


async def _change_campaigns(walk: Walk, account: Account) -> None:
    path = f"/api/v1/projects/{account.project_id}/connectors"
    connectors = (await walk.api.get(account, path)).json()["connectors"]
    draft = {
        "name": "Sale",
        "csv": "to\nsomeone\n",
        "message": "Hello",
        "connectorId": connectors[0]["id"],
        "start": False,
    }
    query = "" if walk.actor is None else f"?projectId={account.project_id}"
    campaign = "/api/v1/campaigns/{campaignId}"
    await walk.create("POST /api/v1/campaigns", "campaign.created", "campaignId", draft, query)
    await walk.change(f"POST {campaign}/resume", "campaign.resumed")
    await walk.change(f"POST {campaign}/pause", "campaign.paused")
    await walk.change(f"POST {campaign}/cancel", "campaign.canceled")


async def _change_messages(walk: Walk, account: Account) -> None:
    walk.ids["messageId"] = await _give_up(walk.api, account)
    resent = await walk.change("POST /api/v1/messages/{messageId}/resend", "message.resent")
    walk.ids["messageId"] = resent["messageId"]
    await walk.change("POST /api/v1/messages/{messageId}/cancel", "message.canceled")


async def _change_dead_letters(walk: Walk, account: Account) -> None:
    query = "" if walk.actor is None else f"?projectId={account.project_id}"
    letters = "/api/v1/dead-letters"
    for route, action, path in (
        (f"POST {letters}/{{messageId}}/redrive", "dead_letters.redriven", ""),
        (f"POST {letters}/redrive", "dead_letters.redriven", query),
        (f"DELETE {letters}/{{messageId}}", "dead_letters.discarded", ""),
        (f"POST {letters}/discard", "dead_letters.discarded", query),
    ):
        walk.ids["messageId"] = await _give_up(walk.api, account)
        body = {"messageIds": [walk.ids["messageId"]]} if route.endswith("s/redrive") else None
        if route.endswith("discard"):
            body = {"messageIds": [walk.ids["messageId"]]}
        await walk.change(route, action, body, path)


async def _give_up(api: Api, account: Account) -> str:
    project_id = ids.decode(ids.PROJECT, account.project_id)
    assert project_id is not None
    listed = await api.get(account, f"/api/v1/projects/{account.project_id}/connectors")
    connector_id = ids.decode(ids.CONNECTOR, listed.json()["connectors"][0]["id"])
    world = World(api.platform, uuid4(), project_id)
    message = row(world, status="failed", connector_id=connector_id)
    await save(world, message, DeadLetter(message_id=message.id, project_id=project_id))
    return ids.encode(ids.MESSAGE, message.id)


async def _change_people(walk: Walk) -> set[str]:
    """The last part: it ends what the walk stands on."""
    api, project = walk.api, "/api/v1/projects/{projectId}"
    bob = await api.register()
    invitation = {"email": f"{new_id()}@example.com", "role": "viewer"}
    await walk.create(
        f"POST {project}/invitations", "invitation.created", "invitationId", invitation
    )
    await walk.change(f"DELETE {project}/invitations/{{invitationId}}", "invitation.revoked")
    created = await walk.create(
        f"POST {project}/invitations",
        "invitation.created",
        "invitationId",
        {"email": bob.email, "role": "viewer"},
    )
    as_bob = Walk(api, bob.headers, actor=ids.decode(ids.USER, bob.user_id), key=None)
    token = created["url"].partition("token=")[2]
    await as_bob.change("POST /api/v1/invitations/accept", "member.joined", {"token": token})
    walk.ids["userId"] = bob.user_id
    await walk.change(f"PUT {project}/members/{{userId}}", "member.role_changed", {"role": "owner"})
    await walk.change(f"DELETE {project}/members/{{userId}}", "member.removed")
    await _end_session(as_bob, bob)
    new = {"currentPassword": PASSWORD, "newPassword": "another battery staple"}
    await as_bob.change("POST /api/v1/auth/password", "password.changed", new)
    await walk.change("PUT /api/v1/admin/users/{userId}", "user.updated", {"isActive": False})
    await walk.change(f"DELETE {project}", "project.deleted")
    return as_bob.routes | walk.routes


async def _end_session(walk: Walk, account: Account) -> None:
    async with walk.api.from_address(_ADDRESS) as client:
        log_in = {"email": account.email, "password": PASSWORD}
        await client.post("/api/v1/auth/login", json=log_in)
    sessions = (await walk.api.get(account, "/api/v1/auth/sessions")).json()["sessions"]
    walk.ids["sessionId"] = next(item["id"] for item in sessions if not item["isCurrent"])
    await walk.change("DELETE /api/v1/auth/sessions/{sessionId}", "session.ended")
