"""The page of a mailed invitation: accept it, or first register or sign in as the one it is for."""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import urlencode

import reflex as rx

from backend import ids
from backend.errors import AlreadyMember, Forbidden, InvalidLink, Unauthenticated
from backend.platform import current_platform
from backend.services.accounts import invitations
from messagejs_app.components import html as h
from messagejs_app.components.controls import busy_button, button
from messagejs_app.components.entrance import entrance, heading, problem, sheet, way_on
from messagejs_app.events import Events, Steps, event, go_to, sign_out
from messagejs_app.session import Session

_TOKEN_LIMIT: Final = 255
_DEAD_LINK: Final = "The invitation is not valid, has been used or has expired. Ask for a new one."


class InvitationState(Session):
    """`stand`: "" not known yet, dead, out (signed out), other (as somebody else), in (as the one
    invited).
    """

    stand: str = ""
    invited_project: str = ""
    invited_email: str = ""
    invited_as: str = ""
    me: str = ""
    register_path: str = ""
    login_path: str = ""
    problem: str = ""
    is_accepting: bool = False

    @event
    async def load(self) -> Events:
        self._put(stand="", problem="", is_accepting=False, me="")
        try:
            async with current_platform().database.session() as session:
                result = await invitations.describe_invitation(session, token=self._token)
        except InvalidLink:
            self.stand = "dead"
            return None
        self._put(
            invited_project=result.project_name,
            invited_email=result.email,
            invited_as=result.role.value,
        )
        again = f"/invitation?{urlencode({'token': self._token})}"
        self.register_path = (
            f"/register?{urlencode({'invitation': self._token, 'email': result.email})}"
        )
        self.login_path = f"/login?{urlencode({'next': again, 'email': result.email})}"
        try:
            async with current_platform().database.transaction() as session:
                self.me = (await self._principal(session)).email
        except Unauthenticated:
            self.stand = "out"
        else:
            self.stand = "in" if self.me == result.email else "other"
        return None

    @event
    async def accept(self, _data: dict[str, Any]) -> Steps:
        self._put(problem="", is_accepting=True)
        yield None
        try:
            async with current_platform().database.transaction() as session:
                principal = await self._principal(session)
                member = await invitations.accept_invitation(session, principal, token=self._token)
                project_id = ids.encode(ids.PROJECT, member.project_id)
        except (AlreadyMember, Forbidden) as exc:
            self.problem = exc.message
            return
        except InvalidLink:
            self.stand = "dead"
            return
        finally:
            self.is_accepting = False
        self.project_id = project_id
        yield go_to("/")

    @property
    def _token(self) -> str:
        return self.router.url.query_parameters.get("token", "")[:_TOKEN_LIMIT]


def page() -> rx.Component:
    state = InvitationState
    known = h.fragment(
        heading(
            h.join("Join ", state.invited_project),
            h.join("You are invited as ", state.invited_as, "."),
        ),
        problem(state.problem),
        h.when(state.stand == "in", _accept()),
        h.when(state.stand == "other", _another()),
        h.when(state.stand == "out", _who()),
    )
    dead = h.fragment(
        heading("Invitation", "To a project on MessageJS."),
        h.div(
            h.icon("triangle_alert", 14),
            h.span(_DEAD_LINK, class_name="grow"),
            class_name="note bad",
            role="alert",
        ),
        way_on("Open the dashboard", "/", look="sec"),
    )
    waiting = heading("Invitation", "To a project on MessageJS.")
    return entrance(
        sheet(h.when(state.stand == "dead", dead, h.when(state.stand == "", waiting, known))),
        h.native_form(action="/auth/logout", id="sign-out", hidden=True),
    )


def _accept() -> rx.Component:
    form = h.form(
        busy_button(
            "Accept invitation", busy=InvitationState.is_accepting, type="submit", size="lg"
        ),
        on_submit=InvitationState.accept,
        reset_on_submit=False,
    )
    return h.fragment(
        form, h.div("Signed in as ", InvitationState.me, class_name="muted", style=_CENTERED)
    )


def _another() -> rx.Component:
    sentence = h.join(
        "You are signed in as ",
        InvitationState.me,
        "; the invitation is for ",
        InvitationState.invited_email,
        ". Sign out, then open the link again.",
    )
    return h.fragment(problem(sentence), button("Sign out", size="lg", on_click=sign_out()))


def _who() -> rx.Component:
    for_whom = h.div(
        "The invitation is for ", InvitationState.invited_email, class_name="muted", style=_CENTERED
    )
    return h.fragment(
        for_whom,
        way_on("Create an account", InvitationState.register_path),
        way_on("Sign in", InvitationState.login_path, look="sec"),
    )


_CENTERED: Final = {"textAlign": "center", "overflowWrap": "anywhere"}


def register(app: rx.App) -> None:
    app.add_page(
        page, route="/invitation", title="Invitation · MessageJS", on_load=InvitationState.load
    )
