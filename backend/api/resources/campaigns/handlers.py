"""Campaigns: one message to every row of a CSV table, checked first, then accepted as fast as its
connector sends.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from functools import partial
from typing import Annotated, Any
from uuid import UUID

from fastapi import Query, Request, Response
from fastapi.responses import StreamingResponse
from sqlmodel.ext.asyncio.session import AsyncSession

from backend import ids
from backend.api.inputs.access import CurrentRequester, Requester
from backend.api.inputs.dependencies import (
    CampaignId,
    PageDep,
    PlatformDep,
    ReadSessionDep,
    SessionDep,
)
from backend.api.openapi.document import error_responses
from backend.api.resources.campaigns.bodies import (
    CampaignBody,
    CampaignListBody,
    CampaignState,
    CampaignSummary,
    DryRunBody,
    RowListBody,
    RowState,
    upload_operation,
)
from backend.api.resources.campaigns.upload import (
    PATH,
    Upload,
    check_media_type,
    plan_of,
    read_upload,
)
from backend.api.resources.csv_lines import line_of, own_cell
from backend.api.resources.messages.reads import ProjectIdQuery
from backend.api.resources.messages.requests import key_scope, written_key
from backend.api.resources.routers import api_router
from backend.errors import CampaignNotFound
from backend.ledger.idempotency import IdempotencyKey
from backend.platform import Platform
from backend.services.access.access import Access, Action
from backend.services.campaigns import campaigns
from backend.services.campaigns.campaigns import NewCampaign
from backend.services.campaigns.check import dry_run
from backend.services.campaigns.csv_file import CsvFile
from backend.services.campaigns.plan import CampaignPlan, guess_mapping
from backend.services.campaigns.progress import (
    Progress,
    list_campaigns,
    page_of_rows,
    progress_of,
    walk_rows,
)
from backend.services.policy.sender import Sender

router = api_router(prefix=PATH, tags=["Campaigns"])

_ROUTE = "POST /campaigns"


@router.post(
    "",
    status_code=201,
    response_model=CampaignBody,
    summary="Make a campaign",
    openapi_extra=upload_operation(),
    responses={
        200: {"model": DryRunBody, "description": "A dry run's findings, with `dryRun: true`"},
        **error_responses(400, 401, 403, 404, 413, 415, 422, 503),
    },
)
async def create(
    request: Request,
    requester: CurrentRequester,
    platform: PlatformDep,
    project_id: ProjectIdQuery = None,
) -> Response:
    """Upload a CSV table and say which column holds what.

    Workers accept its rows one after another.

    Send `multipart/form-data` with the parts `file` and `campaign` (JSON), or JSON with `csv`.
    """
    check_media_type(request)
    async with platform.database.session() as session:
        access = await requester.access(session, project_id, Action.SEND_MESSAGES)
    async with read_upload(request, json_limit_bytes=platform.settings.body_limit_bytes) as upload:
        sender = requester.sender(access, upload.fields.mode)
        file = await CsvFile.open(upload.file, most_rows=platform.settings.campaign_max_rows)
        plan = await _plan(platform, sender, upload, file)
        if upload.fields.dry_run:
            result = await dry_run(
                platform.send_path,
                sender,
                plan,
                file.steps(),
                sends_duplicates=upload.fields.send_duplicates,
            )
            return _json(DryRunBody.of(result), 200)
        name = written_key(request)
        return await _store(platform, sender, upload, plan=plan, file=file, name=name)


async def _plan(platform: Platform, sender: Sender, upload: Upload, file: CsvFile) -> CampaignPlan:
    """Guess a mapping that was left out from the columns' names."""
    plan = plan_of(upload.fields, file.columns)
    if upload.fields.mapping is not None:
        return plan
    return plan.mapped(
        guess_mapping(file.columns, await plan.variables(platform.send_path, sender))
    )


async def _store(
    platform: Platform,
    sender: Sender,
    upload: Upload,
    *,
    plan: CampaignPlan,
    file: CsvFile,
    name: str | None,
) -> Response:
    """`name`: the Idempotency-Key."""
    fields = upload.fields
    new = NewCampaign(
        name=fields.name,
        plan=plan,
        send_at=fields.send_at,
        sends_duplicates=fields.send_duplicates,
        is_draft=not fields.start,
    )
    key = (
        IdempotencyKey(key_scope(_ROUTE, sender), name, upload.request_hash)
        if name is not None
        else None
    )
    if key is not None:
        async with platform.database.session() as session:
            earlier = await campaigns.find_earlier(session, sender.access, key)
            if earlier is not None:
                return _created(await progress_of(session, earlier), is_replay=True)
    with await campaigns.read_rows(platform.send_path, sender, new=new, file=file) as rows:
        async with platform.database.transaction() as session:
            earlier = None
            if key is not None:
                ttl_s = platform.settings.idempotency_ttl_s
                earlier = await campaigns.find_repeated(
                    session, sender.access, key, campaign_id=new.id, ttl_s=ttl_s
                )
            if earlier is not None:
                return _created(await progress_of(session, earlier), is_replay=True)
            campaign = await campaigns.create_campaign(session, sender, new=new, rows=rows)
            return _created(await progress_of(session, campaign))


def _created(progress: Progress, *, is_replay: bool = False) -> Response:
    return _json(
        CampaignBody.of_progress(progress),
        201,
        {"Idempotency-Replayed": "true"} if is_replay else {},
    )


def _json(
    body: CampaignBody | DryRunBody, status: int, headers: dict[str, str] | None = None
) -> Response:
    return Response(
        body.model_dump_json(by_alias=True),
        status_code=status,
        headers=headers,
        media_type="application/json",
    )


@router.get("", summary="List campaigns", responses=error_responses(400, 401, 403, 404))
async def list_route(
    *,
    requester: CurrentRequester,
    session: ReadSessionDep,
    page: PageDep,
    state: Annotated[CampaignState | None, Query()] = None,
    project_id: ProjectIdQuery = None,
) -> CampaignListBody:
    """Newest first."""
    access = await requester.access(session, project_id, Action.VIEW_MESSAGES)
    return CampaignListBody.of(await list_campaigns(session, access, page=page, state=state))


@router.get("/{campaignId}", summary="Get a campaign", responses=error_responses(401, 403, 404))
async def get(
    campaign_id: CampaignId, requester: CurrentRequester, session: ReadSessionDep
) -> CampaignBody:
    """With its rows by state, and the messages of accepted rows by status."""
    access = await _access_to(session, requester, campaign_id, Action.VIEW_MESSAGES)
    campaign = await campaigns.get_campaign(session, access, campaign_id=campaign_id)
    return CampaignBody.of_progress(await progress_of(session, campaign))


@router.get(
    "/{campaignId}/rows",
    summary="List a campaign's rows",
    responses=error_responses(400, 401, 403, 404),
)
async def rows(
    *,
    campaign_id: CampaignId,
    requester: CurrentRequester,
    session: ReadSessionDep,
    page: PageDep,
    state: Annotated[
        RowState | None, Query(description="`failed`: with what is wrong with each row")
    ] = None,
) -> RowListBody:
    """In the file's order."""
    access = await _access_to(session, requester, campaign_id, Action.VIEW_MESSAGES)
    campaign = await campaigns.get_campaign(session, access, campaign_id=campaign_id)
    result = await page_of_rows(session, access, campaign_id=campaign.id, page=page, state=state)
    return RowListBody.of(result, campaign.columns)


@router.get(
    "/{campaignId}/errors",
    summary="Download a campaign's failed rows",
    response_class=StreamingResponse,
    responses={
        200: {
            "description": "The rows as CSV",
            "content": {"text/csv": {"schema": {"type": "string"}}},
        },
        **error_responses(401, 403, 404),
    },
)
async def errors(
    campaign_id: CampaignId, requester: CurrentRequester, platform: PlatformDep
) -> StreamingResponse:
    """The table's own columns, and what is wrong: fix the rows, and upload the file as another
    campaign.
    """
    async with platform.database.session() as session:
        access = await _access_to(session, requester, campaign_id, Action.VIEW_MESSAGES)
        campaign = await campaigns.get_campaign(session, access, campaign_id=campaign_id)
    name = ids.encode(ids.CAMPAIGN, campaign.id)
    return StreamingResponse(
        _error_lines(platform, access, campaign.id, campaign.columns),
        headers={"Content-Disposition": f'attachment; filename="{name}-errors.csv"'},
        media_type="text/csv; charset=utf-8",
    )


async def _error_lines(
    platform: Platform, access: Access, campaign_id: UUID, columns: Sequence[str]
) -> AsyncIterator[bytes]:
    yield line_of([*map(own_cell, columns), "row", "field", "code", "error"])
    async for failed in walk_rows(
        platform.database, access, campaign_id=campaign_id, state="failed"
    ):
        yield b"".join(
            line_of([*map(own_cell, row.cells or ()), *_error_cells(row)]) for row in failed
        )


def _error_cells(row: Any) -> list[str]:
    values = (row.line, row.error_field, row.error_code, row.error_reason)
    return [own_cell("" if value is None else str(value)) for value in values]


@router.post(
    "/{campaignId}/pause", summary="Pause a campaign", responses=error_responses(401, 403, 404, 409)
)
async def pause(
    campaign_id: CampaignId, requester: CurrentRequester, session: SessionDep
) -> CampaignSummary:
    """Accepts no more rows, and holds the messages that no worker has taken yet."""
    access = await _access_to(session, requester, campaign_id, Action.SEND_MESSAGES)
    campaign = await campaigns.pause_campaign(session, access, campaign_id=campaign_id)
    return CampaignSummary.of(await progress_of(session, campaign))


@router.post(
    "/{campaignId}/resume",
    summary="Resume a campaign",
    responses=error_responses(401, 403, 404, 409),
)
async def resume(
    campaign_id: CampaignId, requester: CurrentRequester, session: SessionDep
) -> CampaignSummary:
    """Continues after a pause, or starts a draft."""
    access = await _access_to(session, requester, campaign_id, Action.SEND_MESSAGES)
    campaign = await campaigns.resume_campaign(session, access, campaign_id=campaign_id)
    return CampaignSummary.of(await progress_of(session, campaign))


@router.post(
    "/{campaignId}/cancel",
    summary="Cancel a campaign",
    responses=error_responses(401, 403, 404, 409),
)
async def cancel(
    campaign_id: CampaignId, requester: CurrentRequester, session: SessionDep
) -> CampaignSummary:
    """For good. Messages that no worker has taken yet are canceled; what was sent stays sent."""
    access = await _access_to(session, requester, campaign_id, Action.SEND_MESSAGES)
    campaign = await campaigns.cancel_campaign(session, access, campaign_id=campaign_id)
    return CampaignSummary.of(await progress_of(session, campaign))


async def _access_to(
    session: AsyncSession, requester: Requester, campaign_id: UUID, action: Action
) -> Access:
    """Raises CampaignNotFound, Forbidden, KeyScope or OriginNotAllowed."""
    return await requester.access_to(
        session,
        partial(campaigns.find_project_of, campaign_id=campaign_id),
        action,
        CampaignNotFound,
    )
