"""Every change that a page makes is in the audit log: what, who, and from where."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any, Final
from uuid import UUID, uuid4

from sqlalchemy import text

from backend import ids
from backend.models import AccountToken, DeadLetter
from backend.models.base import utc_now
from backend.services.accounts.tokens import token_hash
from tests.messagejs_app.conftest import PASSWORD, Dashboard, Person, Tab, handlers
from tests.messagejs_app.drafts import make_draft
from tests.services.stored_messages import row, save
from tests.world import World

_ADDRESS: Final = "203.0.113.77"
# Events that change nothing that is kept: they show, choose, fill in, ask and close.
_SHOWING: Final = {
    "campaigns_state": "load show_cancel watch",
    "confirm": "load",
    "connector_form_state": "ask_delete load",
    "connectors_state": "ask_delete load show_delete",
    "dead_letters_state": "ask choose choose_page close filter_by load",
    "draft_state": "check choose_column choose_connector choose_template choose_what load write",
    "editor_state": "choose_kind give_sample load show_test write",
    "forgot": "load",
    "frame": "fill_palette show_keys",
    "invitation_state": "load",
    "keys_state": "ask_revoke choose_kind choose_new_mode done load show_create show_revoke store",
    "logins_state": "load",
    "messages_state": "choose clear clear_time close load search toggle_live watch",
    "overview_state": "choose_language choose_window hide_setup load watch",
    "people_state": "ask_remove load show_invite show_remove",
    "playground_state": (
        "choose_connector choose_language choose_template choose_what fill follow load"
    ),
    "quiet_hours_state": "load switch",
    "reset": "load",
    "retention_state": "choose load",
    "routes_state": "add ask_delete edit load show_delete show_form",
    "session": "choose_mode choose_project",
    "settings_state": "load",
    "sign_in": "load",
    "templates_state": "ask_delete load show_delete",
}
# The message or the mail is the record of these.
_SENDING: Final = {
    "editor_state": "send_test",
    "forgot": "ask",
    "overview_state": "send_first",
    "playground_state": "send",
    "settings_state": "send_confirmation",
}


def _names(events: dict[str, str]) -> set[str]:
    return {f"{state}.{name}" for state, names in events.items() for name in names.split()}


class Walk:
    """Calls the events of a tab, and asks the log after each one that changes something."""

    def __init__(self, dashboard: Dashboard, tab: Tab, user_id: UUID) -> None:
        self.dashboard, self.tab, self.user_id = dashboard, tab, user_id
        self.changed: set[str] = set()

    async def show(self, handler: str, path: str = "/", **payload: Any) -> None:
        assert handler in _names(_SHOWING)
        await self._call(handler, path, payload)

    async def change(self, handler: str, action: str, path: str = "/", **payload: Any) -> None:
        self.changed.add(handler)
        async with self._is_logged(handler, action):
            await self._call(handler, path, payload)

    async def _call(self, handler: str, path: str, payload: dict[str, Any]) -> None:
        self.tab.call(self.dashboard.named(handler), payload, path=path)
        await self.dashboard.settled(self.tab)

    @asynccontextmanager
    async def _is_logged(self, handler: str, action: str) -> AsyncIterator[None]:
        before = await _last_entry(self.dashboard)
        yield
        entries = await _entries_after(self.dashboard, before)
        expected = [(action, self.user_id, _ADDRESS)]
        assert entries == expected, (handler, self.tab.seen[-1])


async def _last_entry(dashboard: Dashboard) -> UUID:
    async with dashboard.platform.database.engine.connect() as connection:
        result = await connection.execute(
            text("SELECT id FROM audit_entries ORDER BY id DESC LIMIT 1")
        )
        last: UUID = result.scalar_one()
        return last


async def _entries_after(dashboard: Dashboard, entry_id: UUID) -> list[tuple[str, Any, str]]:
    query = "SELECT action, actor_id, address FROM audit_entries WHERE id > :id ORDER BY id"
    async with dashboard.platform.database.engine.connect() as connection:
        result = await connection.execute(text(query), {"id": entry_id})
        return [(entry.action, entry.actor_id, entry.address) for entry in result]


async def _walk(dashboard: Dashboard, person: Person) -> Walk:
    tab = dashboard.tab(person, address=_ADDRESS)
    await tab.open("/")
    await tab.until(lambda: tab.value("session", "is_ready"))
    return Walk(dashboard, tab, await _user_id(person))


async def _user_id(person: Person) -> UUID:
    me = (await person.client.get("/api/v1/auth/me")).json()["user"]["id"]
    user_id = ids.decode(ids.USER, me)
    assert user_id is not None
    return user_id


async def test_every_change_by_a_page_says_who_and_from_where(dashboard: Dashboard) -> None:
    ada = await dashboard.person()
    walk = await _walk(dashboard, ada)
    await _change_connectors(walk, ada)
    await _change_templates(walk)
    await _change_routes(walk)
    await _change_keys(walk)
    await _change_project(walk)
    await _change_campaigns(walk, ada)
    await _change_dead_letters(walk, ada)
    changed = await _change_people(dashboard, walk)
    changed |= await _change_accounts(dashboard, walk, ada) | walk.changed
    events = {
        name.rpartition("____")[2]
        for name in handlers()
        if "messagejs_app___" in name and "____" in name
    }
    ours = {name for name in events if not name.endswith(".setvar")}
    silent = _names(_SHOWING) | _names(_SENDING)
    assert ours - changed - silent == set()
    assert silent - ours == set()


async def _change_connectors(walk: Walk, person: Person) -> None:
    new = "/connectors/new?type=sandbox"
    await walk.show("connector_form_state.load", new)
    await walk.change(
        "connector_form_state.save", "connector.created", new, data={"name": "Second"}
    )
    base = f"/api/v1/projects/{person.project_id}/connectors"
    listed = (await person.client.get(base)).json()["connectors"]
    connector_id = next(item["id"] for item in listed if item["name"] == "Second")
    path = f"/connectors/{connector_id}"
    await walk.show("connector_form_state.load", path)
    await walk.change(
        "connector_form_state.save", "connector.updated", path, data={"name": "Renamed"}
    )
    await walk.change("connector_form_state.test", "connector.tested", path)
    await walk.change("connectors_state.test", "connector.tested", connector_id=connector_id)
    await walk.show("connector_form_state.load", path)
    await walk.change("connector_form_state.set_active", "connector.updated", path, is_active=False)
    await walk.change(
        "connectors_state.set_active",
        "connector.updated",
        connector_id=connector_id,
        is_active=True,
    )
    await walk.change(
        "connectors_state.make_default", "connector.updated", connector_id=connector_id
    )
    await walk.show("connectors_state.ask_delete", connector_id=connector_id, name="x")
    await walk.change("connectors_state.delete", "connector.deleted")
    created = await person.post(base, {"type": "sandbox", "name": "Third"})
    path = f"/connectors/{created['id']}"
    await walk.show("connector_form_state.load", path)
    await walk.show("connector_form_state.ask_delete", path, is_open=True)
    await walk.change("connector_form_state.delete", "connector.deleted", path)


async def _change_templates(walk: Walk) -> None:
    await walk.show("editor_state.load", "/templates/new")
    data = {"name": "Hello", "content": "Hello"}
    await walk.change("editor_state.save", "template.created", "/templates/new", data=data)
    await walk.show("templates_state.load")
    template_id = walk.tab.value("templates_state", "rows")[0]["id"]
    path = f"/templates/{template_id}"
    await walk.show("editor_state.load", path)
    changed = {**data, "content": "Changed"}
    await walk.change("editor_state.save", "template.updated", path, data=changed)
    await walk.change(
        "templates_state.set_active", "template.updated", template_id=template_id, is_active=False
    )
    await walk.show("templates_state.ask_delete", template_id=template_id, name="x")
    await walk.change("templates_state.delete", "template.deleted")
    await walk.change("overview_state.make_template", "template.created")


async def _change_routes(walk: Walk) -> None:
    await walk.show("routes_state.load")
    await walk.show("routes_state.add")
    await walk.change("routes_state.save", "route.created", data={"name": "a", "step0": "sandbox"})
    route_id = walk.tab.value("routes_state", "routes")[0]["id"]
    await walk.show("routes_state.edit", route_id=route_id)
    await walk.change("routes_state.save", "route.updated", data={"name": "b", "step0": "sandbox"})
    await walk.show("routes_state.ask_delete", route_id=route_id, name="x")
    await walk.change("routes_state.delete", "route.deleted")


async def _change_keys(walk: Walk) -> None:
    data = {"name": "Server", "scope.messages:send": "on"}
    await walk.change("keys_state.create", "key.created", data=data)
    key_id = walk.tab.value("keys_state", "rows")[0]["id"]
    await walk.show("keys_state.ask_revoke", key_id=key_id, name="x")
    await walk.change("keys_state.revoke", "key.revoked")


async def _change_project(walk: Walk) -> None:
    await walk.change("settings_state.rename", "project.updated", data={"name": "New name"})
    retention = {"contentRetention": "days", "contentRetentionDays": "5"}
    await walk.change("retention_state.save", "project.updated", data=retention)
    await walk.show("quiet_hours_state.switch", value="on")
    hours = {"start": "21:00", "end": "08:00"}
    await walk.change("quiet_hours_state.save", "project.updated", data=hours)


async def _change_campaigns(walk: Walk, person: Person) -> None:
    path = f"/campaigns?id={await make_draft(person, mode='test')}"
    await walk.show("campaigns_state.load", path)
    await walk.show("draft_state.load", path)
    await walk.show("draft_state.check", path)
    await walk.change("draft_state.start", "campaign.resumed", path)
    await walk.change("campaigns_state.pause", "campaign.paused", path)
    await walk.change("campaigns_state.resume", "campaign.resumed", path)
    await walk.change("campaigns_state.cancel", "campaign.canceled", path)


async def _change_dead_letters(walk: Walk, person: Person) -> None:
    async def one_more() -> str:
        project_id = ids.decode(ids.PROJECT, person.project_id)
        assert project_id is not None
        world = World(walk.dashboard.platform, uuid4(), project_id)
        connector_id = await _sandbox(person)
        message = row(world, mode="test", status="failed", connector_id=connector_id)
        await save(world, message, DeadLetter(message_id=message.id, project_id=project_id))
        await walk.show("dead_letters_state.load")
        return ids.encode(ids.MESSAGE, message.id)

    for verb, action in (
        ("redrive", "dead_letters.redriven"),
        ("discard", "dead_letters.discarded"),
    ):
        message_id = await one_more()
        await walk.change(f"dead_letters_state.{verb}_one", action, message_id=message_id)
        await walk.show("dead_letters_state.choose", message_id=await one_more())
        await walk.change(f"dead_letters_state.{verb}_chosen", action)
        await one_more()
        await walk.change(f"dead_letters_state.{verb}_all", action)


async def _sandbox(person: Person) -> UUID:
    path = f"/api/v1/projects/{person.project_id}/connectors"
    listed = (await person.client.get(path)).json()["connectors"]
    connector_id = ids.decode(ids.CONNECTOR, listed[0]["id"])
    assert connector_id is not None
    return connector_id


async def _change_people(dashboard: Dashboard, walk: Walk) -> set[str]:
    bob = await dashboard.person("Bob")
    with_bob = await _walk(dashboard, bob)
    await walk.change(
        "people_state.invite",
        "invitation.created",
        data={"email": f"{uuid4().hex}@example.com", "role": "viewer"},
    )
    await walk.show("people_state.load")
    invitation = walk.tab.value("people_state", "open_invitations")[0]
    await walk.change(
        "people_state.revoke", "invitation.revoked", invitation_id=invitation["id"], email="x"
    )
    await walk.change(
        "people_state.invite", "invitation.created", data={"email": bob.email, "role": "viewer"}
    )
    token = walk.tab.value("people_state", "link").partition("token=")[2]
    path = f"/invitation?token={token}"
    await with_bob.show("invitation_state.load", path)
    await with_bob.change("invitation_state.accept", "member.joined", path, _data={})
    user_id = ids.encode(ids.USER, with_bob.user_id)
    await walk.change(
        "people_state.change_role", "member.role_changed", user_id=user_id, role="owner"
    )
    await walk.show("people_state.ask_remove", user_id=user_id, name="Bob", is_me=False)
    await walk.change("people_state.remove", "member.removed")
    return with_bob.changed


async def _change_accounts(dashboard: Dashboard, walk: Walk, person: Person) -> set[str]:
    """The last part: it ends every log-in of the person."""
    await person.client.post(
        "/api/v1/auth/login", json={"email": person.email, "password": PASSWORD}
    )
    await walk.show("logins_state.load")
    logins = walk.tab.value("logins_state", "logins")
    other = next(item["id"] for item in logins if not item["is_current"])
    await walk.change("logins_state.end", "session.ended", session_id=other)
    passwords = {"currentPassword": PASSWORD, "newPassword": "another battery staple"}
    await walk.change("password_state.change", "password.changed", data=passwords)
    stranger = Walk(dashboard, dashboard.tab(address=_ADDRESS), walk.user_id)
    await stranger.tab.open("/login")
    for handler, action, path, purpose in (
        ("confirm.confirm", "email.confirmed", "/confirm-email", "email_confirmation"),
        ("reset.save", "password.reset", "/reset-password", "password_reset"),
    ):
        link = f"{path}?token={await _mailed(dashboard, person, walk.user_id, purpose)}"
        await stranger.show(f"{handler.partition('.')[0]}.load", link)
        if handler == "reset.save":
            await stranger.change(handler, action, link, data={"password": "a third battery"})
        else:
            await stranger.change(handler, action, link, _data={})
    return stranger.changed


async def _mailed(dashboard: Dashboard, person: Person, user_id: UUID, purpose: str) -> str:
    token = f"token-{uuid4().hex}"
    async with dashboard.platform.database.transaction() as session:
        session.add(
            AccountToken(
                token_hash=token_hash(token),
                user_id=user_id,
                purpose=purpose,
                email=person.email,
                expires_at=utc_now() + timedelta(hours=1),
            )
        )
    return token
