"""Checks of addresses in settings, whose messages never repeat any part of a password."""

from __future__ import annotations

import ipaddress
import re
from typing import Final
from urllib.parse import parse_qs, urlsplit

_ENCODE: Final = (
    "special characters in its user or password must be percent-encoded "
    "(@ is %40, : is %3A, / is %2F, ? is %3F, # is %23, % is %25)"
)
_STRAY_PERCENT: Final = re.compile(r"%(?![0-9A-Fa-f]{2})")


def check_server_url(url: str, schemes: tuple[str, ...], example: str) -> None:
    """Raise ValueError with the remedy unless `url` is
    `scheme://[user:password@]host[:port][,...][/path][?query]`.
    """
    scheme, separator, rest = url.partition("://")
    if not separator or scheme not in schemes:
        raise ValueError(
            f"must start with {' or '.join(f'{known}://' for known in schemes)}, for example"
            f" {example}"
        )
    # A character that ends the address too early leaves the @ in the path, or half of a password as
    # the port.
    address = re.split(r"[/?#]", rest, maxsplit=1)[0]
    path, _, query = rest[len(address) :].partition("?")
    if "@" in path or "#" in rest or not all("=" in part for part in query.split("&") if part):
        raise ValueError(f"cannot be read: {_ENCODE}")
    for host in address.rpartition("@")[2].split(","):
        if not _is_host(host):
            raise ValueError(f"cannot be read as host and port: {_ENCODE}, and a port is a number")


def check_postgres_url(url: str) -> None:
    """Raise ValueError unless libpq and SQLAlchemy understand the same by `url`."""
    check_server_url(
        url, ("postgresql", "postgres"), "postgresql://user:password@host:5432/messagejs"
    )
    rest = url.partition("://")[2]
    credentials = re.split(r"[/?]", rest, maxsplit=1)[0].rpartition("@")[0]
    if any(character in credentials for character in "@[]") or _STRAY_PERCENT.search(rest):
        raise ValueError(f"cannot be read: {_ENCODE}")


def check_redis_url(url: str) -> None:
    """Raise ValueError unless redis-py would connect to what `url` says, its database number
    included.
    """
    check_server_url(url, ("redis", "rediss", "unix"), "redis://host:6379/0")
    parts = urlsplit(url)
    database = "" if parts.scheme == "unix" else parts.path.strip("/")
    for number in [database, *parse_qs(parts.query).get("db", [])]:
        if number and not number.isdecimal():
            raise ValueError(
                "names a database that is not a number; for example redis://host:6379/0"
            )


def check_public_url(url: str) -> None:
    """Raise ValueError unless `url` is an http(s) address that links can begin with."""
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not _is_host(
        parts.netloc.rpartition("@")[2], needs_name=True
    ):
        raise ValueError("must be a URL with its scheme, for example https://messages.example.com")
    if parts.query or parts.fragment or "@" in parts.netloc:
        raise ValueError(
            "must be a URL without user, query or fragment, for example"
            " https://messages.example.com"
        )


def check_sentry_dsn(dsn: str) -> None:
    """Raise ValueError unless Sentry's client would take `dsn`."""
    parts = urlsplit(dsn)
    is_complete = parts.scheme in {"http", "https"} and parts.username and parts.hostname
    if not is_complete or not parts.path.rpartition("/")[2].isdecimal():
        raise ValueError(
            "must be the DSN that Sentry shows, for example https://key@sentry.example.com/1"
        )


def _is_host(host: str, *, needs_name: bool = False) -> bool:
    try:
        parts = urlsplit(f"//{host}")
        _ = parts.port  # raises ValueError when it isn't a port
    except ValueError:
        return False
    return bool(parts.hostname) or not needs_name


def check_proxies(names: tuple[str, ...]) -> tuple[str, ...]:
    """Return `names`. Raises ValueError for a name that isn't an address, a network or *."""
    for name in names:
        try:
            ipaddress.ip_network("0.0.0.0/0" if name == "*" else name, strict=False)
        except ValueError:
            raise ValueError(
                f"'{name}' is not an address or a network, such as 10.0.0.5 or 10.0.0.0/8, or *"
            ) from None
    return names


def url_host(host: str) -> str:
    """Return HOST as it is written in a URL that this machine can open."""
    if host in {"0.0.0.0", "::"}:  # noqa: S104 (recognized, not bound)
        return "localhost"
    return f"[{host}]" if ":" in host else host
