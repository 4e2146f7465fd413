"""An HTTP client for what listens on this machine."""

from __future__ import annotations

import ssl
from typing import Any, Final

import httpx

# Nothing here is encrypted; reading all certificates for each client takes longer than its
# requests.
_NO_TLS: Final = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


def plain_client(base_url: str, **options: Any) -> httpx.AsyncClient:
    """Return `httpx.AsyncClient(base_url=base_url, **options)`, for `http` addresses only."""
    return httpx.AsyncClient(base_url=base_url, verify=_NO_TLS, **options)
