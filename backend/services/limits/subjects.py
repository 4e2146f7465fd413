"""Who is counted: addresses that count as one, and accounts by a hash."""

from __future__ import annotations

import hashlib
import ipaddress


def network_of(address: str) -> str:
    """Return what counts as one address.

    One person holds a whole IPv6 /64. An IPv4 address inside IPv6, as a server on `::` sees it,
    counts as the IPv4 address.
    """
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address or "unknown"
    if parsed.version == 4:
        return address
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(ipaddress.ip_network((parsed, 64), strict=False).network_address)


def is_this_machine(address: str) -> bool:
    """Whether it is loopback: the operator, or a proxy that TRUSTED_PROXIES does not name, behind
    which everybody has the same address.
    """
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False


def hash_of_email(email: str) -> str:
    """Return what names an account in Redis, which does not need to know who tries to log in."""
    return hashlib.sha256(email.strip().lower().encode()).hexdigest()[:32]
