"""A project's messages as a file: CSV for spreadsheets, JSON Lines for programs."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from datetime import UTC, datetime
from typing import Annotated, Final, Literal

from fastapi import Query
from fastapi.responses import StreamingResponse

from backend.api.inputs.access import CurrentRequester
from backend.api.inputs.dependencies import ExportPlaceDep, PlatformDep
from backend.api.openapi.document import error_responses
from backend.api.resources.csv_lines import cell_of, line_of
from backend.api.resources.messages.bodies import MessageBody
from backend.api.resources.messages.reads import FilterDep, ProjectIdQuery
from backend.api.resources.routers import api_router
from backend.services.access.access import Action
from backend.services.reporting.export import walk_messages
from backend.services.reporting.messages import MessageSummary

router = api_router(prefix="/api/v1/messages", tags=["Messages"])

COLUMNS: Final = (
    "id", "createdAt", "status", "to", "text", "subject", "connectorType", "connectorId",
    "templateId", "keyId",
    "mode", "priority", "error", "errorCode", "sendAt", "expiresAt", "sentAt", "deliveredAt",
    "readAt", "failedAt",
    "updatedAt", "resentFrom", "metadata",
)  # fmt: skip
_MEDIA_TYPES: Final = {"csv": "text/csv; charset=utf-8", "jsonl": "application/x-ndjson"}


@router.get(
    "/export",
    summary="Export messages",
    response_class=StreamingResponse,
    responses={
        200: {
            "description": "The file",
            "content": {"text/csv": {"schema": {"type": "string"}}, "application/x-ndjson": {}},
        },
        **error_responses(400, 401, 403, 404, 429),
    },
)
async def export_messages(
    *,
    requester: CurrentRequester,
    platform: PlatformDep,
    filters: FilterDep,
    place: ExportPlaceDep,
    format_: Annotated[Literal["csv", "jsonl"], Query(alias="format")] = "csv",
    project_id: ProjectIdQuery = None,
) -> StreamingResponse:
    """Every message the filters match, newest first.

    In CSV, cells that a spreadsheet would run begin with `'`.
    """
    async with platform.database.session() as session:
        access = await requester.access(session, project_id, Action.VIEW_MESSAGES)
    place.take(access.project_id)
    steps = walk_messages(platform.database, access, filters=filters)
    # The first step before the answer begins: a wrong filter is still a 400.
    first = await anext(steps)
    return StreamingResponse(
        _lines(
            first,
            steps,
            _csv if format_ == "csv" else _jsonl,
            head=line_of(COLUMNS) if format_ == "csv" else b"",
        ),
        headers={
            "Content-Disposition": (
                f'attachment; filename="messages-{datetime.now(UTC):%Y-%m-%d}.{format_}"'
            )
        },
        media_type=_MEDIA_TYPES[format_],
    )


async def _lines(
    first: Sequence[MessageSummary],
    steps: AsyncIterator[list[MessageSummary]],
    write: Callable[[Sequence[MessageSummary]], bytes],
    *,
    head: bytes,
) -> AsyncIterator[bytes]:
    yield head + write(first)
    async for messages in steps:
        yield write(messages)


def _jsonl(messages: Sequence[MessageSummary]) -> bytes:
    return b"".join(
        MessageBody.of(message).model_dump_json(by_alias=True).encode() + b"\n"
        for message in messages
    )


def _csv(messages: Sequence[MessageSummary]) -> bytes:
    bodies = (
        MessageBody.of(message).model_dump(mode="json", by_alias=True) for message in messages
    )
    return b"".join(line_of([cell_of(body[column]) for column in COLUMNS]) for body in bodies)
