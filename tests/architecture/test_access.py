"""One door for who asks: an Access is made in one room, and nothing else looks at principals."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
PACKAGES: Final = ("backend", "workers", "messagejs_app")
ROOM: Final = "backend/services/access/access.py"
# Where a request becomes an Access: there a principal is a user or a key.
DOOR: Final = "backend/api/inputs/access.py"
PRINCIPALS: Final = {"UserPrincipal", "CatalogKey", "KeyFacts", "Requester"}
# Rooms whose things belong to a project: what changes or shows them takes an Access.
ROOMS: Final = ("campaigns", "connectors", "keys", "messages", "reporting", "routing", "templates")


def _calls() -> Iterator[tuple[str, ast.Call]]:
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Call):
                    yield str(path.relative_to(ROOT)), node


def _names(node: ast.AST) -> set[str]:
    return {item.id for item in ast.walk(node) if isinstance(item, ast.Name)}


def test_only_the_door_asks_what_kind_of_principal_a_request_has() -> None:
    places = {
        path
        for path, call in _calls()
        if isinstance(call.func, ast.Name)
        and call.func.id == "isinstance"
        and _names(call.args[1]) & PRINCIPALS
    }
    assert places == {DOOR}


def test_an_access_is_made_in_one_room() -> None:
    places = {
        path
        for path, call in _calls()
        if isinstance(call.func, ast.Name) and call.func.id == "Access"
    }
    assert places == {ROOM}


def test_the_edges_give_services_an_access_and_no_project() -> None:
    """A handler or a page that passes a project's id has decided something itself."""
    services = {
        path.stem for room in ROOMS for path in (ROOT / "backend/services" / room).glob("*.py")
    }
    passing = set()
    for path, call in _calls():
        is_edge = path.startswith(("backend/api/resources/", "messagejs_app/"))
        if not is_edge or not isinstance(call.func, ast.Attribute):
            continue
        module = call.func.value
        if isinstance(module, ast.Name) and module.id in services:
            arguments = [*call.args, *(keyword.value for keyword in call.keywords)]
            if "project_id" in {name for item in arguments for name in _names(item)}:
                passing.add((path, f"{module.id}.{call.func.attr}"))
    assert passing == set()
