"""Addresses that a tenant names: resolve once, refuse private ones, connect to the checked one.

Used for SMTP hosts and webhook URLs. If we connected by name after the check, a second DNS answer
could send us elsewhere, so we connect to the very address that was checked.
"""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import re
import socket
import ssl
from functools import lru_cache
from typing import Final

import certifi
from aiohttp.abc import AbstractResolver, ResolveResult

from backend.providers.frame.names import NAMES, NameLookups

# As DNS has them (RFC 1035 2.3.4), and with underscores, which names of containers have.
_HOST_NAME: Final = re.compile(r"(?:[A-Za-z0-9_-]{1,63}\.)*[A-Za-z0-9_-]{1,63}\.?")
_LONGEST_NAME: Final = 253
_IpAddress = ipaddress.IPv4Address | ipaddress.IPv6Address

_NAT64: Final = ipaddress.ip_network("64:ff9b::/96")
# Metadata services on addresses that count as public: Azure's wire server, Oracle's classic one.
_METADATA: Final = frozenset(
    {ipaddress.ip_address("168.63.129.16"), ipaddress.ip_address("192.0.0.192")}
)


class AddressRefused(ValueError):
    """A tenant-supplied host leads to an address that tenants may not reach."""

    def __init__(self, host: str) -> None:
        # The address is not shown: it would tell a stranger what the internal DNS knows.
        super().__init__(
            f"Host '{host}' leads to a private or reserved address; use a public host, "
            "or let the administrator set ALLOW_PRIVATE_NETWORK=true."
        )
        self.host = host


def is_host(name: str) -> bool:
    """Tell whether `name` can be looked up: an IP literal, or labels of 1 to 63 characters."""
    bare = name.strip("[]")
    try:
        ipaddress.ip_address(bare)
    except ValueError:
        return (
            name == bare and len(bare) <= _LONGEST_NAME and _HOST_NAME.fullmatch(bare) is not None
        )
    return name in {bare, f"[{bare}]"}


def is_public(address: str) -> bool:
    """Tell whether a tenant may make us connect to this IP literal.

    For IPv4 inside IPv6 (mapped, NAT64, 6to4, Teredo) the IPv4 address decides. False for anything
    that isn't an IP literal.
    """
    try:
        ip: _IpAddress = ipaddress.ip_address(address)
    except ValueError:
        return False
    if isinstance(ip, ipaddress.IPv6Address):
        embedded = _embedded_ipv4(ip)
        if embedded is not None:
            ip = embedded
        elif ip.is_site_local or ip.is_reserved:
            return False
    return ip.is_global and not ip.is_multicast and not ip.is_unspecified and ip not in _METADATA


def _embedded_ipv4(ip: ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    if ip in _NAT64:
        return ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
    if ip.teredo is not None:
        return ip.teredo[1]
    return ip.ipv4_mapped or ip.sixtofour


def check_host_literal(host: str, *, allow_private: bool = False) -> None:
    """Raise AddressRefused when `host` is an IP literal that is not public.

    HTTP clients do not ask the resolver about literals, so `CheckingResolver` never sees them.
    Ambiguous forms (`127.1`, `0x7f000001`, `2130706433`) are refused too.
    """
    if allow_private:
        return
    bare = host.strip("[]")
    try:
        ipaddress.ip_address(bare)
    except ValueError:
        if _is_legacy_ipv4(bare):
            raise AddressRefused(host) from None
        return
    if not is_public(bare):
        raise AddressRefused(host)


def _is_legacy_ipv4(host: str) -> bool:
    try:
        socket.inet_aton(host)
    except OSError:
        return False
    return True


async def resolve_checked(
    host: str,
    port: int,
    *,
    allow_private: bool,
    is_trusted: bool = False,
    names: NameLookups = NAMES,
) -> list[ResolveResult]:
    """Resolve `host` once; raises AddressRefused when any of its addresses is not public.

    One private address among public ones refuses the host: which one is connected to would be
    chance. Raises `socket.gaierror` when the name does not resolve, or can be none. `is_trusted`:
    no tenant chose it.
    """
    check_host_literal(host, allow_private=allow_private)
    try:
        addresses = await names.addresses(host.strip("[]"), is_trusted=is_trusted)
    except UnicodeError as exc:
        # Python's answer to labels that are empty or too long.
        raise socket.gaierror(
            socket.EAI_NONAME, "it is not a host name; check its spelling"
        ) from exc
    results: list[ResolveResult] = []
    for family, protocol, literal in addresses:
        if not allow_private and not is_public(literal):
            raise AddressRefused(host)
        results.append(
            ResolveResult(
                hostname=host,
                host=literal,
                port=port,
                family=family,
                proto=protocol,
                flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
            )
        )
    return results


async def connect_checked(host: str, port: int, *, allow_private: bool) -> socket.socket:
    """Return a non-blocking socket connected to a checked address of `host`.

    Raises AddressRefused, or OSError when no address could be connected to.
    """
    loop = asyncio.get_running_loop()
    last: OSError | None = None
    for result in await resolve_checked(host, port, allow_private=allow_private):
        connection = socket.socket(result["family"], socket.SOCK_STREAM)
        connection.setblocking(False)
        try:
            await loop.sock_connect(connection, (result["host"], port))
        except OSError as exc:
            connection.close()
            last = exc
        except BaseException:
            connection.close()
            raise
        else:
            return connection
    raise last or OSError(f"Host '{host}' has no address; check its spelling.")


class TrustingResolver(AbstractResolver):
    """An aiohttp resolver for providers' URLs, which tenants don't choose."""

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        results = await self._addresses(host, port)
        return [result for result in results if family in {socket.AF_UNSPEC, result["family"]}]

    async def _addresses(self, host: str, port: int) -> list[ResolveResult]:
        return await resolve_checked(host, port, allow_private=True, is_trusted=True)

    async def close(self) -> None:
        """Nothing is held open."""


class CheckingResolver(TrustingResolver):
    """An aiohttp resolver for tenant-supplied URLs; pair it with `check_host_literal`."""

    async def _addresses(self, host: str, port: int) -> list[ResolveResult]:
        try:
            return await resolve_checked(host, port, allow_private=False)
        except AddressRefused as exc:
            # aiohttp reports an OSError of its resolver as a connector error: nothing was sent.
            raise OSError(errno.EACCES, str(exc)) from exc


@lru_cache(maxsize=1)
def tls_context() -> ssl.SSLContext:
    """Return the client context that trusts the system's authorities and certifi's.

    So it works on a machine without system certificates and with a company's own authority.
    """
    context = ssl.create_default_context()
    context.load_verify_locations(certifi.where())
    return context
