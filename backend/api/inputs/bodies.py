"""What all bodies share: camelCase names, strict requests, instants, and pages of lists."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any, Final
from uuid import UUID

from email_validator import EmailNotValidError, validate_email
from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    ValidationInfo,
    WithJsonSchema,
    field_validator,
)
from pydantic.alias_generators import to_camel
from pydantic.config import JsonDict
from pydantic_core import PydanticCustomError

from backend import ids
from backend.api.frame.validation import OUT_OF_RANGE
from backend.errors import ValidationFailed
from backend.field_error import MOST_ERRORS
from backend.instants import within_range
from backend.json_values import find_flaw
from backend.providers.frame.registry import provider_types
from backend.services.lists.paging import Page
from backend.status import Status
from backend.time_zones import parse_zone

_CURSOR: Final = "cur"
_NO_EMAIL: Final = "The e-mail address is not valid: {reason}"


def encode_cursor(row_id: UUID) -> str:
    return ids.encode(_CURSOR, row_id)


def decode_cursor(text: str) -> UUID | None:
    return ids.decode(_CURSOR, text)


def iso_utc(instant: datetime) -> str:
    """Return the instant as JavaScript writes it: UTC, milliseconds, Z."""
    try:
        instant = instant.astimezone(UTC)
    except OverflowError:  # a row from before instants were bounded
        instant = instant.replace(tzinfo=UTC)
    return instant.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _in_range(instant: datetime) -> datetime:
    try:
        return within_range(instant)
    except ValueError as exc:
        raise PydanticCustomError(OUT_OF_RANGE, "{reason}", {"reason": str(exc)}) from exc


# Of answers: rows from before the bounds are shown too.
Instant = Annotated[AwareDatetime, PlainSerializer(iso_utc, return_type=str, when_used="json")]
# Of requests: every instant that a client may write, in UTC.
GivenInstant = Annotated[AwareDatetime, AfterValidator(_in_range)]


def _whole(value: Any) -> Any:
    return int(value) if isinstance(value, float) and value.is_integer() else value


# For a strict int: JSON has one kind of number, and 5.0 is a whole one; true is none. It stands
# after the Field, so that the bounds are in the schema.
WHOLE: Final = BeforeValidator(_whole)


class RequestBody(BaseModel):
    """Base of what clients send: unknown fields are refused, and nothing is coerced."""

    model_config = ConfigDict(
        alias_generator=to_camel,
        validate_by_alias=True,
        validate_by_name=False,
        extra="forbid",
        hide_input_in_errors=True,
    )

    @field_validator("*", mode="after")
    @classmethod
    def _storable(cls, value: Any, info: ValidationInfo) -> Any:
        if (flaw := find_flaw(value, info.field_name or "")) is not None:
            raise ValueError(flaw.message)
        return value

    def changes(self, *nullable: str) -> dict[str, Any]:
        """Return what the client sent, by field name; null counts as sent for `nullable` ones
        only.
        """
        sent = {name: getattr(self, name) for name in self.model_fields_set}
        return {
            name: value for name, value in sent.items() if value is not None or name in nullable
        }


class ResponseBody(BaseModel):
    model_config = ConfigDict(
        alias_generator=to_camel, validate_by_name=True, validate_by_alias=True
    )


def _email(text: str) -> str:
    """An install may live in a private network: `.local` is fine, a deliverable name not asked
    for.
    """
    try:
        valid = validate_email(text.strip(), check_deliverability=False, globally_deliverable=False)
    except EmailNotValidError as exc:
        raise PydanticCustomError("INVALID_EMAIL", _NO_EMAIL, {"reason": str(exc)}) from exc
    if "." not in valid.domain and valid.domain != "localhost":
        raise PydanticCustomError(
            "INVALID_EMAIL", _NO_EMAIL, {"reason": f"'{valid.domain}' is no domain."}
        )
    return valid.normalized.lower()


Email = Annotated[
    str,
    # 254: the longest address that fits an SMTP path.
    Field(max_length=254, examples=["user@example.com"], json_schema_extra={"format": "email"}),
    AfterValidator(_email),
]


def _text(**described: Any) -> WithJsonSchema:
    return WithJsonSchema({"type": "string", **described})


def _zone(name: str) -> str:
    try:
        return parse_zone(name).key
    except ValidationFailed as exc:
        raise ValueError(exc.message) from exc


TimeZone = Annotated[str, Field(max_length=60, examples=["Europe/Berlin"]), AfterValidator(_zone)]

# Query parameters that are read by hand, so that the error names the remedy; "" counts as left out.
InstantText = Annotated[
    str, _text(anyOf=[{"format": "date"}, {"format": "date-time"}, {"maxLength": 0}])
]
ONE_OF_TYPES: Final[JsonDict] = {"enum": [*provider_types()]}
StatusText = Annotated[str, _text(enum=["", *Status, "pending"])]
ConnectorText = Annotated[
    str,
    _text(
        anyOf=[{"enum": ["", *provider_types()]}, {"pattern": f"^{ids.CONNECTOR}_{ids.PATTERN}$"}]
    ),
]
CursorText = Annotated[str, _text(pattern=f"^{_CURSOR}_{ids.PATTERN}$")]


def id_text(*prefixes: str) -> WithJsonSchema:
    """Describe a query parameter that takes an id with one of these prefixes."""
    return _text(pattern=f"^(({'|'.join(prefixes)})_{ids.PATTERN})?$")


class Pagination(ResponseBody):
    """Where this page stands in its list. `nextCursor` stays right while rows are added."""

    limit: int = Field(examples=[50])
    offset: int = Field(examples=[0])
    total: int = Field(examples=[150])
    has_more: bool = Field(examples=[True])
    next_cursor: str | None = Field(
        default=None, description="Pass as `cursor` to get the next page"
    )
    total_is_estimate: bool = Field(
        default=False, description="Past 10,000 rows the total may be an estimate"
    )

    @classmethod
    def of(cls, page: Page[Any]) -> Pagination:
        return cls(
            limit=page.request.limit,
            offset=page.request.offset,
            total=page.total,
            has_more=page.has_more,
            next_cursor=encode_cursor(page.next_cursor) if page.next_cursor is not None else None,
            total_is_estimate=page.is_total_estimate,
        )


class FieldErrorBody(ResponseBody):
    field: str = Field(examples=["email"])
    code: str = Field(examples=["MISSING_REQUIRED_FIELD"])
    message: str = Field(examples=["'email' is missing; add it to the body."])


class ErrorDetails(ResponseBody):
    model_config = ConfigDict(extra="allow")

    errors: list[FieldErrorBody] = Field(
        default_factory=list, description=f"One entry for each wrong field; the first {MOST_ERRORS}"
    )
    more_errors: int | None = Field(default=None, description="How many more there are")


class ErrorBody(ResponseBody):
    """Every error. With `Accept: application/problem+json` the same as RFC 9457."""

    error: str = Field(examples=["'email' is missing; add it to the body."])
    code: str = Field(examples=["MISSING_REQUIRED_FIELD"])
    details: ErrorDetails
    request_id: str = Field(examples=["req_01h455vb4pex5vsknk084sn02q"])
