"""The pages; `register` gives them to the app."""

from __future__ import annotations

from typing import Final

import reflex as rx

from messagejs_app import session
from messagejs_app.pages import invitation, recovery, sign_in
from messagejs_app.pages.campaigns import view as campaigns
from messagejs_app.pages.connectors import form_view as connector_form
from messagejs_app.pages.connectors import list_view as connectors
from messagejs_app.pages.dead_letters import view as dead_letters
from messagejs_app.pages.keys import view as keys
from messagejs_app.pages.messages import view as messages
from messagejs_app.pages.overview import view as overview
from messagejs_app.pages.playground import view as playground
from messagejs_app.pages.settings import view as settings
from messagejs_app.pages.templates import editor_view as template_editor
from messagejs_app.pages.templates import list_page as templates

# What nobody has to be signed in for.
PUBLIC: Final = (
    sign_in.SignIn,
    recovery.Forgot,
    recovery.Reset,
    recovery.Confirm,
    invitation.InvitationState,
)


def register(app: rx.App) -> None:
    session.bind(app)
    daily = (overview, messages, dead_letters, campaigns, templates, template_editor, playground)
    for page in (sign_in, recovery, invitation, *daily, connectors, connector_form, keys, settings):
        page.register(app)
