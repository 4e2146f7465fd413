"""The frame around every page: rail, header, test-mode bar, command palette, list of keys."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Final

import reflex as rx

from backend import ids
from backend.services.access.access import Action
from backend.services.connectors import connectors
from backend.services.keys import keys
from backend.services.templates import templates
from messagejs_app.components import html as h
from messagejs_app.components.brand import mark
from messagejs_app.components.controls import button
from messagejs_app.components.html import Child
from messagejs_app.components.overlays import dialog, menu, menu_item, menu_line, menu_rule
from messagejs_app.events import Events, color_mode, event, sign_out
from messagejs_app.session import ProjectChoice, Session


@dataclass(frozen=True)
class Place:
    """A page in the rail."""

    name: str
    path: str
    icon: str
    key: str


PLACES: Final = (
    Place("Overview", "/", "layout_dashboard", "O"),
    Place("Messages", "/messages", "message_square", "M"),
    Place("Dead letters", "/dead-letters", "mail_x", "D"),
    Place("Campaigns", "/campaigns", "megaphone", "B"),
    Place("Templates", "/templates", "file_text", "T"),
    Place("Connectors", "/connectors", "plug", "C"),
    Place("Keys", "/keys", "key_round", "K"),
    Place("Playground", "/playground", "square_terminal", "P"),
)
SETTINGS: Final = Place("Settings", "/settings", "settings", "S")

Item = dict[str, object]

_ACTIONS: Final[tuple[Item, ...]] = (
    {"group": "Actions", "text": "Create key", "to": "/keys?new=1", "icon": "add", "first": True},
    {
        "group": "Actions",
        "text": "New template",
        "to": "/templates/new",
        "icon": "add",
        "first": True,
    },
    {"group": "Actions", "text": "Add connector", "to": "/connectors", "icon": "add"},
    {
        "group": "Actions",
        "text": "Send a message",
        "to": "/playground",
        "icon": "run",
        "also": "playground test",
    },
)
_NAMED_LIMIT: Final = 20


def _fixed_items() -> list[Item]:
    places: list[Item] = [
        {
            "group": "Go to",
            "text": item.name,
            "to": item.path,
            "icon": "go",
            "keys": ["G", item.key],
            "first": True,
        }
        for item in (*PLACES, SETTINGS)
    ]
    return [*_ACTIONS, *places]


def _item(group: str, text: str, to: str, meta: str = "") -> Item:
    return {"group": group, "text": text, "to": to, "meta": meta, "icon": group}


class Frame(Session):
    """What the frame itself does: the palette's contents and the list of keys."""

    palette_items: str = json.dumps(_fixed_items())
    shows_keys: bool = False

    @event
    async def fill_palette(self) -> Events:
        """Add the project's keys, templates and connectors by name; asked for when the palette
        opens.
        """
        async with self._work(Action.VIEW_PROJECT) as work:
            project_keys = (await keys.list_keys(work.session, work.access))[:_NAMED_LIMIT]
            project_templates = (await templates.list_templates(work.session, work.access))[
                :_NAMED_LIMIT
            ]
            project_connectors = (await connectors.list_connectors(work.session, work.access))[
                :_NAMED_LIMIT
            ]
        named = [
            *(_item("Keys", key.name, "/keys", key.hint) for key in project_keys),
            *(
                _item(
                    "Templates",
                    template.name,
                    f"/templates/{ids.encode(ids.TEMPLATE, template.id)}",
                )
                for template in project_templates
            ),
            *(
                _item(
                    "Connectors",
                    connector.name,
                    f"/connectors/{ids.encode(ids.CONNECTOR, connector.id)}",
                )
                for connector in project_connectors
            ),
        ]
        self.palette_items = json.dumps([*_fixed_items(), *named])
        return None

    @event
    async def show_keys(self, is_shown: bool) -> Events:
        self.shows_keys = is_shown
        return None


def frame(*children: Child, active: str, full: bool = False) -> rx.Component:
    """The page `active` inside the frame; `full`: without the content's margin and width."""
    content = h.div(
        *children,
        class_name="page full" if full else "page",
        id="content",
        # What is opened or typed before the page has loaded would be reset by its `load`.
        custom_attrs={"inert": ~Frame.is_ready},
    )
    main = h.main(_header(), _test_bar(), content, style={"minWidth": 0, "position": "relative"})
    return h.fragment(
        h.div(
            h.external("Skip to content", href="#content", class_name="skip"),
            _rail(active),
            main,
            class_name="app",
        ),
        h.div(class_name="veil"),
        h.palette(Frame.palette_items),
        h.button(id="palette-fill", hidden=True, on_click=Frame.fill_palette, type="button"),
        h.button(id="show-keys", hidden=True, on_click=Frame.show_keys(True), type="button"),
        h.native_form(action="/auth/logout", id="sign-out", hidden=True),
        _key_list(),
    )


def _rail(active: str) -> rx.Component:
    places = [_nav(place, active) for place in PLACES]
    docs = h.external(
        h.icon("circle_help"),
        h.span("Docs"),
        href="/docs",
        target="_blank",
        rel="noopener",
        class_name="nav",
        title="Docs",
    )
    return h.aside(
        _switcher(),
        h.nav(
            *places,
            h.hr(),
            _nav(SETTINGS, active),
            aria_label="Pages",
            style={"display": "contents"},
        ),
        h.div(docs, _user_menu(), class_name="foot"),
        class_name="rail",
    )


def _nav(place: Place, active: str) -> rx.Component:
    is_on = place.name == active
    return h.link(
        h.icon(place.icon),
        h.span(place.name),
        to=place.path,
        class_name="nav on" if is_on else "nav",
        title=place.name,
        data_nav=place.path,
        aria_current="page" if is_on else "false",
    )


def _switcher() -> rx.Component:
    trigger = h.button(
        mark(),
        h.span(Session.project_name, class_name="grow ell"),
        h.icon("chevrons_up_down", 14),
        type="button",
        class_name="switcher",
        aria_label="Switch project",
        style={"textAlign": "left", "width": "100%"},
    )
    return menu(trigger, menu_line("Projects"), h.each(Session.projects, _project), align="start")


def _project(project: ProjectChoice) -> rx.Component:
    return menu_item(
        project.name,
        tick=project.id == Session.project_id,
        on_select=Session.choose_project(project.id),
    )


def _user_menu() -> rx.Component:
    trigger = h.button(
        h.span(Session.initials, class_name="avatar", style={"marginLeft": "-2px"}),
        h.span(Session.user_name, class_name="ell"),
        type="button",
        class_name="nav",
        aria_label="Your account",
        style={"width": "100%"},
    )
    return menu(
        trigger,
        menu_line(Session.user_email),
        menu_rule(),
        menu_item(
            "System",
            "monitor",
            tick=rx.color_mode == "system",
            on_select=color_mode("system"),
        ),
        menu_item("Light", "sun", tick=rx.color_mode == "light", on_select=color_mode("light")),
        menu_item("Dark", "moon", tick=rx.color_mode == "dark", on_select=color_mode("dark")),
        menu_rule(),
        menu_item("Keyboard", "keyboard", on_select=Frame.show_keys(True)),
        menu_item("Sign out", "log_out", on_select=sign_out()),
        align="start",
        side="top",
    )


def _header() -> rx.Component:
    search = h.button(
        h.icon("search"),
        h.span("Search or jump to", class_name="grow", style={"textAlign": "left"}),
        h.keys("mod+K"),
        type="button",
        class_name="cmdk",
        data_palette="",
        aria_label="Search or jump to",
    )
    return h.header(
        button(
            h.icon("menu"),
            look="ghost",
            size="icon",
            class_name="menu-btn",
            data_menu="",
            aria_label="Menu",
        ),
        h.span(Session.project_name, class_name="who ell"),
        h.span(class_name="grow hide-l"),
        search,
        h.span(class_name="grow hide-s"),
        h.div(
            _mode("live", "Live", "healthy"),
            _mode("test", "Test", "throttled"),
            class_name="seg sm",
            role="group",
        ),
        class_name="head",
    )


def _mode(value: str, name: str, dot: str) -> rx.Component:
    is_on = Session.mode == value
    return h.button(
        h.when(is_on, h.span(class_name=f"st {dot}")),
        name,
        type="button",
        class_name=h.pick(is_on, "on", ""),
        aria_pressed=h.pick(is_on, "true", "false"),
        data_mode=value,
        on_click=Session.choose_mode(value),
    )


def _test_bar() -> rx.Component:
    sentence = h.span(
        h.tag("b", "Test mode.", style={"fontWeight": 500}),
        " Everything goes to Sandbox; nothing reaches a real recipient.",
    )
    return h.when(
        Session.mode == "test", h.div(h.icon("flask_conical", 14), sentence, class_name="testbar")
    )


_KEYS: Final = (
    (("mod+K",), "Search or jump to"),
    (("G", "O"), "Overview; then M, D, B, T, C, K, P, S for the other pages"),
    (("/",), "Filter messages"),
    (("J", "K"), "Next, previous row"),
    (("Enter",), "Open the row"),
    (("Esc",), "Close"),
    (("C",), "Create, on a page that has something to create"),
    (("L",), "Pause or resume live"),
    (("Y",), "Copy the open message as cURL"),
    (("mod+Enter",), "Send or save"),
    (("T",), "Live or Test"),
    (("?",), "This list"),
)


def _key_list() -> rx.Component:
    lines = [
        line
        for keys_, meaning in _KEYS
        for line in (
            h.span(meaning),
            h.span(*[h.keys(key) for key in keys_], style={"textAlign": "right"}),
        )
    ]
    return dialog(
        h.div(h.div(*lines, class_name="kbd-list"), class_name="db"),
        is_open=Frame.shows_keys,
        title="Keyboard",
        on_change=Frame.show_keys,
    )
