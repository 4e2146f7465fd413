"""Bodies of /projects/{projectId}/keys."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated, Final, Literal

from pydantic import BeforeValidator, Field, StrictBool, StringConstraints, WithJsonSchema

from backend import ids
from backend.api.inputs.bodies import (
    WHOLE,
    GivenInstant,
    Instant,
    Pagination,
    RequestBody,
    ResponseBody,
)
from backend.durations import parse_duration_s
from backend.models.api_key import ApiKey
from backend.services.keys.keys import LONGEST_OVERLAP_S, MOST_RATE_LIMIT, SCOPES, KeyUse, NewKey
from backend.services.lists.paging import Page

Name = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1, max_length=255),
    Field(examples=["Production Key"]),
]
RateLimit = Annotated[int, Field(ge=1, le=MOST_RATE_LIMIT, strict=True, examples=[1000]), WHOLE]
# Checked where the kind of the key is known, which says what it may have.
_Scope = Annotated[str, Field(json_schema_extra={"enum": [*SCOPES]})]
Scopes = Annotated[list[_Scope], Field(min_length=1, max_length=20, examples=[["messages:send"]])]
Origins = Annotated[list[str], Field(max_length=100, examples=[["https://example.com"]])]


class CreateKey(RequestBody):
    name: Name
    kind: Literal["secret", "publishable"] = Field(
        default="secret",
        description="A publishable key may be in a web page: it sends templates only",
    )
    mode: Literal["live", "test"] = Field(
        default="live", description="A test key reaches the sandbox only"
    )
    scopes: Scopes | None = Field(
        default=None, description=f"Of {', '.join(SCOPES)}; default: all the kind may have"
    )
    allowed_origins: Origins = Field(
        default_factory=list, description="Web pages that may use the key"
    )
    rate_limit: RateLimit | None = Field(
        default=None, description="Messages an hour; null: the plan's limit"
    )
    expires_at: GivenInstant | None = Field(
        default=None,
        description=(
            "Left out: the server's KEY_EXPIRY_DAYS from now, never where that is 0; null: never"
        ),
        examples=["2030-01-15T10:00:00Z"],
    )

    def to_new_key(self, *, expiry_days: int) -> NewKey:
        """`expiry_days` counts where `expiresAt` was left out; 0: no expiry."""
        expires_at = self.expires_at
        if "expires_at" not in self.model_fields_set and expiry_days:
            expires_at = datetime.now(UTC) + timedelta(days=expiry_days)
        return NewKey(
            name=self.name,
            kind=self.kind,
            mode=self.mode,
            scopes=tuple(self.scopes) if self.scopes is not None else None,
            allowed_origins=tuple(self.allowed_origins),
            rate_limit=self.rate_limit,
            expires_at=expires_at,
        )


class UpdateKey(RequestBody):
    """What is left out stays as it is; null clears `rateLimit` and `expiresAt`."""

    name: Name | None = Field(default=None)
    scopes: Scopes | None = Field(default=None)
    allowed_origins: Origins | None = Field(default=None)
    rate_limit: RateLimit | None = Field(default=None)
    expires_at: GivenInstant | None = Field(default=None, examples=["2030-01-15T10:00:00Z"])
    is_active: StrictBool | None = Field(
        default=None, description="false: the key is refused until it is true again"
    )


def _overlap_s(value: object) -> int:
    if isinstance(value, float) and value.is_integer():
        value = int(value)  # JSON has one kind of number
    overlap_s = 0 if str(value) == "0" else parse_duration_s(value)
    if overlap_s > LONGEST_OVERLAP_S:
        raise ValueError(f"The overlap '{value}' is longer than 7d; name a shorter one.")
    return overlap_s


_OVERLAP_SCHEMA: Final[dict[str, object]] = {
    "anyOf": [
        {"type": "integer", "minimum": 0, "maximum": LONGEST_OVERLAP_S},
        {"type": "string", "pattern": "^([1-9][0-9]?m|([1-9]|1[0-9]|2[0-4])h|[1-7]d)$"},
    ],
    "default": "24h",
    "examples": ["24h"],
    "description": (
        "How long the old key goes on working: seconds, or 30m, 24h, 7d (the longest); 0: not"
        " at all"
    ),
}


class RegenerateKey(RequestBody):
    overlap: Annotated[int, BeforeValidator(_overlap_s), WithJsonSchema(_OVERLAP_SCHEMA)] = (
        24 * 3600
    )


class KeyBody(ResponseBody):
    id: str = Field(examples=["key_01h455vb4pex5vsknk084sn02q"])
    name: str
    kind: Literal["secret", "publishable"]
    mode: Literal["live", "test"]
    hint: str = Field(
        description="Enough of the key to recognize it", examples=["sk_live_a1B2...wxyz"]
    )
    scopes: list[str]
    allowed_origins: list[str]
    rate_limit: int | None = Field(examples=[1000])
    expires_at: Instant | None
    last_used: Instant | None
    previous_key_expires_at: Instant | None = Field(
        description="Until when the key's text before its last regeneration works"
    )
    is_active: bool
    created_at: Instant
    updated_at: Instant

    @classmethod
    def of(cls, key: ApiKey) -> KeyBody:
        return cls.model_validate(_fields(key))


class CreatedKey(KeyBody):
    key: str = Field(
        description="The key itself. This answer is the only one that has it: store it now.",
        examples=["sk_live_..."],
    )

    @classmethod
    def with_text(cls, key: ApiKey, text: str) -> CreatedKey:
        return cls.model_validate({**_fields(key), "key": text})


class KeyUsageBody(ResponseBody):
    """Counted by each process and written every 5 s: a killed one loses what it had not yet
    written.
    """

    total_requests: int = Field(description="Messages asked for with this key", examples=[1250])
    successful_requests: int = Field(description="Accepted", examples=[1200])
    failed_requests: int = Field(description="Refused", examples=[50])
    rate_limit: int | None = Field(description="The limit that counts; null: none", examples=[1000])
    remaining_quota: int | None = Field(
        description="Messages left of the limit right now; null: no limit, or it cannot be told",
        examples=[750],
    )
    last_used: Instant | None
    created_at: Instant

    @classmethod
    def of(cls, use: KeyUse) -> KeyUsageBody:
        return cls(
            total_requests=use.total,
            successful_requests=use.total - use.failed,
            failed_requests=use.failed,
            rate_limit=use.rate_limit,
            remaining_quota=use.remaining,
            last_used=use.last_used_at,
            created_at=use.created_at,
        )


class KeyList(ResponseBody):
    keys: list[KeyBody]
    pagination: Pagination

    @classmethod
    def of(cls, page: Page[ApiKey]) -> KeyList:
        return cls(keys=[KeyBody.of(key) for key in page.items], pagination=Pagination.of(page))


def _fields(key: ApiKey) -> dict[str, object]:
    return {
        "id": ids.encode(ids.KEY, key.id),
        "name": key.name,
        "kind": key.kind,
        "mode": key.mode,
        "hint": key.hint,
        "scopes": key.scopes,
        "allowed_origins": key.allowed_origins,
        "rate_limit": key.rate_limit,
        "expires_at": key.expires_at,
        "last_used": key.last_used_at,
        "previous_key_expires_at": key.previous_expires_at,
        "is_active": key.is_active,
        "created_at": key.created_at,
        "updated_at": key.updated_at,
    }
