"""How the saved routes look."""

from __future__ import annotations

import reflex as rx

from messagejs_app.components import html as h
from messagejs_app.components.controls import button, card, field, note, text_input
from messagejs_app.components.overlays import confirm, dialog, menu_item, menu_rule, more_menu
from messagejs_app.pages.connectors.routes_state import RouteRow, RoutesState, Slot, StepOption

_STATE = RoutesState


def routes() -> rx.Component:
    add = button(h.icon("plus", 14), "Add route", size="sm", on_click=_STATE.add)
    none = h.div(
        "A route tries one channel after the other: WhatsApp first, SMS when it was not delivered"
        " in time.",
        class_name="cb muted",
    )
    return h.fragment(
        card(h.when(_STATE.routes, _table(), none), title="Routes", actions=add),
        dialog(
            _form(),
            is_open=_STATE.editing != "",
            title=h.pick(_STATE.editing == "new", "New route", "Change the route"),
            sentence="Each step is tried when the one before has failed, or not delivered in time.",
            on_change=_STATE.show_form,
        ),
        confirm(
            is_open=_STATE.deleting != "",
            title=h.join("Delete ", _STATE.deleting_name, "?"),
            sentence=(
                "Sends that name it are refused at once. Messages accepted before keep their"
                " routes."
            ),
            verb="Delete",
            on_confirm=_STATE.delete,
            on_change=_STATE.show_delete,
        ),
    )


def _table() -> rx.Component:
    columns = [
        h.col(style={"width": width}) if width else h.col()
        for width in ("200px", "", "144px", "56px")
    ]
    head = h.tr(h.th("Route"), h.th("Steps"), h.th("Next step"), h.th())
    body = h.tbody(h.each(_STATE.routes, _row))
    return h.table(h.colgroup(*columns), h.thead(head), body, class_name="cards")


def _row(row: RouteRow) -> rx.Component:
    actions = more_menu(
        menu_item("Change", "pencil", on_select=_STATE.edit(row.id)),
        menu_rule(),
        menu_item("Delete", "trash_2", danger=True, on_select=_STATE.ask_delete(row.id, row.name)),
    )
    return h.tr(
        h.td(row.name, class_name="med ell"),
        h.td(row.steps, class_name="ell"),
        h.td(row.after, class_name="muted drop"),
        h.td(actions, class_name="right end"),
        key=row.id,
    )


def _form() -> rx.Component:
    name = text_input(
        "name", default_value=_STATE.name, placeholder="urgent", max_length=100, auto_focus=True
    )
    after = text_input("after", default_value=_STATE.after, placeholder="5m", max_length=12)
    body = h.div(
        h.when(_STATE.errors[""], note(_STATE.errors[""], tone="bad", icon="triangle_alert")),
        field("Name", name, error=_STATE.errors["name"]),
        h.each(_STATE.slots, _slot),
        field(
            "Not delivered within",
            after,
            hint="30s, 5m or 2h. Empty: only a failure leads to the next step.",
            error=_STATE.errors["after"],
            optional="optional",
        ),
        class_name="db",
    )
    foot = h.div(
        button("Cancel", on_click=_STATE.show_form(False)),
        button("Save", look="pri", type="submit", data_submit=""),
        class_name="df",
    )
    return h.form(
        body,
        foot,
        on_submit=_STATE.save,
        reset_on_submit=False,
        no_validate=True,
        key=_STATE.editing,
    )


def _slot(slot: Slot) -> rx.Component:
    select = h.select(
        h.option("No step", value=""),
        h.each(_STATE.options, _option),
        id=slot.name,
        name=slot.name,
        default_value=slot.value,
        class_name="input",
    )
    return field(slot.label, select, key=slot.name, control_id=slot.name)


def _option(option: StepOption) -> rx.Component:
    return h.option(option.label, value=option.value)
