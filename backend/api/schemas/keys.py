"""Bodies of /projects/{projectId}/keys."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AwareDatetime, Field, StringConstraints

from backend import ids
from backend.api.schemas.common import Instant, Pagination, RequestBody, ResponseBody
from backend.models.api_key import ApiKey
from backend.services.accounts.keys import SCOPES, NewKey
from backend.services.paging import Page

Name = Annotated[
    str, StringConstraints(strip_whitespace=True, min_length=1, max_length=255), Field(examples=["Production Key"])
]
RateLimit = Annotated[int, Field(ge=1, le=1_000_000_000, examples=[1000])]
Scopes = Annotated[list[str], Field(min_length=1, max_length=20, examples=[["messages:send"]])]
Origins = Annotated[list[str], Field(max_length=100, examples=[["https://example.com"]])]


class CreateKey(RequestBody):
    name: Name
    kind: Literal["secret", "publishable"] = Field(
        default="secret", description="A publishable key may stand in a web page: it sends templates only"
    )
    mode: Literal["live", "test"] = Field(default="live", description="A test key reaches the sandbox only")
    scopes: Scopes | None = Field(default=None, description=f"Of {', '.join(SCOPES)}; default: all the kind may have")
    allowed_origins: Origins = Field(default_factory=list, description="Web pages that may use the key")
    rate_limit: RateLimit | None = Field(default=None, description="Messages an hour; null: the plan's limit")
    expires_at: AwareDatetime | None = Field(default=None, examples=["2030-01-15T10:00:00Z"])

    def to_new_key(self) -> NewKey:
        return NewKey(
            name=self.name,
            kind=self.kind,
            mode=self.mode,
            scopes=tuple(self.scopes) if self.scopes is not None else None,
            allowed_origins=tuple(self.allowed_origins),
            rate_limit=self.rate_limit,
            expires_at=self.expires_at,
        )


class UpdateKey(RequestBody):
    """What is left out stays as it is; null clears `rateLimit` and `expiresAt`."""

    name: Name | None = Field(default=None)
    scopes: Scopes | None = Field(default=None)
    allowed_origins: Origins | None = Field(default=None)
    rate_limit: RateLimit | None = Field(default=None)
    expires_at: AwareDatetime | None = Field(default=None, examples=["2030-01-15T10:00:00Z"])
    is_active: bool | None = Field(default=None, description="false: the key is refused until it is true again")


class KeyBody(ResponseBody):
    id: str = Field(examples=["key_01h455vb4pex5vsknk084sn02q"])
    name: str
    kind: Literal["secret", "publishable"]
    mode: Literal["live", "test"]
    hint: str = Field(description="Enough of the key to recognise it", examples=["sk_live_a1B2...wxyz"])
    scopes: list[str]
    allowed_origins: list[str]
    rate_limit: int | None = Field(examples=[1000])
    expires_at: Instant | None
    last_used: Instant | None
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
        "is_active": key.is_active,
        "created_at": key.created_at,
        "updated_at": key.updated_at,
    }
