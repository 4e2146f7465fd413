"""How the editor looks: the texts at the left, what arrives at the right."""

from __future__ import annotations

import reflex as rx

from messagejs_app.components import html as h
from messagejs_app.components.controls import (
    badge,
    busy_button,
    button,
    field,
    note,
    skeleton_rows,
    text_input,
)
from messagejs_app.components.overlays import dialog
from messagejs_app.events import debounced
from messagejs_app.layout import frame
from messagejs_app.pages.templates.editor_state import Choice, EditorState, Variable
from messagejs_app.session import Session

_STATE = EditorState


def page() -> rx.Component:
    editor = h.div(_main(), _side(), class_name="editor")
    form = h.form(_bar(), editor, on_submit=_STATE.save, reset_on_submit=False, key=_STATE.id)
    return frame(
        h.when(_STATE.is_loaded, form, skeleton_rows(5)),
        _test_dialog(),
        active="Templates",
        full=True,
    )


def _bar() -> rx.Component:
    name = h.input_(
        name="name",
        default_value=_STATE.name,
        placeholder="Name the template",
        class_name="bare-name",
        aria_label="Name",
        max_length=255,
        auto_complete="off",
        on_change=lambda text: debounced(_STATE.write("name", text)),
    )
    crumb = h.div(
        h.link("Templates", to="/templates"),
        h.icon("chevron_right", 14),
        name,
        class_name="crumb grow",
    )
    changed = h.when(_STATE.is_dirty, h.span("Unsaved changes", class_name="muted small hide-s"))
    version = h.when(_STATE.version, badge(_STATE.version, " live"))
    test = button(
        h.icon("send"),
        "Test send",
        on_click=_STATE.show_test(True),
        disabled=(_STATE.id == "new") | _STATE.is_dirty,
        title="Sends the saved version",
    )
    save = busy_button(
        h.pick(_STATE.id == "new", "Create template", "Save"),
        busy=_STATE.is_saving,
        type="submit",
        data_submit="",
    )
    error = h.when(
        _STATE.errors["name"], h.span(_STATE.errors["name"], class_name="hint bad", role="alert")
    )
    return h.div(crumb, error, changed, version, test, save, class_name="edbar")


def _main() -> rx.Component:
    channel = h.select(
        h.each(_STATE.kinds, _option),
        value=_STATE.kind,
        on_change=_STATE.choose_kind,
        class_name="input slim",
        aria_label="Channel",
    )
    head = h.div(
        h.h2("Text", style={"alignSelf": "center"}),
        h.span(h.span("Sent with", class_name="muted small"), channel, class_name="end"),
        class_name="tabs",
        style={"padding": "0 24px"},
    )
    write = _mirror("content", _STATE.content, 6)
    foot = h.div(
        h.when(
            _STATE.errors["content"],
            h.span(_STATE.errors["content"], class_name="hint bad", role="alert"),
            h.span(
                "Write ",
                h.span("{{name}}", class_name="mono"),
                " for a variable.",
                class_name="hint",
            ),
        ),
        h.span(class_name="grow"),
        h.span(_STATE.characters, class_name="hint num"),
        class_name="row",
        style={"marginTop": "8px"},
    )
    return h.div(
        head,
        h.div(write, foot, class_name="edsec"),
        h.when(_STATE.is_email, _email()),
        _variables(),
        _policy(),
        class_name="edmain",
    )


def _email() -> rx.Component:
    subject = h.input_(
        id="subject",
        name="subject",
        default_value=_STATE.subject,
        class_name="input",
        placeholder="Your receipt {{number}}",
        auto_complete="off",
        on_change=lambda text: debounced(_STATE.write("subject", text)),
    )
    return h.div(
        field("Subject", subject, error=_STATE.errors["subject"]),
        field(
            "HTML",
            _mirror("html", _STATE.html, 6),
            control_id="html",
            hint="Optional. The text goes along for readers without HTML.",
            error=_STATE.errors["html"],
        ),
        class_name="edsec stack",
    )


def _mirror(name: str, value: object, rows: int) -> rx.Component:
    area = h.textarea(
        id=name,
        name=name,
        default_value=value,
        rows=str(rows),
        class_name="textarea",
        spell_check=True,
        aria_label=name.capitalize(),
        on_change=lambda text: debounced(_STATE.write(name, text)),
    )
    return h.div(h.div(class_name="back", aria_hidden="true"), area, class_name="mirror")


def _option(choice: Choice) -> rx.Component:
    return h.option(choice.name, value=choice.value)


def _variables() -> rx.Component:
    head = h.div(
        h.h2("Variables"),
        h.span("Found in the text", class_name="muted small"),
        class_name="sect",
        style={"padding": "0 24px", "marginBottom": "4px"},
    )
    columns = h.colgroup(h.col(style={"width": "200px"}), h.col())
    table = h.table(
        columns,
        h.thead(h.tr(h.th("Name"), h.th("Sample"))),
        h.tbody(h.each(_STATE.variables, _variable)),
        class_name="vars",
    )
    none = h.div(
        "None. The same text goes to everybody.",
        class_name="muted",
        style={"padding": "0 24px 8px"},
    )
    return h.div(
        head,
        h.when(_STATE.variables, table, none),
        class_name="edsec",
        style={"paddingLeft": 0, "paddingRight": 0, "paddingBottom": "8px"},
    )


def _variable(variable: Variable) -> rx.Component:
    sample = h.input_(
        default_value=variable.sample,
        class_name="input slim",
        aria_label=h.join("Sample of ", variable.name),
        auto_complete="off",
        on_change=lambda text: debounced(_STATE.give_sample(variable.name, text)),
    )
    return h.tr(
        h.td(variable.name, class_name="mono"),
        h.td(sample, style={"overflow": "visible"}),
        key=variable.name,
    )


def _policy() -> rx.Component:
    choice = h.select(
        h.option("Hold: wait for a receipt, never repeat", value="hold"),
        h.option("Resend: better twice than not at all", value="resend"),
        id="onUncertain",
        name="onUncertain",
        default_value=_STATE.on_uncertain,
        class_name="input",
    )
    who = h.div("Secret keys only", class_name="input ro")
    return h.div(
        h.div(
            field("Who may send it", who, hint="Servers, with a secret key. Never a web page."),
            field("If the outcome is uncertain", choice, hint="One-time codes should use Resend."),
            class_name="grid2",
        ),
        class_name="edsec",
        style={"border": 0},
    )


def _side() -> rx.Component:
    head = h.div(
        h.h2("Preview", style={"alignSelf": "center"}),
        class_name="tabs",
        style={"padding": "0 24px"},
    )
    return h.aside(
        head,
        h.when(_STATE.is_email, _mail(), _phone()),
        h.when(_STATE.is_sms, _segments()),
        class_name="edside",
    )


def _phone() -> rx.Component:
    top = h.div(
        h.span(
            Session.initials,
            class_name="avatar",
            style={"width": "32px", "height": "32px", "lineHeight": "32px", "fontSize": "12px"},
        ),
        h.span(Session.project_name, class_name="small med"),
        class_name="ph1",
    )
    text = h.when(_STATE.shown_text, _STATE.shown_text, h.span("Write a text.", class_name="muted"))
    bubble = h.div(h.div(text, class_name="bubble"), style={"padding": "16px 12px 20px"})
    return h.div(h.div(top, bubble, class_name="phone"), style={"padding": "24px 24px 16px"})


def _mail() -> rx.Component:
    subject = h.when(
        _STATE.shown_subject, _STATE.shown_subject, h.span("No subject", class_name="muted")
    )
    page_ = h.preview(_STATE.shown_html, title="HTML preview")
    body = h.when(_STATE.shown_html, page_, h.div(_STATE.shown_text, class_name="body"))
    return h.div(
        h.div(h.div(subject, class_name="subj"), body, class_name="mailbox"),
        style={"padding": "24px 24px 16px"},
    )


def _segments() -> rx.Component:
    bars = h.div(h.each(_STATE.segment_fills, _fill), class_name="segbar")
    head = h.div(
        h.span(_STATE.segments, class_name="med"),
        h.span(class_name="grow"),
        h.span(_STATE.segment_note, class_name="muted small"),
        class_name="row",
        style={"marginBottom": "8px"},
    )
    hint = h.when(
        _STATE.segment_hint,
        h.div(_STATE.segment_hint, class_name="hint", style={"marginTop": "8px"}),
    )
    return h.div(head, bars, hint, style={"padding": "0 24px 16px"})


def _fill(width: str) -> rx.Component:
    return h.i(h.tag("b", style={"width": width}))


def _test_dialog() -> rx.Component:
    where = h.pick(
        Session.mode == "test", "Test mode: it goes to Sandbox.", "Live mode: it goes out for real."
    )
    to = field(
        "To",
        text_input(
            "to", id="test-to", placeholder=_STATE.test_example, required=True, auto_focus=True
        ),
        hint=where,
        error=_STATE.test_error,
    )
    done = h.when(
        _STATE.test_message,
        note(
            "Accepted. ",
            h.link(
                "Open message", to=h.join("/messages?id=", _STATE.test_message), class_name="link"
            ),
            tone="ok",
            icon="circle_check",
        ),
    )
    foot = h.div(
        button("Close", on_click=_STATE.show_test(False)),
        busy_button("Send", busy=_STATE.is_testing, icon="send", type="submit"),
        class_name="df",
    )
    form = h.form(
        h.div(to, done, class_name="db"), foot, on_submit=_STATE.send_test, reset_on_submit=False
    )
    return dialog(
        form,
        is_open=_STATE.tests,
        title="Test send",
        sentence="The saved version, with the samples as variables.",
        on_change=_STATE.show_test,
        narrow=True,
    )


def register(app: rx.App) -> None:
    app.add_page(
        page,
        route="/templates/[template_id]",
        title="Template · MessageJS",
        on_load=EditorState.load,
    )
