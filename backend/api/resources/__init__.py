"""One folder per noun; a handler reads the request, calls one service, and shapes the answer."""

from __future__ import annotations

from typing import Final

from fastapi import APIRouter

from backend.api.resources import aliases, callbacks, forms, health, instance
from backend.api.resources.admin.handlers import router as admin
from backend.api.resources.analytics.handlers import router as analytics
from backend.api.resources.audit.handlers import router as audit
from backend.api.resources.auth.handlers import router as auth
from backend.api.resources.auth.sessions import router as sessions
from backend.api.resources.campaigns.handlers import router as campaigns
from backend.api.resources.connectors.handlers import router as connectors
from backend.api.resources.connectors.provider_types import router as provider_types
from backend.api.resources.dead_letters.handlers import router as dead_letters
from backend.api.resources.keys.handlers import router as keys
from backend.api.resources.members.handlers import router as members
from backend.api.resources.members.invitations import router as invitations
from backend.api.resources.messages.actions import router as message_actions
from backend.api.resources.messages.export import router as message_export
from backend.api.resources.messages.reads import router as message_reads
from backend.api.resources.messages.send import router as message_sends
from backend.api.resources.projects.handlers import router as projects
from backend.api.resources.saved_routes.handlers import router as saved_routes
from backend.api.resources.send_tokens.handlers import router as send_tokens
from backend.api.resources.templates.handlers import router as templates

# Each router names its whole path (/api/v1/...). The send path first: paths are tried in order.
ROUTERS: Final[tuple[APIRouter, ...]] = (
    message_sends,
    send_tokens,
    auth,
    sessions,
    projects,
    members,
    invitations,
    audit,
    keys,
    connectors,
    saved_routes,
    provider_types,
    templates,
    aliases.router,
    message_actions,
    message_export,
    campaigns,
    dead_letters,
    message_reads,
    callbacks.router,
    analytics,
    forms.router,
    admin,
    instance.router,
    health.router,
)
