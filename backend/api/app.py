"""The HTTP API as one ASGI application: routers, the frame, error answers, OpenAPI."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Final

from fastapi import FastAPI
from starlette.middleware.gzip import GZipMiddleware

from backend import __version__
from backend.api.frame import errors
from backend.api.frame.address_limit import CALLBACKS, AddressLimit
from backend.api.frame.concurrent_reads import ExportSlots, ReadSlots
from backend.api.frame.cors import CorsPolicy
from backend.api.frame.head import HeadMiddleware
from backend.api.frame.hot_path import Api, HotPath
from backend.api.frame.middleware import FrameMiddleware
from backend.api.openapi import document
from backend.api.resources import ROUTERS
from backend.api.resources.campaigns.upload import PATH as CAMPAIGNS
from backend.api.resources.messages.send import send_message
from backend.api.resources.routers import add_routes
from backend.platform import Platform
from backend.settings import Settings, get_settings

_GZIP_FROM_BYTES: Final = 1024


def create_api(settings: Settings | None = None) -> FastAPI:
    """Return the application.

    Its lifespan opens the Platform, unless one is in `app.state.platform`.
    """
    settings = settings or get_settings()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        if getattr(app.state, "platform", None) is not None:
            yield
            return
        app.state.platform = await Platform.open(settings)
        try:
            yield
        finally:
            await app.state.platform.close()
            app.state.platform = None

    app = Api(
        title="MessageJS API",
        version=__version__,
        openapi_url=document.OPENAPI_PATH,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        lifespan=lifespan,
    )
    # Routes that authenticate their callers themselves count here too.
    app.state.address_limit = AddressLimit(
        settings.global_rate_limit_per_minute, settings.trusted_proxies
    )
    app.state.export_slots = ExportSlots()
    # The routes' sessions use half of the process's connections to Postgres.
    app.state.read_slots = ReadSlots(settings.database_pool_size // 2)
    _add_frame(app, settings)
    errors.install(app)
    add_routes(app, ROUTERS)
    document.install(app)
    return app


def _add_frame(app: Api, settings: Settings) -> None:
    """Put the middleware around the application, and the shortcut for sends in front of it."""
    frame = partial(
        FrameMiddleware,
        body_limit_bytes=settings.body_limit_bytes,
        cors=CorsPolicy(settings.allowed_origins),
        address_limit=app.state.address_limit,
        larger_bodies={
            CALLBACKS: settings.callback_limit_bytes,
            CAMPAIGNS: settings.campaign_body_limit_bytes,
        },
    )
    # The first one added is the innermost. The shortcut only has the frame: the answer to a send is
    # one line, and has no HEAD.
    app.add_middleware(GZipMiddleware, minimum_size=_GZIP_FROM_BYTES, compresslevel=5)
    app.add_middleware(HeadMiddleware)
    app.add_middleware(frame)
    app.shortcut = HotPath(frame, {("POST", "/api/v1/messages"): send_message})
