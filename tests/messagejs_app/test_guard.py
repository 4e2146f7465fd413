"""Nothing reaches a State before its log-in has been checked, and nothing of an event reaches the
log.
"""

from __future__ import annotations

import logging
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import text

from backend import ids
from tests.messagejs_app.conftest import ON_LOAD, Dashboard, Person
from tests.messagejs_app.victim import make_victim


async def test_a_signed_in_tab_shows_its_page(dashboard: Dashboard) -> None:
    ada = await dashboard.person()
    tab = dashboard.tab(ada)
    await tab.open("/connectors")
    await tab.until(lambda: tab.value("connectors_state", "is_loaded"))
    assert tab.value("session", "user_email") == ada.email


async def test_a_signed_in_tab_goes_from_page_to_page(dashboard: Dashboard) -> None:
    ada = await dashboard.person()
    tab = dashboard.tab(ada)
    await tab.open("/connectors")
    tab.call(ON_LOAD, path="/connectors/new?type=twilio")
    await tab.until(lambda: tab.value("connector_form_state", "is_loaded"))
    assert tab.value("connector_form_state", "kind") == "twilio"


@pytest.mark.parametrize(
    "path", ["/", "/messages", "/campaigns?id=x", "/connectors/new", "/settings"]
)
async def test_a_stranger_is_sent_to_the_log_in_and_nothing_is_kept(
    dashboard: Dashboard, path: str
) -> None:
    before = set(dashboard.states)
    tab = dashboard.tab()
    await tab.open(path)
    await tab.until(lambda: tab.is_sent_away)
    await dashboard.settled(tab)
    assert tab.values == {}
    assert set(dashboard.states) == before


async def test_a_stranger_sees_the_entrance(dashboard: Dashboard) -> None:
    tab = dashboard.tab()
    await tab.open("/login?error=INVALID_CREDENTIALS")
    await tab.until(lambda: tab.value("sign_in", "errors"))
    assert not tab.is_sent_away


async def test_a_strangers_page_is_the_address_it_names(dashboard: Dashboard) -> None:
    """A page for everybody in one place, another page in the other: nothing is loaded."""
    tab = dashboard.tab()
    await tab.open("/login")
    await dashboard.settled(tab)
    seen = len(tab.seen)
    tab.call(ON_LOAD, path="/login")
    await tab.until(lambda: len(tab.seen) > seen)
    for address in (
        "/messages",
        "/login/../messages",
        "//evil.example",
        "/loginx",
        "http://evil.example/login",
    ):
        tab.call(ON_LOAD, path="/login", address=address)
    await dashboard.settled(tab)
    assert "messages_state" not in "\n".join(tab.seen[seen:])


async def test_a_draft_of_ones_own_opens_no_rows_of_another_project(dashboard: Dashboard) -> None:
    victim = await make_victim(dashboard)
    eve = await dashboard.person("Eve")
    ours = await _draft(eve)
    tab = dashboard.tab(eve)
    await tab.open(f"/campaigns?id={ours}")
    await tab.until(lambda: tab.value("campaigns_state", "is_loaded"))
    tab.call(dashboard.named("campaigns_state.choose_what"), {"what": "text"})
    tab.call(dashboard.named("campaigns_state.write"), {"text": "{{name}} has {{secret}}"})
    await dashboard.settled(tab)
    tab.call(
        dashboard.named("campaigns_state.load"), path=f"/campaigns?id={victim.ids['campaign']}"
    )
    tab.call(
        dashboard.named("campaigns_state.check"), path=f"/campaigns?id={victim.ids['campaign']}"
    )
    await dashboard.settled(tab)
    assert victim.mark not in tab.text
    assert tab.value("campaigns_state", "open_id") == ""
    assert tab.value("campaigns_state", "columns") == []


async def _draft(person: Person) -> str:
    base = f"/api/v1/projects/{person.project_id}"
    connectors = (await person.client.get(f"{base}/connectors")).json()["connectors"]
    draft = {
        "name": "Mine",
        "csv": "to,name,secret\nsomeone,Eve,none\n",
        "message": "Hello {{name}}",
        "connectorId": connectors[0]["id"],
        "start": False,
    }
    created = await person.post(f"/api/v1/campaigns?projectId={person.project_id}", draft)
    return str(created["id"])


@pytest.mark.parametrize(
    "packet",
    [
        '42/_event,["event",{"name":"no.such.handler","payload":{"password":"hunter2"},"router_data":{}}]',
        '42/_event,["event",{"name":["x"],"payload":{"password":"hunter2"}}]',
        '42/_event,["event","{\\"password\\": \\"hunter2\\"}"]',
        '42/_event,["event",{"password":"hunter2"}]',
        '42/_event,["event"]',
        '42/_event,["event",1,2,"hunter2"]',
        '42/_event,["connect",{"asgi.scope":{"client":["203.0.113.1",1],"headers":[]}}]',
        '42/_event,["disconnect","hunter2"]',
        '42/_event,["emit_update","hunter2"]',
        '42/_event,["client_error",{"message":"hunter2"}]',
        "42/_event," + "[" * 100_000,
        "42/_event,{hunter2",
        "451-/_event,[",
        "4" + "9" * 50,
        "1",
    ],
)
async def test_an_event_that_is_none_ends_quietly(
    dashboard: Dashboard, packet: str, caplog: pytest.LogCaptureFixture
) -> None:
    ada = await dashboard.person()
    tab, beside = dashboard.tab(ada), dashboard.tab(ada)
    await tab.open("/settings")
    await beside.open("/settings")
    with caplog.at_level(logging.DEBUG, "reflex"), caplog.at_level(logging.DEBUG, "reflex_base"):
        tab.send_text(packet)
        if not packet.startswith(("1", "4" + "9" * 50)):
            await tab.answers()
        await beside.answers()
    assert "hunter2" not in caplog.text
    assert ada.cookie not in caplog.text
    tab_again = dashboard.tab(ada)
    await tab_again.open("/settings")
    await tab_again.until(lambda: tab_again.value("people_state", "is_loaded"))


async def test_a_tab_without_a_name_is_refused(dashboard: Dashboard) -> None:
    tab = dashboard.tab(token="x" * 500)
    await tab.open("/login")
    assert not tab.is_connected
    assert len(dashboard.dashboard.tabs.named("x" * 500)) == 0


async def test_one_address_does_not_take_all_the_memory(dashboard: Dashboard) -> None:
    before = len(dashboard.states)
    refused = 0
    for _ in range(80):
        tab = dashboard.tab(address="198.51.100.7")
        await tab.open("/login")
        refused += not tab.is_connected
    assert refused >= 16
    assert len(dashboard.states) <= before + 64
    elsewhere = dashboard.tab(address="198.51.100.8")
    await elsewhere.open("/login")
    assert elsewhere.is_connected


_MADE_UP = "203.0.113.77"


async def _entries(dashboard: Dashboard, project_id: str) -> list[tuple[str, Any, str]]:
    query = (
        "SELECT action, actor_id, address FROM audit_entries WHERE project_id = :project ORDER"
        " BY id"
    )
    async with dashboard.platform.database.engine.connect() as connection:
        result = await connection.execute(
            text(query), {"project": ids.decode(ids.PROJECT, project_id)}
        )
        return [(row.action, row.actor_id, row.address) for row in result]


async def test_every_change_by_a_page_is_in_the_audit_log_with_who_and_from_where(
    dashboard: Dashboard,
) -> None:
    ada = await dashboard.person()
    before = len(await _entries(dashboard, ada.project_id))
    connector = await ada.post(
        f"/api/v1/projects/{ada.project_id}/connectors", {"type": "sandbox", "name": "Second"}
    )
    before += 1
    campaign = await _draft(ada)
    before += 1
    tab = dashboard.tab(ada, address=_MADE_UP)
    await tab.open("/")
    await tab.until(lambda: tab.value("session", "is_ready"))

    async def call(handler: str, path: str = "/", **payload: Any) -> None:
        tab.call(dashboard.named(handler), payload, path=path)
        await dashboard.settled(tab)

    async def is_in_log(action: str) -> None:
        assert action in {
            entry[0] for entry in (await _entries(dashboard, ada.project_id))[before:]
        }, tab.seen[-1]

    await call("connector_form_state.load", "/connectors/new?type=sandbox")
    await call("connector_form_state.save", "/connectors/new?type=sandbox", data={"name": "Made"})
    await is_in_log("connector.created")
    await call("connector_form_state.load", f"/connectors/{connector['id']}")
    await call(
        "connector_form_state.save", f"/connectors/{connector['id']}", data={"name": "Renamed"}
    )
    await call("connector_form_state.set_active", f"/connectors/{connector['id']}", is_active=False)
    await call("connectors_state.set_active", connector_id=connector["id"], is_active=True)
    await call("connectors_state.make_default", connector_id=connector["id"])
    await is_in_log("connector.updated")
    await call("connectors_state.ask_delete", connector_id=connector["id"], name="x")
    await call("connectors_state.delete")
    await is_in_log("connector.deleted")
    await call("editor_state.load", "/templates/new")
    await call("editor_state.save", "/templates/new", data={"name": "Hello", "content": "Hello"})
    await is_in_log("template.created")
    await call("overview_state.make_template")
    await call("templates_state.load")
    template = tab.value("templates_state", "rows")[0]["id"]
    await call("editor_state.load", f"/templates/{template}")
    await call(
        "editor_state.save", f"/templates/{template}", data={"name": "Hello", "content": "Changed"}
    )
    await call("templates_state.set_active", template_id=template, is_active=False)
    await is_in_log("template.updated")
    await call("templates_state.ask_delete", template_id=template, name="x")
    await call("templates_state.delete")
    await is_in_log("template.deleted")
    await call("routes_state.load")
    await call("routes_state.add")
    await call("routes_state.save", data={"name": "way", "step0": "sandbox"})
    await is_in_log("route.created")
    route = tab.value("routes_state", "routes")[0]["id"]
    await call("routes_state.edit", route_id=route)
    await call("routes_state.save", data={"name": "other-way", "step0": "sandbox"})
    await is_in_log("route.updated")
    await call("routes_state.ask_delete", route_id=route, name="x")
    await call("routes_state.delete")
    await is_in_log("route.deleted")
    await call("keys_state.create", data={"name": "Server", "scope.messages:send": "on"})
    await is_in_log("key.created")
    await call("keys_state.ask_revoke", key_id=tab.value("keys_state", "rows")[0]["id"], name="x")
    await call("keys_state.revoke")
    await is_in_log("key.revoked")
    await call("settings_state.rename", data={"name": "New name"})
    await call(
        "retention_state.save", data={"contentRetention": "days", "contentRetentionDays": "5"}
    )
    await call("quiet_hours_state.switch", value="on")
    await call("quiet_hours_state.save", data={"start": "21:00", "end": "08:00"})
    await is_in_log("project.updated")
    await call(
        "people_state.invite", data={"email": f"{uuid4().hex}@example.com", "role": "viewer"}
    )
    await call("people_state.load")
    invitation = tab.value("people_state", "open_invitations")[0]
    await call("people_state.revoke", invitation_id=invitation["id"], email="x")
    await call("campaigns_state.load", f"/campaigns?id={campaign}")
    await call("campaigns_state.cancel", f"/campaigns?id={campaign}")
    await call("dead_letters_state.discard_all")
    me = ids.decode(ids.USER, (await ada.client.get("/api/v1/auth/me")).json()["user"]["id"])
    entries = (await _entries(dashboard, ada.project_id))[before:]
    assert len(entries) >= 20
    assert [entry for entry in entries if entry[1:] != (me, _MADE_UP)] == []
    assert {"invitation", "campaign", "dead_letters"} <= {
        entry[0].partition(".")[0] for entry in entries
    }


async def test_who_writes_too_long_a_text_is_told_and_a_stranger_is_not(
    dashboard: Dashboard,
) -> None:
    ada = await dashboard.person()
    tab = dashboard.tab(ada)
    await tab.open("/templates/new")
    await tab.until(lambda: tab.value("editor_state", "is_loaded"))
    state = next(name for name in tab.values if name.endswith("editor_state"))
    tab.call(f"{state}.write", {"name": "content", "text": "x" * 200_001})
    await tab.until_seen("That text is too long: 200,000 characters are the most.")
    # Over what a field takes and below that, the field itself says so.
    tab.call(f"{state}.write", {"name": "content", "text": "x" * 70_001})
    await tab.until_seen("has 70001 characters")
    stranger = dashboard.tab()
    await stranger.open("/login")
    stranger.call(f"{state}.write", {"name": "content", "text": "x" * 200_001})
    await stranger.answers()
    assert not any("too long" in text for text in stranger.seen)
