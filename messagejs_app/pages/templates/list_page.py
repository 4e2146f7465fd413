"""The project's templates."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final
from uuid import UUID

import reflex as rx

from backend import ids
from backend.errors import TemplateNotFound
from backend.services.access.access import Action
from backend.services.templates import templates
from messagejs_app.components import html as h
from messagejs_app.components.controls import (
    badge,
    card,
    empty,
    link_button,
    page_title,
    provider_icon,
    skeleton_rows,
)
from messagejs_app.components.overlays import confirm, menu_item, menu_rule, more_menu
from messagejs_app.events import Events, event, say
from messagejs_app.layout import frame
from messagejs_app.session import Session
from messagejs_app.wording import instant


@dataclass
class TemplateRow:
    id: str
    name: str
    kind: str
    text: str
    variables: str
    version: str
    changed_at: str
    is_active: bool


PATH: Final = "/templates"


class TemplatesState(Session):
    rows: list[TemplateRow] = []
    is_loaded: bool = False
    deleting: str = ""
    deleting_name: str = ""

    @event
    async def load(self) -> Events:
        await self._enter()
        await self._look()
        self.deleting = ""
        self.is_loaded = True
        return None

    @event
    async def set_active(self, template_id: str, is_active: bool) -> Events:
        async with self._work(Action.MANAGE_TEMPLATES) as work:
            changed = await templates.update_template(
                work.session,
                work.access,
                template_id=template_id_of(template_id),
                changes={"is_active": is_active},
            )
        await self._look()
        return say(
            f"{changed.name} may be sent again."
            if is_active
            else f"{changed.name} is off. Sends are refused."
        )

    @event
    async def ask_delete(self, template_id: str, name: str) -> Events:
        self.deleting, self.deleting_name = template_id, name
        return None

    @event
    async def show_delete(self, is_shown: bool) -> Events:
        if not is_shown:
            self.deleting = ""
        return None

    @event
    async def delete(self) -> Events:
        name = self.deleting_name
        async with self._work(Action.MANAGE_TEMPLATES) as work:
            await templates.delete_template(
                work.session, work.access, template_id=template_id_of(self.deleting)
            )
        self.deleting = ""
        await self._look()
        return say(f"{name} deleted. Messages sent with it stay in the history.")

    async def _look(self) -> None:
        async with self._work(Action.VIEW_TEMPLATES) as work:
            ours = await templates.list_templates(work.session, work.access)
        self.rows = [
            TemplateRow(
                id=ids.encode(ids.TEMPLATE, item.id),
                name=item.name,
                kind=item.connector_type,
                text=" ".join(item.content.split())[:160],
                variables=", ".join(item.variables),
                version=f"v{item.version}",
                changed_at=instant(item.updated_at),
                is_active=item.is_active,
            )
            for item in ours
        ]


def template_id_of(text: str) -> UUID:
    """Raises TemplateNotFound for a text that is no template's id."""
    template_id = ids.decode(ids.TEMPLATE, text)
    if template_id is None:
        raise TemplateNotFound
    return template_id


def page() -> rx.Component:
    new = link_button(
        h.icon("plus"), "New template", to="/templates/new", look="pri", data_create=""
    )
    nothing = card(
        empty(
            "No templates",
            "A template is a text with variables, checked on every send.",
            link_button("New template", to="/templates/new"),
        )
    )
    return frame(
        page_title("Templates", new),
        h.when(
            TemplatesState.is_loaded,
            h.when(TemplatesState.rows, _table(), nothing),
            card(skeleton_rows(4)),
        ),
        confirm(
            is_open=TemplatesState.deleting != "",
            title=h.join("Delete ", TemplatesState.deleting_name, "?"),
            sentence="Sends that name it are refused at once.",
            verb="Delete",
            on_confirm=TemplatesState.delete,
            on_change=TemplatesState.show_delete,
        ),
        active="Templates",
    )


def _table() -> rx.Component:
    widths = ("240px", "", "220px", "80px", "116px", "56px")
    columns = [h.col(style={"width": width}) if width else h.col() for width in widths]
    head = h.tr(
        h.th("Template"), h.th("Text"), h.th("Variables"), h.th("Version"), h.th("Changed"), h.th()
    )
    return card(
        h.table(
            h.colgroup(*columns),
            h.thead(head),
            h.tbody(h.each(TemplatesState.rows, _row)),
            class_name="cards",
        )
    )


def _row(row: TemplateRow) -> rx.Component:
    cover = h.link(to=h.join("/templates/", row.id), class_name="cover", aria_label=row.name)
    off = h.when(row.is_active, None, badge("Off"))
    name = h.span(
        provider_icon(row.kind), h.span(row.name, class_name="med ell"), off, class_name="row"
    )
    turn_off = menu_item("Turn off", "pause", on_select=TemplatesState.set_active(row.id, False))
    turn_on = menu_item("Turn on", "play", on_select=TemplatesState.set_active(row.id, True))
    actions = more_menu(
        h.when(row.is_active, turn_off, turn_on),
        menu_rule(),
        menu_item(
            "Delete", "trash_2", danger=True, on_select=TemplatesState.ask_delete(row.id, row.name)
        ),
    )
    return h.tr(
        h.td(cover, name),
        h.td(row.text, class_name="muted sub2"),
        h.td(row.variables, class_name="mono muted drop"),
        h.td(badge(row.version), class_name="drop"),
        h.td(h.time(row.changed_at, "ago"), class_name="muted drop"),
        h.td(actions, class_name="right end"),
        class_name="link-row",
        key=row.id,
    )


def register(app: rx.App) -> None:
    app.add_page(
        page, route="/templates", title="Templates · MessageJS", on_load=TemplatesState.load
    )
