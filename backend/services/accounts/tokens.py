"""Tokens of a log-in: signed access tokens (minutes), and random ones known by their hash
(days).
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

import jwt

from backend import ids
from backend.crypto import random_token
from backend.errors import InvalidToken, TokenExpired

# Prefixes tell the two kinds apart, so that a cookie cannot be refreshed with, nor the other way
# round.
REFRESH_PREFIX: Final = "rf_"
COOKIE_PREFIX: Final = "cs_"
RESET_PREFIX: Final = "pr_"
CONFIRMATION_PREFIX: Final = "ec_"
INVITATION_PREFIX: Final = "iv_"
_ALGORITHM: Final = "HS256"
_ISSUER: Final = "messagejs"
_AUDIENCE: Final = "messagejs:dashboard"


@dataclass(frozen=True, slots=True)
class AccessClaims:
    user_id: UUID
    session_id: UUID


def sign_access_token(secret: str, claims: AccessClaims, *, now: datetime, life_s: int) -> str:
    payload = {
        "sub": ids.encode(ids.USER, claims.user_id),
        "sid": ids.encode(ids.SESSION, claims.session_id),
        "iss": _ISSUER,
        "aud": _AUDIENCE,
        "iat": now,
        "exp": now + timedelta(seconds=life_s),
    }
    return jwt.encode(payload, secret, algorithm=_ALGORITHM)


def read_access_token(secret: str, token: str) -> AccessClaims:
    """Raises TokenExpired, or InvalidToken for anything that this server has not signed."""
    try:
        payload: dict[str, Any] = jwt.decode(
            token,
            secret,
            algorithms=[_ALGORITHM],
            issuer=_ISSUER,
            audience=_AUDIENCE,
            options={"require": ["sub", "sid", "iat", "exp"]},
        )
    except jwt.ExpiredSignatureError as exc:
        raise TokenExpired from exc
    except (jwt.InvalidTokenError, RecursionError) as exc:
        raise InvalidToken from exc
    user_id = ids.decode(ids.USER, str(payload["sub"]))
    session_id = ids.decode(ids.SESSION, str(payload["sid"]))
    if user_id is None or session_id is None:
        raise InvalidToken
    return AccessClaims(user_id, session_id)


def new_opaque_token(prefix: str) -> str:
    """Return a token of 256 bits."""
    return prefix + random_token(43)


def token_hash(token: str) -> bytes:
    """Return what is stored of an opaque token; it is random, so a plain hash gives nothing
    away.
    """
    return hashlib.sha256(token.encode()).digest()
