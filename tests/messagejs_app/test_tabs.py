"""A tab's state belongs to one log-in: it ends with it, and is out of reach of anybody else."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from uuid import UUID, uuid4

import pytest

from messagejs_app import tabs
from messagejs_app.tabs import Tab, Tabs, TooManyTabs
from tests.messagejs_app.conftest import PATIENCE_S, UPDATE_VARS, Dashboard, Person


class Kept:
    """What stands in for the states and the log-ins' table."""

    def __init__(self, look_every_s: float = 3600.0) -> None:
        self.dropped: list[str] = []
        self.told: list[str] = []
        self.ended: set[UUID] = set()
        self.is_busy = False
        self.tabs = Tabs(
            drop=self._drop, alive=self._alive, tell_ended=self._tell, look_every_s=look_every_s
        )

    async def _drop(self, key: str) -> bool:
        if not self.is_busy:
            self.dropped.append(key)
        return not self.is_busy

    async def _alive(self, session_ids: set[UUID]) -> set[UUID]:
        return session_ids - self.ended

    async def _tell(self, sid: str) -> None:
        self.told.append(sid)


def _tab(session_id: UUID | None = None, token: str = "", address: str = "192.0.2.1") -> Tab:
    return Tab(token, session_id, "", address, 0.0)


def test_the_same_tab_has_another_state_for_another_log_in() -> None:
    ada, eve = uuid4(), uuid4()
    assert len({_tab(ada).key, _tab(eve).key, _tab(None).key, _tab(ada, token="another").key}) == 4


async def test_a_strangers_state_goes_with_the_socket() -> None:
    kept = Kept()
    tab = _tab()
    kept.tabs.add("sid", tab)
    assert kept.tabs.has(tab.key)
    kept.tabs.leave("sid")
    assert not kept.tabs.has(tab.key)
    await kept.tabs.look()
    assert kept.dropped == [tab.key]


async def test_a_state_in_use_is_dropped_later() -> None:
    kept = Kept()
    kept.is_busy = True
    kept.tabs.add("sid", _tab())
    kept.tabs.leave("sid")
    await kept.tabs.look()
    assert kept.dropped == []
    kept.is_busy = False
    await kept.tabs.look()
    assert len(kept.dropped) == 1


async def test_a_closed_tab_of_a_log_in_comes_back_to_its_state_until_the_log_in_ends() -> None:
    kept, ada = Kept(), uuid4()
    tab = _tab(ada)
    kept.tabs.add("one", tab)
    kept.tabs.leave("one")
    await kept.tabs.look()
    assert kept.dropped == []
    assert kept.tabs.has(tab.key)
    kept.tabs.end({ada})
    await kept.tabs.look()
    assert kept.dropped == [tab.key]
    assert not kept.tabs.has(tab.key)


async def test_open_tabs_are_told_that_their_log_in_has_ended() -> None:
    kept, ada, eve = Kept(), uuid4(), uuid4()
    kept.tabs.add("ada", _tab(ada))
    kept.tabs.add("eve", _tab(eve))
    kept.tabs.end({ada})
    await kept.tabs.look()
    assert kept.told == ["ada"]
    assert kept.dropped == [_tab(ada).key]


async def test_a_log_in_that_has_expired_is_noticed_though_nobody_tells() -> None:
    kept, ada = Kept(look_every_s=0.0), uuid4()
    kept.tabs.add("ada", _tab(ada))
    await kept.tabs.look()
    assert kept.told == []
    kept.ended = {ada}
    await kept.tabs.look()
    assert kept.told == ["ada"]


async def test_strangers_have_so_many_tabs_an_address() -> None:
    kept = Kept()
    for number in range(tabs.MOST_STRANGERS_OF_AN_ADDRESS):
        kept.tabs.add(f"sid{number}", _tab(token=str(number)))
    with pytest.raises(TooManyTabs):
        kept.tabs.add("more", _tab(token="more"))
    kept.tabs.add("elsewhere", _tab(address="192.0.2.2"))
    kept.tabs.add("signed in", _tab(uuid4()))
    kept.tabs.leave("sid0")
    kept.tabs.add("more", _tab(token="more"))


async def test_a_log_in_keeps_so_many_closed_tabs() -> None:
    kept, ada = Kept(), uuid4()
    for number in range(tabs.MOST_KEPT_OF_A_LOGIN + 5):
        kept.tabs.add("sid", _tab(ada, token=str(number)))
        kept.tabs.leave("sid")
    await kept.tabs.look()
    assert set(kept.dropped) == {_tab(ada, token=str(number)).key for number in range(5)}


async def _until(is_so: Callable[[], bool]) -> None:
    async def looking() -> None:
        while not is_so():
            await asyncio.sleep(0.02)

    await asyncio.wait_for(looking(), PATIENCE_S)


async def _open(
    dashboard: Dashboard, person: Person | None, token: str | None = None
) -> tuple[str, str]:
    """Return a tab's name in the browser and in the process, once it shows its page."""
    tab = dashboard.tab(person, token=token)
    await tab.open("/settings")
    await tab.until(lambda: tab.value("people_state", "is_loaded"))
    (held,) = dashboard.dashboard.tabs.named(tab.token)
    return tab.token, held.key


async def test_at_log_out_the_states_of_all_its_tabs_are_gone(dashboard: Dashboard) -> None:
    ada = await dashboard.person()
    first, second = await _open(dashboard, ada), await _open(dashboard, ada)
    assert {first[1], second[1]} <= dashboard.states.keys()
    await ada.log_out()
    await _until(lambda: not {first[1], second[1]} & dashboard.states.keys())
    for tab in dashboard._open:
        await tab.until(lambda tab=tab: tab.is_sent_away)


async def test_a_tab_that_comes_back_without_its_cookie_shows_nothing_of_before(
    dashboard: Dashboard,
) -> None:
    ada = await dashboard.person()
    token, _ = await _open(dashboard, ada)
    await dashboard.close_tabs()
    tab = dashboard.tab(token=token)
    await tab.open("/settings")
    await tab.until(lambda: tab.is_sent_away)
    await tab.answers()
    assert ada.email not in tab.text


async def test_a_tab_that_comes_back_as_somebody_else_shows_theirs(dashboard: Dashboard) -> None:
    ada, eve = await dashboard.person("Ada"), await dashboard.person("Eve")
    token, key = await _open(dashboard, ada)
    await dashboard.close_tabs()
    tab = dashboard.tab(eve, token=token)
    await tab.open("/settings")
    await tab.until(lambda: tab.value("people_state", "is_loaded"))
    assert ada.email not in tab.text
    assert eve.email in tab.text
    assert dashboard.dashboard.tabs.named(tab.token)[0].key != key


async def test_an_event_after_the_log_out_is_refused_on_an_open_socket(
    dashboard: Dashboard,
) -> None:
    ada = await dashboard.person()
    token, _ = await _open(dashboard, ada)
    (tab,) = dashboard._open
    await ada.log_out()
    await tab.until(lambda: tab.is_sent_away)
    seen = len(tab.seen)
    tab.call(dashboard.named("people_state.load"))
    await dashboard.settled(tab)
    assert ada.email not in "\n".join(tab.seen[seen:])
    assert dashboard.dashboard.tabs.named(token)[0].has_ended


async def test_a_copied_tab_gets_a_name_and_a_state_of_its_own(dashboard: Dashboard) -> None:
    ada = await dashboard.person()
    token, key = await _open(dashboard, ada)
    copied, another = await _open(dashboard, ada, token)
    assert copied != token
    assert another != key


async def test_a_strangers_remembered_values_are_not_taken_over(dashboard: Dashboard) -> None:
    tab = dashboard.tab()
    await tab.open("/login")
    await dashboard.settled(tab)
    root = "reflex___state____state.messagejs_app___session____session"
    tab.call(
        UPDATE_VARS,
        {"vars": {f"{root}.project_id_rx_state_": "prj_other", f"{root}.is_ready_rx_state_": True}},
    )
    await dashboard.settled(tab)
    assert "prj_other" not in str(
        dashboard.states[dashboard.dashboard.tabs.named(tab.token)[0].key].dict()
    )


async def test_nothing_that_a_page_sends_makes_a_tab_grow(dashboard: Dashboard) -> None:
    ada = await dashboard.person()
    _, key = await _open(dashboard, ada)
    (tab,) = dashboard._open
    for number in range(40):
        tab.call(
            dashboard.named("playground_state.fill"),
            {"name": f"variables.v{number}", "text": "x" * 60_000},
        )
        tab.call(
            dashboard.named("editor_state.give_sample"),
            {"name": f"v{number}", "text": "x" * 60_000},
        )
        tab.call(dashboard.named("dead_letters_state.choose"), {"message_id": f"{number}" * 500})
    await dashboard.settled(tab)
    assert len(str(dashboard.states[key].dict())) < 200_000
    kept = _backend_values(dashboard.states[key])
    assert len(kept) == 2
    assert max(map(len, kept)) < 10


def _backend_values(state: object) -> list[dict[str, str]]:
    values = [
        result
        for name in ("_values", "_samples")
        if isinstance(result := getattr(state, name, None), dict)
    ]
    for substate in state.substates.values():  # type: ignore[attr-defined]
        values.extend(_backend_values(substate))
    return values
