"""One file per resource; a route reads the request, calls one service, and shapes the answer."""

from __future__ import annotations

from typing import Final

from fastapi import APIRouter

from backend.api.routes import (
    auth,
    connectors,
    forms,
    health,
    keys,
    message_reads,
    messages,
    projects,
    provider_types,
    templates,
)

# Each router names its whole path (/api/v1/...). The send path first: routes are tried in order.
ROUTERS: Final[tuple[APIRouter, ...]] = (
    messages.router,
    auth.router,
    projects.router,
    keys.router,
    connectors.router,
    provider_types.router,
    templates.router,
    message_reads.router,
    forms.router,
    health.router,
)
