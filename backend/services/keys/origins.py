"""Origins of web pages: the exact scheme, host and port that a browser sends."""

from __future__ import annotations

import ipaddress
import re
from typing import Final
from urllib.parse import urlsplit

_DEFAULT_PORT: Final = {"http": 80, "https": 443}
# RFC 6454, and the schemes of extensions and apps. A browser adds no path, user or blank.
_ORIGIN: Final = re.compile(
    r"null|[a-z][a-z0-9+.-]*://(?P<host>(?:\[[0-9a-f:.]+\]|[a-z0-9._~!$&'()*+,;=%-]*)(?::[0-9]{1,5})?)",
    re.IGNORECASE,
)


def origin_host(header: str) -> str | None:
    """Return the host and port that an Origin header names, "" where it names none; None: it is no
    origin.
    """
    matched = _ORIGIN.fullmatch(header)
    return None if matched is None else (matched["host"] or "").lower()


class InvalidOrigin(ValueError):
    """The text isn't an origin; the message says what one looks like."""


def normalised_origin(text: str) -> str:
    """Return the origin as a browser writes it: lower case, punycode, no default port, no path."""
    try:
        parts = urlsplit(text.strip())
        host, port = parts.hostname, parts.port
        encoded = host if host and ":" in host else (host or "").encode("idna").decode()
    except (ValueError, UnicodeError):
        host, port, encoded = None, None, ""
    scheme = parts.scheme.lower() if host else ""
    if (
        not host
        or scheme not in _DEFAULT_PORT
        or parts.path not in {"", "/"}
        or parts.query
        or parts.fragment
    ):
        raise InvalidOrigin(
            f"'{text[:80]}' is not an origin; write scheme, host and port only: https://example.com"
        )
    if "*" in host or parts.username is not None:
        raise InvalidOrigin(
            f"'{text[:80]}' is not an origin; write each origin out, without wildcards:"
            " https://example.com"
        )
    shown_host = f"[{encoded}]" if ":" in encoded else encoded
    return f"{scheme}://{shown_host}" + (
        f":{port}" if port and port != _DEFAULT_PORT[scheme] else ""
    )


def is_local(origin: str) -> bool:
    """Tell whether the page comes from the developer's own machine."""
    try:
        host = urlsplit(origin).hostname or ""
    except ValueError:
        return False
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
