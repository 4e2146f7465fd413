"""Send tokens: one send that a customer's backend allows a web page.

A JWT, HS256 only, good for ten minutes at most.

What one is signed with, and the `kid` that names it, follow from a secret key's text alone: its
holder can sign without asking us, and neither gives the key away. The server keeps the first,
encrypted.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any, Final, NamedTuple

import jwt
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError
from pydantic.alias_generators import to_camel

from backend.crypto import random_token
from backend.errors import SendBlocked
from backend.json_values import find_flaw

AUDIENCE: Final = "messagejs:send"
LONGEST_LIFE_S: Final = 600
LONGEST_CHARS: Final = 8192
_ALGORITHM: Final = "HS256"
# Clocks of the customer's backend and of this server may differ by as much.
_CLOCK_SKEW_S: Final = 30
_KID: Final = re.compile(r"stk_[0-9a-f]{32}")
_SECRET_LABEL: Final = b"messagejs send token secret v1"
_KID_LABEL: Final = b"messagejs send token kid v1"


class SigningSecret(NamedTuple):
    """`secret` is 32 bytes, `kid` names them in public."""

    kid: str
    secret: bytes


class Claims(BaseModel):
    """What a token allows. An unknown claim may be meant to restrict, so it is refused."""

    model_config = ConfigDict(
        alias_generator=to_camel, validate_by_alias=True, extra="forbid", strict=True
    )

    aud: str
    iat: int | float
    exp: int | float
    nbf: int | float | None = None
    jti: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{16,64}$")]
    template_id: str
    to: Annotated[str | None, Field(min_length=1, max_length=320)] = None
    to_hash: Annotated[str | None, StringConstraints(pattern=r"^[0-9a-f]{64}$")] = None
    connector_id: str | None = None
    connector: str | None = None
    variables: Annotated[dict[str, Any], Field(max_length=100)] = Field(default_factory=dict)
    origin: str | None = None


@dataclass(frozen=True, slots=True)
class SignedToken:
    text: str
    expires_at: datetime


def signing_secret(key_text: str) -> SigningSecret:
    """Return what the tokens of a secret key are signed with; the Python client derives the
    same.
    """
    secret = hmac.digest(key_text.encode(), _SECRET_LABEL, "sha256")
    kid = hmac.digest(key_text.encode(), _KID_LABEL, "sha256").hex()[:32]
    return SigningSecret(f"stk_{kid}", secret)


def sign(
    signing: SigningSecret, restrictions: dict[str, Any], *, life_s: int, now: datetime
) -> SignedToken:
    """`restrictions`: claims by their names; None is left out."""
    issued_at = int(now.timestamp())
    payload = {
        "aud": AUDIENCE,
        "iat": issued_at,
        "exp": issued_at + life_s,
        "jti": random_token(24),
        **{name: value for name, value in restrictions.items() if value is not None},
    }
    text = jwt.encode(payload, signing.secret, algorithm=_ALGORITHM, headers={"kid": signing.kid})
    return SignedToken(text, datetime.fromtimestamp(issued_at + life_s, UTC))


def kid_of(token: str) -> str:
    """Return the `kid` of a token that nobody has checked. Raises SendBlocked."""
    try:
        kid = jwt.get_unverified_header(token).get("kid")
    except (jwt.InvalidTokenError, RecursionError) as exc:
        raise SendBlocked(
            "The send token is not a JWT; pass it on as your backend got it."
        ) from exc
    if not isinstance(kid, str) or _KID.fullmatch(kid) is None:
        raise SendBlocked(
            "The send token names no 'kid' of a secret key; have your backend make another."
        )
    return kid


def read(token: str, secret: bytes, *, now: datetime) -> Claims:
    """Return what a valid token allows. Raises SendBlocked, which says what is wrong with it."""
    try:
        payload = jwt.decode(
            token,
            secret,
            algorithms=[_ALGORITHM],
            audience=AUDIENCE,
            # One audience, written as a text; issued-at is checked below, with the clocks'
            # difference allowed for.
            options={
                "require": ["aud", "exp", "iat", "jti"],
                "strict_aud": True,
                "verify_iat": False,
            },
        )
        claims = Claims.model_validate(payload)
        flaw = find_flaw(payload)
    except jwt.ExpiredSignatureError as exc:
        raise SendBlocked("The send token has expired; have your backend make another.") from exc
    except jwt.InvalidAudienceError as exc:
        raise SendBlocked(
            f"The send token is for another audience; its 'aud' must be '{AUDIENCE}'."
        ) from exc
    except (jwt.InvalidTokenError, RecursionError) as exc:
        raise SendBlocked(f"The send token is not valid: {exc}.") from exc
    except ValidationError as exc:
        names = ", ".join(sorted({".".join(map(str, error["loc"])) for error in exc.errors()}))
        raise SendBlocked(
            f"The send token's claims are not what they have to be: {names}."
        ) from exc
    if flaw is not None:
        raise SendBlocked(f"The send token's claim {flaw.message}")
    _check_life(claims, now.timestamp())
    return claims


def _check_life(claims: Claims, now: float) -> None:
    latest = now + LONGEST_LIFE_S + _CLOCK_SKEW_S
    if claims.exp - claims.iat > LONGEST_LIFE_S or claims.exp > latest:
        raise SendBlocked(
            f"The send token is good for more than {LONGEST_LIFE_S} s, the most there is; make a"
            " new one."
        )
    if claims.iat > now + _CLOCK_SKEW_S:
        raise SendBlocked(
            "The send token was issued in the future; set the clock of the backend that made it."
        )


def recipient_hash(recipient: str) -> str:
    """Return the `toHash` of a recipient in its channel's normal form (+14155550123)."""
    return hashlib.sha256(recipient.encode()).hexdigest()
