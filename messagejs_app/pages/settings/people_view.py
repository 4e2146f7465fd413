"""How members and invitations look."""

from __future__ import annotations

from typing import Final

import reflex as rx

from backend.services.access.access import Role
from messagejs_app.components import html as h
from messagejs_app.components.controls import (
    badge,
    busy_button,
    button,
    card,
    copy_button,
    field,
    note,
    skeleton_rows,
    status,
    text_input,
)
from messagejs_app.components.overlays import (
    confirm,
    dialog,
    menu_item,
    menu_line,
    menu_rule,
    more_menu,
)
from messagejs_app.pages.settings.people_state import InvitationRow, MemberRow, PeopleState

_MEANING: Final = {
    Role.VIEWER: "sees everything",
    Role.DEVELOPER: "also sends and builds",
    Role.ADMIN: "also manages members",
    Role.OWNER: "may also delete the project",
}


def people() -> rx.Component:
    invite = button(
        h.icon("user_plus", 14), "Invite", size="sm", on_click=PeopleState.show_invite(True)
    )
    return h.fragment(
        card(
            h.when(PeopleState.is_loaded, _members(), skeleton_rows(2)),
            title="Members",
            meta=PeopleState.count,
            actions=h.when(PeopleState.may_manage, invite),
        ),
        h.when(PeopleState.open_invitations, card(_invitations(), title="Invitations")),
        _invite_dialog(),
        confirm(
            is_open=PeopleState.removing != "",
            title=h.pick(
                PeopleState.is_leaving,
                "Leave the project?",
                h.join("Remove ", PeopleState.removing_name, "?"),
            ),
            sentence=h.pick(
                PeopleState.is_leaving,
                "You come back only by a new invitation.",
                "They can no longer open the project. Keys they made go on working.",
            ),
            verb=h.pick(PeopleState.is_leaving, "Leave", "Remove"),
            on_confirm=PeopleState.remove,
            on_change=PeopleState.show_remove,
        ),
    )


def _columns(*widths: str) -> rx.Component:
    return h.colgroup(*[h.col(style={"width": width}) if width else h.col() for width in widths])


def _members() -> rx.Component:
    head = h.tr(h.th("Person"), h.th("Role"), h.th("Joined"), h.th())
    return h.table(
        _columns("", "104px", "112px", "56px"),
        h.thead(head),
        h.tbody(h.each(PeopleState.people, _member)),
        class_name="cards two-line",
    )


def _member(row: MemberRow) -> rx.Component:
    name = h.div(
        h.span(row.name, class_name="med ell"), h.when(row.is_me, badge("You")), class_name="row"
    )
    leave = menu_item(
        "Leave", "log_out", danger=True, on_select=PeopleState.ask_remove(row.id, row.name, True)
    )
    remove = menu_item(
        "Remove",
        "user_minus",
        danger=True,
        on_select=PeopleState.ask_remove(row.id, row.name, False),
    )
    actions = more_menu(
        h.when(row.may_change, h.fragment(menu_line("Role"), *_roles(row), menu_rule())),
        h.when(row.is_me, leave, remove),
    )
    return h.tr(
        h.td(name, h.div(row.email, class_name="muted small ell")),
        h.td(row.role_name, class_name="sub2"),
        h.td(h.time(row.joined, "ago"), class_name="muted drop"),
        h.td(h.when(row.may_change | row.is_me, actions), class_name="right end"),
        key=row.id,
    )


def _roles(row: MemberRow) -> list[rx.Component]:
    def item(role: Role) -> rx.Component:
        return menu_item(
            role.capitalize(),
            tick=row.role == role.value,
            on_select=PeopleState.change_role(row.id, role.value),
        )

    return [
        h.when(PeopleState.is_owner, item(Role.OWNER)),
        *(item(role) for role in (Role.ADMIN, Role.DEVELOPER, Role.VIEWER)),
    ]


def _invitations() -> rx.Component:
    head = h.tr(h.th("E-mail"), h.th("Role"), h.th("Good until"), h.th())
    return h.table(
        _columns("", "104px", "144px", "88px"),
        h.thead(head),
        h.tbody(h.each(PeopleState.open_invitations, _invitation)),
        class_name="cards",
    )


def _invitation(row: InvitationRow) -> rx.Component:
    until = h.when(
        row.has_expired,
        status("Expired", "expired"),
        h.time(row.expires, "minute", class_name="muted"),
    )
    revoke = button(
        "Revoke", look="ghost", size="sm", on_click=PeopleState.revoke(row.id, row.email)
    )
    return h.tr(
        h.td(row.email, class_name="ell"),
        h.td(row.role_name, class_name="sub2"),
        h.td(until, class_name="sub2"),
        h.td(revoke, class_name="right end"),
        key=row.id,
    )


def _invite_dialog() -> rx.Component:
    return dialog(
        h.when(PeopleState.link, _link(), _form()),
        is_open=PeopleState.is_inviting,
        title="Invite to the project",
        sentence="A link for one address, good once, for a week.",
        on_change=PeopleState.show_invite,
    )


def _form() -> rx.Component:
    email = text_input(
        "email", type="email", placeholder="ada@example.com", auto_focus=True, max_length=254
    )
    shared = (Role.VIEWER, Role.DEVELOPER, Role.ADMIN)
    options = [
        h.option(f"{role.capitalize()}: {_MEANING[role]}", value=role.value) for role in shared
    ]
    owner = h.option(f"Owner: {_MEANING[Role.OWNER]}", value=Role.OWNER.value)
    select = h.select(
        *options,
        h.when(PeopleState.is_owner, owner),
        id="role",
        name="role",
        class_name="input",
        default_value=Role.DEVELOPER.value,
    )
    body = h.div(
        h.when(
            PeopleState.errors[""], note(PeopleState.errors[""], tone="bad", icon="triangle_alert")
        ),
        field("E-mail", email, error=PeopleState.errors["email"]),
        field("Role", select),
        class_name="db",
    )
    foot = h.div(
        button("Cancel", on_click=PeopleState.show_invite(False)),
        busy_button("Invite", busy=PeopleState.is_sending, type="submit", data_submit=""),
        class_name="df",
    )
    return h.form(body, foot, on_submit=PeopleState.invite, reset_on_submit=False, no_validate=True)


def _link() -> rx.Component:
    sentence = h.span(
        "No mail goes out from this server. Give this link to ", PeopleState.link_for, " yourself."
    )
    secret = h.div(
        h.span(PeopleState.link, class_name="mono grow wrap", id="invitation-link"),
        copy_button(PeopleState.link, text=None),
        class_name="secret",
    )
    return h.fragment(
        h.div(note(sentence, tone="warn", icon="mail_warning"), secret, class_name="db"),
        h.div(button("Done", look="pri", on_click=PeopleState.show_invite(False)), class_name="df"),
    )
