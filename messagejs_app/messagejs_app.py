"""Composition root: the dashboard's pages, and the public API in front of them on the same port."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

import reflex as rx
from reflex.utils import prerequisites
from reflex_base import constants
from starlette.types import ASGIApp

from backend.api.app import create_api
from backend.settings import get_settings
from messagejs_app import theme
from messagejs_app.components.html import PREVIEW_PATH
from messagejs_app.front import door, front
from messagejs_app.page_headers import PageHeaders, inline_scripts
from messagejs_app.pages import register
from messagejs_app.session import explain


class Dashboard(rx.App):
    """The Reflex app with the API in front: what the web server calls to get its ASGI application.

    Not through `api_transformer`: Reflex would answer the API's CORS preflights by the dashboard's rules.
    """

    def __call__(self) -> ASGIApp:
        api = create_api()

        @asynccontextmanager
        async def api_lifespan() -> AsyncIterator[None]:
            async with api.router.lifespan_context(api):
                yield

        self.register_lifespan_task(api_lifespan)
        pages = door(super().__call__(), allowed_origins=_allowed_origins())
        scripts = inline_scripts(_site())
        return front(api, PageHeaders(pages, scripts=scripts, preview_path=PREVIEW_PATH, is_https=_is_https()))


def _allowed_origins() -> frozenset[str]:
    settings = get_settings()
    public = urlsplit(settings.public_url)
    return frozenset({f"{public.scheme}://{public.netloc}", *settings.allowed_origins})


def _site() -> Path:
    """Return the directory of the built pages."""
    return prerequisites.get_web_dir() / constants.Dirs.STATIC


def _is_https() -> bool:
    return get_settings().public_url.startswith("https://")


app = Dashboard(backend_exception_handler=explain, **theme.app_options())
register(app)
