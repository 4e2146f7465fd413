"""Sign a send token without asking the server.

The JWT's claims are the fields of `POST /send-tokens`.
"""

from __future__ import annotations

import base64
import hmac
import json
import secrets
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from messagejs._models import SendToken

AUDIENCE: Final = "messagejs:send"
LONGEST_LIFE_S: Final = 600
_SECRET_LABEL: Final = b"messagejs send token secret v1"
_KID_LABEL: Final = b"messagejs send token kid v1"


def create_send_token(
    api_key: str,
    *,
    template_id: str,
    to: str | None = None,
    to_hash: str | None = None,
    connector_id: str | None = None,
    connector: str | None = None,
    variables: Mapping[str, Any] | None = None,
    origin: str | None = None,
    expires_in_s: int = 300,
) -> SendToken:
    """Return a token that lets a web page with a publishable key send once; `api_key` signs it.

    The page may send `template_id` (whose access must be `signed`) to `to` once, within
    `expires_in_s` (at most 600), and choose the variables that aren't among `variables`. Instead of
    `to` you can give `to_hash`, the hex SHA-256 of the recipient in its normal form
    ("+14155550123"). Nothing is checked before the page sends. Raises ValueError for what the
    server would refuse anyway.
    """
    if not api_key.startswith("sk_"):
        raise ValueError("Send tokens are signed with a secret key (sk_live_... or sk_test_...).")
    if (to is None) == (to_hash is None):
        raise ValueError("Name the recipient once: by 'to', or by 'to_hash'.")
    if connector_id is not None and connector is not None:
        raise ValueError(
            "A message goes through one connector: leave out 'connector_id' or 'connector'."
        )
    if not 1 <= expires_in_s <= LONGEST_LIFE_S:
        raise ValueError(
            f"expires_in_s is {expires_in_s}; a send token is good for 1 to {LONGEST_LIFE_S} s."
        )
    now = int(time.time())
    claims = {
        "aud": AUDIENCE, "iat": now, "exp": now + expires_in_s, "jti": secrets.token_urlsafe(18),
        "templateId": template_id, "to": to, "toHash": to_hash, "origin": origin,
        "connectorId": connector_id, "connector": connector,
        "variables": dict(variables) if variables else None,
    }  # fmt: skip
    kid = hmac.digest(api_key.encode(), _KID_LABEL, "sha256").hex()[:32]
    header = {"alg": "HS256", "kid": f"stk_{kid}", "typ": "JWT"}
    given = {name: value for name, value in claims.items() if value is not None}
    signed = _part(header) + b"." + _part(given)
    signature = hmac.digest(
        hmac.digest(api_key.encode(), _SECRET_LABEL, "sha256"), signed, "sha256"
    )
    return SendToken(
        send_token=(signed + b"." + _base64url(signature)).decode(),
        expires_at=datetime.fromtimestamp(now + expires_in_s, UTC),
    )


def _part(value: Mapping[str, Any]) -> bytes:
    return _base64url(
        json.dumps(value, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()
    )


def _base64url(raw: bytes) -> bytes:
    return base64.urlsafe_b64encode(raw).rstrip(b"=")
