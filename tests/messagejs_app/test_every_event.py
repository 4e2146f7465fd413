"""Every event of every State, called by whom it is not for, with whatever a browser could be made
to send.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final, get_origin

import pytest
import pytest_asyncio

from backend import ids
from backend.models import ProjectMember
from backend.services.access.access import Role
from messagejs_app import payloads
from messagejs_app.pages import PUBLIC
from tests.messagejs_app.conftest import Dashboard, Person, handlers
from tests.messagejs_app.victim import Victim, make_victim

_DEEP: Final[Any] = [[[[[[[[["deep"]]]]]]]]]
# Beside the right types, for an argument of any type.
_HOSTILE: Final[tuple[Any, ...]] = (
    None,
    0,
    -(2**70),
    1e308,
    True,
    "",
    "x" * 1_999,
    "y" * 100_000,
    "\0 \u202e \ud800 \U0001f4a3 \u2028",
    "<reflex.Var>x</reflex.Var>",
    "../../etc/passwd",
    "'; DROP TABLE users; --",
    {"__reflex_form_data__": [["name", "x"], ["email", 5]]},
    {"name": {"deep": _DEEP}},
    {"a": None, "to": "someone", "name": "Taken over", "content": "{{x}}", "weight": "9" * 500},
    _DEEP,
)


def _paths(victim: Victim) -> tuple[str, ...]:
    ours = victim.ids
    return (
        "/",
        f"/campaigns?id={ours['campaign']}",
        f"/messages?id={ours['message']}&connector={ours['connector']}",
        f"/templates/{ours['template']}",
        f"/connectors/{ours['connector']}",
    )


def _payloads(
    handler: Any, victim: Victim, hostile_values: Sequence[Any]
) -> Iterator[dict[str, Any]]:
    hints = {name: hint for name, hint in (handler._type_hints or {}).items() if name != "return"}
    for hostile in hostile_values:
        yield dict.fromkeys(hints, hostile)
    for name in victim.ids.values():
        yield {item: _of_type(hint, name) for item, hint in hints.items()}
    yield {**{item: _of_type(hint, "x") for item, hint in hints.items()}, "one_more": "x"}


def _of_type(hint: Any, text: str) -> Any:
    if hint is bool:
        return True
    if get_origin(hint) is dict:
        return {"name": text, "connectorId": text, "to": text, "step0": text, "q": text}
    return text


OURS: Final = sorted(
    name
    for name, item in handlers().items()
    if item.states[0].__module__.startswith("messagejs_app.")
)
FRAMEWORKS: Final = sorted(set(handlers()) - set(OURS))
_PUBLIC: Final = {state.get_full_name() for state in PUBLIC}


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def victim(application: Any) -> Victim:
    return await make_victim(Dashboard(*application))


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def other(application: Any) -> Person:
    return await Dashboard(*application).person("Other tenant")


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def viewer(application: Any, victim: Victim) -> Person:
    dashboard = Dashboard(*application)
    person = await dashboard.person("Viewer")
    me = ids.decode(ids.USER, (await person.client.get("/api/v1/auth/me")).json()["user"]["id"])
    project_id = ids.decode(ids.PROJECT, victim.person.project_id)
    assert me is not None
    assert project_id is not None
    async with dashboard.platform.database.transaction() as session:
        session.add(ProjectMember(project_id=project_id, user_id=me, role=Role.VIEWER.value))
    return person


async def _call(
    dashboard: Dashboard,
    victim: Victim,
    name: str,
    person: Person | None,
    hostile_values: Sequence[Any] = _HOSTILE,
) -> str:
    """Send the event in every hostile way; return all that came back, and the tab's whole state."""
    handler = handlers()[name].handler
    tab = dashboard.tab(person)
    stored = {
        "reflex___state____state.messagejs_app___session____session.project_id_rx_state_": (
            victim.ids["project"]
        )
    }
    is_public = name.rpartition(".")[0] in _PUBLIC
    await tab.open("/login" if is_public or person is None else "/", **stored)
    paths = _paths(victim)
    for number, payload in enumerate(_payloads(handler, victim, hostile_values)):
        tab.call(name, payload, path=paths[number % len(paths)])
    await dashboard.settled(tab)
    tab.call(name, {}, path=paths[1], address="/<reflex.Var>x</reflex.Var>")
    await dashboard.settled(tab)
    held = dashboard.dashboard.tabs.named(tab.token)
    state = dashboard.states.get(held[0].key)
    await tab.close()
    dashboard._open.remove(tab)
    return tab.text + (str(state.dict()) if state is not None else "")


@pytest.mark.parametrize(
    ("who", "part"),
    [
        ("stranger", "all"),
        # Of the values that are of no type, each event has a quarter, and all ids of the victim.
        ("other tenant", "a quarter"),
        pytest.param("other tenant", "the rest", marks=pytest.mark.slow),
        pytest.param("viewer", "all", marks=pytest.mark.slow),
    ],
)
async def test_no_event_changes_or_shows_what_is_not_the_callers(
    dashboard: Dashboard, victim: Victim, other: Person, viewer: Person, who: str, part: str
) -> None:
    person = {"stranger": None, "other tenant": other, "viewer": viewer}[who]
    before = await victim.rows(dashboard)
    leaks = {}
    for turn, name in enumerate((*OURS, *FRAMEWORKS)):
        shown = await _call(dashboard, victim, name, person, _part_of(part, turn))
        if who != "viewer" and victim.mark in shown:
            leaks[name] = shown[shown.index(victim.mark) - 200 :][:400]
    assert leaks == {}
    assert await victim.rows(dashboard) == before
    healthy = await other.client.get("/healthz")
    assert healthy.status_code == 200


def _part_of(part: str, turn: int) -> list[Any]:
    return [
        value
        for place, value in enumerate(_HOSTILE)
        if part == "all" or ((place - turn) % 4 == 0) == (part == "a quarter")
    ]


@pytest.mark.parametrize("name", OURS)
def test_the_door_knows_the_arguments_of_every_event(name: str) -> None:
    if name.endswith(".setvar"):
        with pytest.raises(payloads.Refused):
            payloads.handler_of(name)
        return
    parameters = payloads._parameters(payloads.handler_of(name).handler)
    assert {
        hint
        for hint, _ in parameters.values()
        if hint not in {str, bool} and get_origin(hint) is not dict
    } == set()


def test_what_reflexs_frontend_calls_is_there() -> None:
    assert set(FRAMEWORKS) > payloads.FRAMEWORK


@pytest.mark.parametrize("name", FRAMEWORKS)
def test_browsers_call_nothing_of_reflex_but_what_its_frontend_calls(name: str) -> None:
    if name in payloads.FRAMEWORK:
        assert payloads.handler_of(name).states
    else:
        with pytest.raises(payloads.Refused):
            payloads.handler_of(name)
