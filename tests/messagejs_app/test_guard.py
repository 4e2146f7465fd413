"""Nothing reaches a State before its log-in has been checked, and nothing of an event reaches the
log.
"""

from __future__ import annotations

import logging

import pytest

from tests.messagejs_app.conftest import ON_LOAD, Dashboard
from tests.messagejs_app.drafts import make_draft
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
    ours = await make_draft(eve)
    tab = dashboard.tab(eve)
    await tab.open(f"/campaigns?id={ours}")
    await tab.until(lambda: tab.value("draft_state", "columns"))
    tab.call(dashboard.named("draft_state.choose_what"), {"what": "text"})
    tab.call(dashboard.named("draft_state.write"), {"text": "{{name}} has {{secret}}"})
    await dashboard.settled(tab)
    path = f"/campaigns?id={victim.ids['campaign']}"
    tab.call(dashboard.named("draft_state.check"), path=path)
    for name in ("campaigns_state.load", "draft_state.load", "draft_state.check"):
        tab.call(dashboard.named(name), path=path)
    await dashboard.settled(tab)
    assert victim.mark not in tab.text
    assert tab.value("campaigns_state", "open_id") == ""
    assert tab.value("draft_state", "campaign_id") == ""
    assert tab.value("draft_state", "columns") == []


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


async def test_the_list_of_campaigns_is_of_one_mode(dashboard: Dashboard) -> None:
    ada = await dashboard.person()
    await make_draft(ada)
    tab = dashboard.tab(ada)
    await tab.open("/campaigns")
    await tab.until(lambda: tab.value("campaigns_state", "is_loaded"))
    assert tab.value("campaigns_state", "rows") == []
    await make_draft(ada, name="Trial", mode="test")
    tab.call(dashboard.named("campaigns_state.load"), path="/campaigns")
    await tab.until(lambda: tab.value("campaigns_state", "rows"))
    assert [campaign["name"] for campaign in tab.value("campaigns_state", "rows")] == ["Trial"]


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
