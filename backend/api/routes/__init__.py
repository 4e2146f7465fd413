"""One file per resource; a route reads the request, calls one service, and shapes the answer."""

from __future__ import annotations

from typing import Final

from fastapi import APIRouter

from backend.api.routes import (
    admin,
    aliases,
    analytics,
    audit,
    auth,
    callbacks,
    campaigns,
    connectors,
    dead_letters,
    delivery_routes,
    export,
    forms,
    health,
    instance,
    invitations,
    keys,
    members,
    message_actions,
    message_reads,
    messages,
    projects,
    provider_types,
    send_tokens,
    sessions,
    templates,
)

# Each router names its whole path (/api/v1/...). The send path first: routes are tried in order.
ROUTERS: Final[tuple[APIRouter, ...]] = (
    messages.router,
    send_tokens.router,
    auth.router,
    sessions.router,
    projects.router,
    members.router,
    invitations.router,
    audit.router,
    keys.router,
    connectors.router,
    delivery_routes.router,
    provider_types.router,
    templates.router,
    aliases.router,
    message_actions.router,
    export.router,
    campaigns.router,
    dead_letters.router,
    message_reads.router,
    callbacks.router,
    analytics.router,
    forms.router,
    admin.router,
    instance.router,
    health.router,
)
