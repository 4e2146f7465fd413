"""Bodies of campaigns: the upload, the progress, and what is wrong with rows."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from pydantic import ConfigDict, Field, JsonValue, StrictBool

from backend import ids
from backend.api.inputs.bodies import GivenInstant, Instant, Pagination, RequestBody, ResponseBody
from backend.api.resources.messages.send_bodies import Text
from backend.models import CampaignRow
from backend.services.campaigns.check import MOST_ERRORS, DryRun
from backend.services.campaigns.progress import Progress
from backend.services.lists.paging import Page

Name = Annotated[str, Field(min_length=1, max_length=255, description="For people")]
CampaignState = Literal["draft", "running", "paused", "completed", "canceled"]
RowState = Literal["pending", "accepted", "failed"]
_EXAMPLE: Final[dict[str, Any]] = {
    "name": "Spring sale",
    "connector": "sandbox",
    "message": "Hello {{name}}, everything is 20 % off today.",
    "mapping": {"recipient": "to", "first name": "name"},
    "csv": "recipient,first name\nada,Ada\ngrace,Grace\n",
}


class CampaignFields(RequestBody):
    """A template, or a text with variables such as {{name}}, and which column holds what."""

    name: Name
    template_id: Annotated[
        str | None, Field(max_length=64, description="The template to render for each row")
    ] = None
    message: Annotated[
        Text | None, Field(description="A text instead; variables as in templates")
    ] = None
    subject: Annotated[
        str | None, Field(min_length=1, max_length=998, description="E-mail without a template")
    ] = None
    html: Annotated[
        str | None, Field(min_length=1, max_length=200_000, description="E-mail without a template")
    ] = None
    connector_id: Annotated[
        str | None, Field(max_length=64, description="The connector to send through")
    ] = None
    connector: Annotated[
        str | None, Field(max_length=50, description="A connector type instead")
    ] = None
    mapping: Annotated[
        dict[str, str] | None,
        Field(
            max_length=100,
            description=(
                'Column -> "to", or the variable it fills in; other columns are passed over. '
                "Left out: by the columns' names"
            ),
        ),
    ] = None
    priority: Annotated[
        Literal["high", "normal", "bulk"], Field(description="Which lane its messages wait in")
    ] = "bulk"
    metadata: Annotated[
        dict[str, JsonValue] | None,
        Field(max_length=50, description="Yours; returned with each message"),
    ] = None
    send_at: Annotated[
        GivenInstant | None, Field(description="Does not start before this instant")
    ] = None
    expires_at: Annotated[
        GivenInstant | None, Field(description="No message goes out after this instant")
    ] = None
    mode: Annotated[
        Literal["live", "test"] | None,
        Field(description="Of a user's campaign (default: live); a key has its own"),
    ] = None
    send_duplicates: Annotated[
        StrictBool,
        Field(description="Send once for each row, even if rows repeat a recipient"),
    ] = False
    start: Annotated[StrictBool, Field(description="false: stays a draft until it is resumed")] = (
        True
    )
    dry_run: Annotated[
        StrictBool, Field(description="Only check every row: nothing is stored or sent")
    ] = False


class CampaignUpload(CampaignFields):
    """A campaign with its table in the same JSON. Larger tables go as multipart/form-data."""

    model_config = ConfigDict(json_schema_extra={"examples": [_EXAMPLE]})

    csv: Annotated[
        str, Field(min_length=1, description="The table; its first line names the columns")
    ]


class RowCounts(ResponseBody):
    """`pending` rows are not accepted yet; in a canceled campaign they never will be."""

    total: int = Field(examples=[5000])
    pending: int = Field(examples=[1200])
    accepted: int = Field(examples=[3790])
    failed: int = Field(examples=[10])


class CampaignSummary(ResponseBody):
    id: str = Field(examples=["camp_01h455vb4pex5vsknk084sn02q"])
    project_id: str = Field(examples=["proj_01h455vb4pex5vsknk084sn02q"])
    name: str = Field(examples=["Spring sale"])
    state: CampaignState
    mode: Literal["live", "test"]
    key_id: str | None
    template_id: str | None
    connector_id: str | None
    connector: str | None = Field(examples=["sandbox"])
    priority: str = Field(examples=["bulk"])
    mapping: dict[str, str] = Field(examples=[{"phone": "to", "first name": "name"}])
    columns: list[str] = Field(examples=[["phone", "first name"]])
    rows: RowCounts
    reason: str | None = Field(description="Why it paused by itself, or what it waits for")
    metadata: dict[str, Any] | None
    send_at: Instant | None
    expires_at: Instant | None
    started_at: Instant | None
    ended_at: Instant | None
    created_at: Instant
    updated_at: Instant

    @classmethod
    def of(cls, progress: Progress) -> CampaignSummary:
        return cls(**_fields(progress))


class CampaignBody(CampaignSummary):
    messages: dict[str, int] = Field(
        description="The messages of accepted rows by status",
        examples=[{"queued": 90, "delivered": 3700}],
    )

    @classmethod
    def of_progress(cls, progress: Progress) -> CampaignBody:
        return cls(**_fields(progress), messages=progress.messages)


class CampaignListBody(ResponseBody):
    campaigns: list[CampaignSummary]
    pagination: Pagination

    @classmethod
    def of(cls, page: Page[Progress]) -> CampaignListBody:
        return cls(
            campaigns=[CampaignSummary.of(progress) for progress in page.items],
            pagination=Pagination.of(page),
        )


class RowErrorBody(ResponseBody):
    row: int = Field(
        description="The line in the file where the row begins; the header is line 1", examples=[7]
    )
    field: str = Field(examples=["to"])
    code: str = Field(examples=["INVALID_PHONE"])
    message: str = Field(examples=["'12' is not a phone number."])


class RowBody(ResponseBody):
    """`values` are by column, until the row is accepted and becomes a message."""

    row: int = Field(
        description="The line in the file where it begins; the header is line 1", examples=[7]
    )
    state: RowState
    message_id: str | None
    values: dict[str, str] | None
    error: RowErrorBody | None


class RowListBody(ResponseBody):
    rows: list[RowBody]
    pagination: Pagination

    @classmethod
    def of(cls, page: Page[CampaignRow], columns: list[str]) -> RowListBody:
        return cls(rows=[_row(row, columns) for row in page.items], pagination=Pagination.of(page))


class PreviewRowBody(ResponseBody):
    row: int
    to: str
    content: dict[str, Any] = Field(examples=[{"text": "Hello Ada, everything is 20 % off today."}])


class DryRunBody(ResponseBody):
    """What a real run would do with each row, without limits and quotas."""

    dry_run: Literal[True] = True
    columns: list[str]
    mapping: dict[str, str]
    total: int
    valid: int
    invalid: int
    codes: dict[str, int] = Field(
        description="How many rows have each kind of error", examples=[{"DUPLICATE_RECIPIENT": 2}]
    )
    errors: list[RowErrorBody] = Field(description=f"The first {MOST_ERRORS}")
    previews: list[PreviewRowBody] = Field(
        description="The first three messages, fewer if they are long"
    )

    @classmethod
    def of(cls, result: DryRun) -> DryRunBody:
        return cls(
            columns=list(result.columns),
            mapping=result.mapping,
            total=result.total,
            valid=result.valid,
            invalid=result.invalid,
            codes=dict(result.codes),
            errors=[
                RowErrorBody(
                    row=error.row, field=error.field, code=error.code, message=error.message
                )
                for error in result.errors
            ],
            previews=[
                PreviewRowBody(row=preview.row, to=preview.to, content=preview.content)
                for preview in result.previews
            ],
        )


def _fields(progress: Progress) -> dict[str, Any]:
    campaign = progress.campaign
    return {
        "id": ids.encode(ids.CAMPAIGN, campaign.id),
        "project_id": ids.encode(ids.PROJECT, campaign.project_id),
        "name": campaign.name,
        "state": campaign.state,
        "mode": campaign.mode,
        "key_id": ids.encode(ids.KEY, campaign.key_id) if campaign.key_id is not None else None,
        "template_id": (
            ids.encode(ids.TEMPLATE, campaign.template_id)
            if campaign.template_id is not None
            else None
        ),
        "connector_id": (
            ids.encode(ids.CONNECTOR, campaign.connector_id)
            if campaign.connector_id is not None
            else None
        ),
        "connector": campaign.connector_type,
        "priority": campaign.priority,
        "mapping": campaign.mapping,
        "columns": campaign.columns,
        "rows": RowCounts(
            total=campaign.total_rows,
            pending=progress.pending,
            accepted=progress.accepted,
            failed=progress.failed,
        ),
        "reason": campaign.reason,
        "metadata": campaign.metadata_,
        "send_at": campaign.send_at,
        "expires_at": campaign.expires_at,
        "started_at": campaign.started_at,
        "ended_at": campaign.ended_at,
        "created_at": campaign.created_at,
        "updated_at": campaign.updated_at,
    }


def _row(row: CampaignRow, columns: list[str]) -> RowBody:
    error = None
    if row.error_code is not None:
        error = RowErrorBody(
            row=row.line,
            field=row.error_field or "",
            code=row.error_code,
            message=row.error_reason or "",
        )
    return RowBody(
        row=row.line,
        state=row.state,
        message_id=ids.encode(ids.MESSAGE, row.message_id) if row.message_id is not None else None,
        values=dict(zip(columns, row.cells, strict=False)) if row.cells is not None else None,
        error=error,
    )


def upload_operation() -> dict[str, Any]:
    """OpenAPI of the upload, which reads its body itself: a file must not be held in memory."""
    fields = CampaignFields.model_json_schema(ref_template="#/components/schemas/{model}")
    upload = CampaignUpload.model_json_schema(ref_template="#/components/schemas/{model}")
    for schema in (fields, upload):
        schema.pop("$defs", None)
    parts = {
        "type": "object",
        "required": ["file", "campaign"],
        "properties": {
            "file": {
                "type": "string",
                "format": "binary",
                "description": "The table as CSV in UTF-8",
            },
            "campaign": {**fields, "description": "Everything else, as JSON"},
        },
    }
    return {
        "security": [{"bearer": []}],
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {"schema": upload},
                "multipart/form-data": {
                    "schema": parts,
                    "encoding": {"campaign": {"contentType": "application/json"}},
                },
            },
        },
    }
