"""How the dashboard looks before any page is drawn: theme, fonts, stylesheets, head.

Colors are in assets/*.css.
"""

from __future__ import annotations

from typing import Any, Final

import reflex as rx
from reflex.plugins import Plugin

from messagejs_app.components import html as h
from messagejs_app.events import COMMAND_ID

# Bundled at build time; nothing is loaded from another host.
_FONTS: Final = {"@fontsource-variable/inter": "5.2.8", "@fontsource-variable/geist-mono": "5.2.7"}
_STYLESHEETS: Final = ["/visual.css", "/pages.css"]


class BundledFonts(Plugin):
    """Adds the font packages to the frontend's dependencies and their styles to the root
    stylesheet.
    """

    def get_stylesheet_paths(self, **_context: Any) -> tuple[str, ...]:
        return tuple(f"{package}/index.css" for package in _FONTS)

    def get_frontend_dependencies(self, **_context: Any) -> tuple[str, ...]:
        return tuple(f"{package}@{version}" for package, version in _FONTS.items())


def radix_theme_plugin() -> Plugin:
    theme = rx.theme(
        accent_color="iris",
        gray_color="slate",
        radius="medium",
        scaling="100%",
        panel_background="solid",
        appearance="inherit",
    )
    plugin: Plugin = rx.plugins.RadixThemesPlugin(theme=theme)
    return plugin


def plugins() -> list[Plugin]:
    """What rxconfig.py needs from the dashboard."""
    return [radix_theme_plugin(), BundledFonts()]


def stylesheets() -> list[str]:
    return list(_STYLESHEETS)


def head() -> list[rx.Component]:
    """Icons, the install manifest, and the small script that keys, times and copying need."""
    return [
        h.tag("link", rel="icon", href="/icon.svg", type="image/svg+xml"),
        h.tag("link", rel="apple-touch-icon", href="/icon-192.png"),
        h.tag("link", rel="manifest", href="/manifest.webmanifest"),
        h.tag("meta", name="theme-color", content="#5b5bd6"),
        h.tag("meta", name="color-scheme", content="light dark"),
        h.tag("script", src="/dashboard.js", defer=True),
    ]


def toaster() -> rx.Component:
    """Where toasts appear, and the element through which handlers show one; on every page."""
    provider: rx.Component = rx.toast.provider(
        position="bottom-right", close_button=True, duration=4000, theme="dark", rich_colors=False
    )
    return h.fragment(provider, h.command(COMMAND_ID))


def app_options() -> dict[str, Any]:
    """What the composition root passes to rx.App."""
    return {
        "stylesheets": stylesheets(),
        "head_components": head(),
        "toaster": toaster(),
        "html_lang": "en",
    }
