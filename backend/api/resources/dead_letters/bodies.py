"""Bodies of dead letters."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from pydantic import ConfigDict, Field, StrictInt
from pydantic.config import JsonDict

from backend import ids
from backend.api.inputs.bodies import (
    WHOLE,
    ConnectorText,
    CursorText,
    InstantText,
    Pagination,
    RequestBody,
    ResponseBody,
    encode_cursor,
    id_text,
)
from backend.api.inputs.filters import message_filter
from backend.api.resources.messages.bodies import MessageBody
from backend.errors import AppError, BadRequest, FieldError
from backend.services.lists.paging import Page
from backend.services.messages.dead_letters import DeadLetterFilter
from backend.services.messages.redrive import MOST_REDRIVEN, Redrive, Redriven
from backend.services.reporting.messages import MessageSummary

_ONE_OF_TWO: Final[JsonDict] = {"oneOf": [{"required": ["messageIds"]}, {"required": ["filter"]}]}
_EXAMPLE: Final = "msg_01h455vb4pex5vsknk084sn02q"
Code = Annotated[
    str,
    Field(
        max_length=50,
        description="Why it was given up: its `errorCode`",
        examples=["RETRIES_EXHAUSTED"],
    ),
]


class DeadLetterFilterBody(RequestBody):
    """All that is given must hold; {} is every dead letter. Times are those of acceptance."""

    connector: Annotated[ConnectorText | None, Field(description="A connector's type or id")] = None
    code: Code | None = None
    from_: Annotated[InstantText | None, Field(alias="from", description="ISO 8601")] = None
    to: Annotated[
        InstantText | None, Field(description="ISO 8601; a date alone includes its whole day")
    ] = None
    key_id: Annotated[str, id_text(ids.KEY)] | None = None
    template_id: Annotated[str, id_text(ids.TEMPLATE)] | None = None
    campaign_id: Annotated[str, id_text(ids.CAMPAIGN)] | None = None
    recipient: Annotated[str | None, Field(max_length=320)] = None
    mode: Literal["live", "test"] | None = None

    def filter(self) -> DeadLetterFilter:
        """Raises ValidationFailed."""
        fields: dict[str, Any] = {
            name: getattr(self, name) for name in type(self).model_fields if name != "code"
        }
        return DeadLetterFilter(message_filter(**fields), self.code or None)


class DiscardBody(RequestBody):
    """Dead letters by their messages' ids, or all that match a filter."""

    model_config = ConfigDict(
        json_schema_extra={**_ONE_OF_TWO, "examples": [{"messageIds": [_EXAMPLE]}]}
    )

    message_ids: Annotated[
        list[Annotated[str, Field(max_length=64)]] | None,
        Field(min_length=1, max_length=MOST_REDRIVEN),
    ] = None
    filter: DeadLetterFilterBody | None = None

    def check(self) -> None:
        """Raises BadRequest unless entry of both is there."""
        if (self.message_ids is None) == (self.filter is None):
            remedy = 'Leave out "messageIds" or "filter"; {"filter": {}} is all of them.'
            raise BadRequest(
                "Dead letters are named by their ids or by a filter.",
                errors=[FieldError("messageIds", "VALIDATION_ERROR", remedy)],
            )


class RedriveBody(DiscardBody):
    cursor: Annotated[
        CursorText | None, Field(description="With a filter: `nextCursor` of the call before")
    ] = None
    limit: Annotated[
        StrictInt,
        Field(ge=1, le=MOST_REDRIVEN, description="With a filter: how many to look at"),
        WHOLE,
    ] = MOST_REDRIVEN


class DeadLetterListBody(ResponseBody):
    dead_letters: list[MessageBody]
    pagination: Pagination

    @classmethod
    def of(cls, page: Page[MessageSummary]) -> DeadLetterListBody:
        return cls(
            dead_letters=[MessageBody.of(item) for item in page.items],
            pagination=Pagination.of(page),
        )


class RedrivenBody(ResponseBody):
    """`newMessageId` and `status` of entry that was accepted; `error`, `code` and `details` of
    entry that was not.
    """

    message_id: str = Field(description="The dead letter", examples=[_EXAMPLE])
    new_message_id: str | None = None
    status: str | None = None
    error: str | None = None
    code: str | None = None
    details: dict[str, Any] | None = None

    @classmethod
    def of(cls, entry: Redriven) -> RedrivenBody:
        message_id, outcome = ids.encode(ids.MESSAGE, entry.message_id), entry.outcome
        if isinstance(outcome, AppError):
            return cls(
                message_id=message_id,
                error=outcome.message,
                code=outcome.error_code,
                details=outcome.details,
            )
        return cls(
            message_id=message_id,
            new_message_id=ids.encode(ids.MESSAGE, outcome.message_id),
            status=outcome.status,
        )


class RedriveAnswer(ResponseBody):
    redriven: int = Field(description="How many were accepted again")
    failed: int = Field(description="How many were not, and stay dead letters")
    results: list[RedrivenBody]
    next_cursor: str | None = Field(
        default=None, description="More match: pass it as `cursor` to go on"
    )

    @classmethod
    def of(cls, done: Redrive) -> RedriveAnswer:
        return cls(
            redriven=done.redriven,
            failed=len(done.results) - done.redriven,
            results=[RedrivenBody.of(result) for result in done.results],
            next_cursor=encode_cursor(done.next_cursor) if done.next_cursor is not None else None,
        )


class DiscardAnswer(ResponseBody):
    discarded: int = Field(
        description="By a filter at most 10,000 in entry call: 0 says that none is left"
    )
