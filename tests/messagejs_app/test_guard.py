"""Nothing reaches a State before its log-in has been checked."""

from __future__ import annotations

from tests.messagejs_app.conftest import Desk


async def test_a_signed_in_tab_shows_its_page(desk: Desk) -> None:
    ada = await desk.person()
    tab = desk.tab(ada)
    await tab.open("/connectors")
    await tab.until(lambda: tab.value("connectors_state", "is_loaded"))
    assert tab.value("session", "user_email") == ada.email
    assert len(desk.states) == 1


async def test_a_stranger_is_sent_to_the_log_in_and_nothing_is_kept(desk: Desk) -> None:
    tab = desk.tab()
    await tab.open("/messages")
    await tab.until(lambda: tab.is_sent_away)
    await tab.answers()
    assert tab.values == {}
    assert desk.states == {}
