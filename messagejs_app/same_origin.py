"""Reflex bakes one absolute URL into the frontend; ours talks to whatever origin served it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Final

from reflex.plugins import Plugin

_BAKED_URL: Final = re.compile(r"""[`"'](http|ws)s?://localhost:\d+(/[^`"']*)[`"']""")
_ORIGIN: Final = {"http": "location.origin", "ws": 'location.origin.replace(/^http/,"ws")'}


class SameOrigin(Plugin):
    """Rewrites the built chunk, so that one build serves every host, port and TLS proxy."""

    def post_build(self, **context: Any) -> None:
        assets = Path(context["static_dir"]) / "assets"
        chunks = sorted(assets.glob("reflex-env-*.js"))
        if len(chunks) != 1:
            result = ", ".join(chunk.name for chunk in chunks) or "none"
            raise RuntimeError(
                f"Expected one chunk reflex-env-*.js in {assets}, found {result}; adapt SameOrigin."
            )
        text, count = _BAKED_URL.subn(
            lambda m: f"`${{{_ORIGIN[m[1]]}}}{m[2]}`", chunks[0].read_text()
        )
        if count < 2 or "localhost" in text:  # at least the websocket and the upload address
            raise RuntimeError(
                f"{chunks[0].name} does not hold the URLs that SameOrigin rewrites: {text[:400]}"
            )
        chunks[0].write_text(text)
