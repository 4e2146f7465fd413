"""How a connector's form looks."""

from __future__ import annotations

import reflex as rx

from messagejs_app.components import html as h
from messagejs_app.components.controls import (
    busy_button,
    button,
    card,
    copy_button,
    field,
    link_button,
    note,
    provider_icon,
    skeleton_rows,
    status,
    text_input,
)
from messagejs_app.components.overlays import confirm, menu, menu_item
from messagejs_app.layout import frame
from messagejs_app.pages.connectors.form_state import ConnectorFormState, FormField, Option

_STATE = ConnectorFormState
_IS_NEW = ConnectorFormState.id == "new"


def page() -> rx.Component:
    back = h.div(
        h.link(
            h.icon("chevron_left", 14),
            "Connectors",
            to="/connectors",
            class_name="row",
            style={"gap": "4px"},
        ),
        class_name="crumb",
        style={"marginBottom": "12px"},
    )
    about = h.fragment(_health(), h.when(_STATE.callback_url, _receipts()))
    side = h.when(_IS_NEW, _about_new(), about)
    body = h.div(_form(), h.div(side, class_name="stack"), class_name="form2")
    return frame(
        back,
        h.when(_STATE.is_loaded, h.fragment(_title(), body), card(skeleton_rows(4))),
        confirm(
            is_open=_STATE.asks_delete,
            title=h.join("Delete ", _STATE.name, "?"),
            sentence="Sends that name it are refused at once. Messages waiting for it will fail.",
            verb="Delete",
            on_confirm=_STATE.delete,
            on_change=_STATE.ask_delete,
        ),
        active="Connectors",
    )


def _title() -> rx.Component:
    pause = button(h.icon("pause"), "Pause", on_click=_STATE.set_active(False))
    resume = button(h.icon("play"), "Activate", on_click=_STATE.set_active(True))
    more = menu(
        button(h.icon("ellipsis"), size="icon", aria_label="More"),
        menu_item("Delete", "trash_2", danger=True, on_select=_STATE.ask_delete(True)),
    )
    health = status(_STATE.health, _STATE.dot, style={"height": "32px", "marginRight": "8px"})
    actions = h.when(
        _IS_NEW, None, h.fragment(health, h.when(_STATE.is_active, pause, resume), more)
    )
    name = h.when(_IS_NEW, h.join("New ", _STATE.title, " connector"), _STATE.name)
    words = h.div(
        h.h1(name, style={"lineHeight": "28px"}),
        h.div(_STATE.summary, class_name="sub"),
        style={"minWidth": 0},
    )
    return h.div(
        provider_icon(_STATE.kind, large=True),
        words,
        h.span(class_name="grow"),
        actions,
        class_name="title",
    )


def _form() -> rx.Component:
    name = field(
        "Name",
        text_input("name", default_value=_STATE.name, placeholder="Twilio UK", max_length=255),
        hint="Its name in this dashboard.",
        error=_STATE.errors["name"],
    )
    default_error = h.span(_STATE.errors["isDefault"], class_name="hint bad", role="alert")
    body = h.div(
        _problem(),
        name,
        h.div(h.each(_STATE.fields, _field), class_name="grid2"),
        _pacing(),
        _default(),
        h.when(_STATE.errors["isDefault"], default_error),
        _weight(),
        class_name="cb stack",
    )
    form = h.form(body, _foot(), on_submit=_STATE.save, reset_on_submit=False, key=_STATE.id)
    return card(form, title="Credentials")


def _pacing() -> rx.Component:
    keeps = h.join("Empty keeps the default, ", _STATE.pace_default, ".")
    keeps_each = h.join("Empty keeps the default, ", _STATE.pace_each_default, ".")
    pace = field(
        "Pace",
        text_input(
            "pacing.perSecond",
            default_value=_STATE.pace,
            placeholder=_STATE.pace_default,
            input_mode="decimal",
        ),
        hint=h.pick(_STATE.pace_default, keeps, "Empty means unpaced."),
        error=_STATE.errors["config.pacing.perSecond"],
        optional="messages per second",
    )
    each = field(
        "Per recipient",
        text_input(
            "pacing.perRecipient",
            default_value=_STATE.pace_each,
            placeholder=_STATE.pace_each_default,
            input_mode="decimal",
        ),
        hint=h.pick(_STATE.pace_each_default, keeps_each, "Empty means unpaced."),
        error=_STATE.errors["config.pacing.perRecipientPerSecond"],
        optional="per second",
    )
    return h.div(pace, each, class_name="grid2")


def _default() -> rx.Component:
    return h.label(
        h.input_(
            type="checkbox",
            name="isDefault",
            class_name="switch",
            default_checked=_STATE.is_default,
        ),
        h.span("Default for ", h.span(_STATE.kind, class_name="mono")),
        h.span("used when a send names only the type", class_name="muted small hide-s"),
        class_name="row",
        style={"gap": "10px"},
    )


def _weight() -> rx.Component:
    return field(
        "Weight in the pool",
        text_input(
            "weight",
            default_value=_STATE.weight,
            placeholder="100",
            input_mode="numeric",
            max_length=4,
        ),
        hint=(
            "Sends that name only the type are shared between connectors with a weight. 0: only"
            " when the others fail."
        ),
        error=_STATE.errors["weight"],
        optional="optional",
    )


def _problem() -> rx.Component:
    whole = _STATE.errors[""]
    all_credentials = _STATE.errors["credentials"]
    return h.fragment(
        h.when(_STATE.broken_reason, note(_STATE.broken_reason, tone="bad", icon="triangle_alert")),
        h.when(_STATE.circuit_reason, note(_circuit(), tone="warn", icon="triangle_alert")),
        h.when(whole, note(whole, tone="bad", icon="triangle_alert")),
        h.when(all_credentials, note(all_credentials, tone="bad", icon="triangle_alert")),
    )


def _circuit() -> rx.Component:
    return h.span(
        h.span(
            "Not answering since ", h.time(_STATE.circuit_since, "short"), ".", class_name="med"
        ),
        " ",
        _STATE.circuit_reason,
        " Its messages wait; from ",
        h.time(_STATE.next_probe, "clock"),
        " on, one of them finds out whether it is back.",
    )


def _field(form_field: FormField) -> rx.Component:
    select = h.select(
        h.each(form_field.options, _option),
        name=form_field.name,
        id=form_field.name,
        default_value=form_field.value,
        class_name="input",
    )
    switch = h.input_(
        type="checkbox",
        name=form_field.name,
        id=form_field.name,
        class_name="switch",
        default_checked=form_field.value == "True",
    )
    secret = text_input(
        form_field.name,
        id=form_field.name,
        type="password",
        placeholder=form_field.placeholder,
        auto_complete="new-password",
        class_name="mono",
    )
    text = text_input(
        form_field.name,
        id=form_field.name,
        default_value=form_field.value,
        placeholder=form_field.placeholder,
    )
    control: rx.Component = rx.match(
        form_field.kind, ("select", select), ("boolean", switch), ("secret", secret), text
    )
    return field(
        form_field.label,
        control,
        hint=form_field.help,
        error=_STATE.errors[form_field.name],
        optional=h.when(form_field.is_optional, "optional"),
        key=form_field.name,
        control_id=form_field.name,
    )


def _option(option: Option) -> rx.Component:
    return h.option(option.label, value=option.value)


def _foot() -> rx.Component:
    result = h.when(
        _STATE.test_result,
        h.span(
            h.when(_STATE.test_passed, h.icon("check", 14), h.icon("triangle_alert", 14)),
            h.span(_STATE.test_result),
            class_name=h.pick(_STATE.test_passed, "row small good", "row small bad"),
            role="status",
        ),
    )
    test = h.when(
        _IS_NEW,
        None,
        busy_button("Test", busy=_STATE.is_testing, icon="zap", look="sec", on_click=_STATE.test),
    )
    discard = link_button("Discard", to="/connectors", look="ghost")
    save = h.when(
        _IS_NEW,
        busy_button("Add connector", busy=_STATE.is_saving, type="submit", data_submit=""),
        busy_button("Save changes", busy=_STATE.is_saving, type="submit", data_submit=""),
    )
    return h.div(test, result, h.span(class_name="grow"), discard, save, class_name="cfoot")


def _about_new() -> rx.Component:
    sentence = (
        "Secrets are encrypted with this server's key before they are stored, and never shown"
        " again."
    )
    return card(
        h.div(
            h.span(sentence, class_name="muted"),
            h.span("After saving, the provider is asked whether they work.", class_name="muted"),
            class_name="cb stack",
        ),
        title="What happens to them",
    )


def _health() -> rx.Component:
    last = h.when(_STATE.last_success, h.time(_STATE.last_success, "ago"), "—")
    facts = h.dl(
        h.dt("Last success"),
        h.dd(last),
        h.dt("Error rate"),
        h.dd(_STATE.error_rate, " ", h.span(_STATE.failed_of, class_name="muted")),
        h.dt("Accepted"),
        h.dd(_STATE.sent),
        class_name="kv",
        style={"gridTemplateColumns": "112px 1fr", "gap": "8px 12px"},
    )
    link = h.link(
        "Its messages",
        h.icon("chevron_right", 14),
        to=h.join("/messages?connector=", _STATE.id),
        class_name="btn ghost sm",
    )
    return card(h.div(facts, class_name="cb"), title="Health, 24 h", actions=link)


def _receipts() -> rx.Component:
    url = h.div(
        h.span(_STATE.callback_url, class_name="mono ell grow", id="callback-url"),
        copy_button(_STATE.callback_url, text=None),
        class_name="input ro has-btn",
    )
    arrived = h.span(
        "Since ", h.time(_STATE.callback_verified, "short"), " receipts are known to arrive."
    )
    waiting = h.span("None has arrived yet: messages stay at Sent.", class_name="muted")
    body = h.div(
        h.div(h.span("Callback URL", class_name="label"), url, class_name="field"),
        h.span(_STATE.callback_help, class_name="muted small"),
        h.when(_STATE.callback_verified, arrived, waiting),
        class_name="cb stack",
    )
    return card(body, title="Delivery receipts")


def register(app: rx.App) -> None:
    app.add_page(
        page,
        route="/connectors/[connector_id]",
        title="Connector · MessageJS",
        on_load=ConnectorFormState.load,
    )
