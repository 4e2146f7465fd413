"""The project's saved routes, and the dialog that makes or changes one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from backend import ids
from backend.durations import parse_duration_s
from backend.errors import BadRequest, RouteNameTaken, RouteNotFound
from backend.services.access.access import Action
from backend.services.connectors import connectors
from backend.services.lists.paging import PageRequest
from backend.services.routing import saved_routes
from backend.services.routing.saved_routes import LONGEST_FALLBACK_S, MOST_STEPS, NewRoute
from backend.services.templates.channels import channel_of
from messagejs_app.events import Events, event, say
from messagejs_app.session import Session, field_errors

_FEWEST_SLOTS: Final = 3
_MOST_SHOWN: Final = 100


@dataclass
class RouteRow:
    id: str
    name: str
    steps: str
    after: str


@dataclass
class StepOption:
    """`value` is a channel's name or a connector's id."""

    value: str
    label: str


@dataclass
class Slot:
    """A place in the dialog for one step."""

    name: str
    label: str
    value: str


class RoutesState(Session):
    routes: list[RouteRow] = []
    options: list[StepOption] = []
    slots: list[Slot] = []
    editing: str = ""
    name: str = ""
    after: str = ""
    errors: dict[str, str] = {}
    deleting: str = ""
    deleting_name: str = ""

    @event
    async def load(self) -> Events:
        self._put(editing="", deleting="", errors={})
        await self._look()
        return None

    @event
    async def add(self) -> Events:
        self._open("new", "", "", [])
        return None

    @event
    async def edit(self, route_id: str) -> Events:
        async with self._work(Action.VIEW_ROUTES) as work:
            route = await saved_routes.get_route(
                work.session, work.access, route_id=_route_id(route_id)
            )
        self._open(
            route_id,
            route.name,
            _duration(route.fallback_after_s),
            [_value(step) for step in route.steps],
        )
        return None

    @event
    async def show_form(self, is_shown: bool) -> Events:
        if not is_shown:
            self.editing = ""
        return None

    @event
    async def save(self, data: dict[str, Any]) -> Events:
        name = str(data.get("name") or "").strip()[:100]
        chosen = [str(data.get(slot.name) or "") for slot in self.slots]
        steps = [_step(value) for value in chosen if value]
        try:
            after_s = _seconds(str(data.get("after") or "").strip())
        except ValueError as exc:
            self.errors = {"after": f"{exc}."}
            return None
        if not name or not steps:
            self.errors = {"": "A route has a name and at least one step."}
            return None
        try:
            await self._save(name, steps, after_s)
        except (BadRequest, RouteNameTaken) as exc:
            result = field_errors(exc)
            self.errors = (
                {"name": result["name"]}
                if "name" in result
                else {"": next(iter(result.values()), exc.message)}
            )
            return None
        self.editing = ""
        await self._look()
        return say(f"{name} saved. Sends name it in route.")

    @event
    async def ask_delete(self, route_id: str, name: str) -> Events:
        self._put(deleting=route_id, deleting_name=name)
        return None

    @event
    async def show_delete(self, is_shown: bool) -> Events:
        if not is_shown:
            self.deleting = ""
        return None

    @event
    async def delete(self) -> Events:
        async with self._work(Action.MANAGE_ROUTES) as work:
            await saved_routes.delete_route(
                work.session, work.access, route_id=_route_id(self.deleting)
            )
        self.deleting = ""
        await self._look()
        return say(f"{self.deleting_name} deleted. Messages accepted before keep their routes.")

    def _open(self, editing: str, name: str, after: str, values: list[str]) -> None:
        count = min(max(_FEWEST_SLOTS, len(values) + 1), MOST_STEPS)
        filled = [*values, *[""] * count][:count]
        slots = [
            Slot(f"step{index}", "Then" if index else "First", value)
            for index, value in enumerate(filled)
        ]
        self._put(editing=editing, name=name, after=after, slots=slots, errors={})

    async def _save(self, name: str, steps: list[dict[str, str]], after_s: int | None) -> None:
        async with self._work(Action.MANAGE_ROUTES) as work:
            if self.editing == "new":
                await saved_routes.create_route(
                    work.session, work.access, new=NewRoute(name, steps, after_s)
                )
            else:
                changes = {"name": name, "steps": steps, "fallback_after_s": after_s}
                await saved_routes.update_route(
                    work.session, work.access, route_id=_route_id(self.editing), changes=changes
                )

    async def _look(self) -> None:
        async with self._work(Action.VIEW_ROUTES) as work:
            ours = await connectors.list_connectors(work.session, work.access)
            page = await saved_routes.page_of_routes(
                work.session, work.access, page=PageRequest(limit=_MOST_SHOWN)
            )
        names = {str(item.id): item.name for item in ours}
        rows = [
            RouteRow(
                id=ids.encode(ids.ROUTE, route.id),
                name=route.name,
                steps=", then ".join(_shown(step, names) for step in route.steps),
                after=_duration(route.fallback_after_s) or "on failure",
            )
            for route in page.items
        ]
        channels = sorted({channel_of(item.type) for item in ours})
        named = sorted(ours, key=lambda item: item.name.lower())
        options = [
            *(StepOption(channel, f"Channel {channel}") for channel in channels),
            *(
                StepOption(ids.encode(ids.CONNECTOR, item.id), f"Connector {item.name}")
                for item in named
            ),
        ]
        self._put(routes=rows, options=options)


def _shown(step: dict[str, str], names: dict[str, str]) -> str:
    return step.get("channel") or names.get(step["connectorId"], "a deleted connector")


def _value(step: dict[str, str]) -> str:
    return step.get("channel") or ids.encode(ids.CONNECTOR, UUID(step["connectorId"]))


def _step(value: str) -> dict[str, str]:
    connector_id = ids.decode(ids.CONNECTOR, value)
    return {"channel": value} if connector_id is None else {"connectorId": str(connector_id)}


def _duration(seconds: int | None) -> str:
    if seconds is None:
        return ""
    for unit, size in (("h", 3600), ("m", 60)):
        if seconds % size == 0:
            return f"{seconds // size}{unit}"
    return f"{seconds}s"


def _seconds(text: str) -> int | None:
    if not text:
        return None
    seconds = parse_duration_s(text)
    if seconds > LONGEST_FALLBACK_S:
        raise ValueError(f"'{text}' is longer than 7 days")
    return seconds


def _route_id(text: str) -> UUID:
    result = ids.decode(ids.ROUTE, text)
    if result is None:
        raise RouteNotFound
    return result
