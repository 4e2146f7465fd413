"""The mark: a speech bubble with braces in it."""

from __future__ import annotations

import reflex as rx

from messagejs_app.components import html as h

_BUBBLE = (
    "M6 1h8a5 5 0 0 1 5 5v6a5 5 0 0 1-5 5H8.6L4.3 19.6A.8.8 0 0 1 3 19v-2.5A5 5 0 0 1 1 12V6a5 5 0"
    " 0 1 5-5Z"
)
_BRACES = (
    "M7.6 5.6C6.3 5.6 6.6 8.9 5.2 9c1.4.1 1.1 3.4 2.4 3.4M12.4 5.6c1.3 0 1 3.3 2.4 3.4-1.4.1-1.1"
    " 3.4-2.4 3.4"
)


def mark(size: int = 20) -> rx.Component:
    bubble = h.tag("path", d=_BUBBLE, class_name="bubble-shape")
    braces = h.tag("path", d=_BRACES, class_name="bubble-braces")
    return h.tag(
        "svg",
        bubble,
        braces,
        view_box="0 0 20 20",
        class_name="mark",
        style={"width": f"{size}px", "height": f"{size}px"},
        custom_attrs={"aria-hidden": "true"},
    )
