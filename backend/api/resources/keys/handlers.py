"""A project's API keys."""

from __future__ import annotations

from typing import Annotated

from fastapi import Body, Response

from backend.api.inputs.access import CurrentUser
from backend.api.inputs.conditional import IfMatchDep, tagged
from backend.api.inputs.dependencies import (
    KeyId,
    PageDep,
    PlatformDep,
    ProjectId,
    ReadSessionDep,
    SessionDep,
)
from backend.api.inputs.filters import WantedDep
from backend.api.openapi.document import error_responses
from backend.api.resources.keys.bodies import (
    CreatedKey,
    CreateKey,
    KeyBody,
    KeyList,
    KeyUsageBody,
    RegenerateKey,
    UpdateKey,
)
from backend.api.resources.routers import api_router
from backend.services.access.access import Action, access_of_user, project_of
from backend.services.keys import keys

router = api_router(prefix="/api/v1/projects/{projectId}/keys", tags=["Keys"])


@router.get("", summary="List API keys", responses=error_responses(400, 401, 404))
async def list_keys(
    project_id: ProjectId,
    user: CurrentUser,
    session: ReadSessionDep,
    page: PageDep,
    selection: WantedDep,
) -> KeyList:
    access = await access_of_user(session, user, project_id, Action.VIEW_KEYS)
    return KeyList.of(await keys.page_of_keys(session, access, page=page, selection=selection))


@router.post(
    "",
    status_code=201,
    summary="Create an API key",
    description="The answer's `key` is the only time the key is seen: store it now.",
    responses=error_responses(400, 401, 403, 404, 409),
)
async def create_key(
    project_id: ProjectId,
    body: CreateKey,
    user: CurrentUser,
    platform: PlatformDep,
    session: SessionDep,
) -> CreatedKey:
    access = await access_of_user(session, user, project_id, Action.MANAGE_KEYS)
    settings = platform.settings
    key, text = await keys.create_key(
        session,
        access,
        pepper=settings.require_key_pepper(),
        vault=platform.vault,
        new=body.to_new_key(expiry_days=settings.key_expiry_days),
        most_keys=settings.max_keys_per_project,
    )
    return CreatedKey.with_text(key, text)


@router.get("/{keyId}", summary="Get an API key", responses=error_responses(401, 404))
async def get_key(
    project_id: ProjectId,
    key_id: KeyId,
    user: CurrentUser,
    session: ReadSessionDep,
    response: Response,
) -> KeyBody:
    access = await access_of_user(session, user, project_id, Action.VIEW_KEYS)
    key = await keys.get_key(session, access, key_id=key_id)
    return tagged(response, key, KeyBody.of(key))


@router.put(
    "/{keyId}", summary="Update an API key", responses=error_responses(400, 401, 403, 404, 412)
)
async def update_key(
    *,
    project_id: ProjectId,
    key_id: KeyId,
    body: UpdateKey,
    user: CurrentUser,
    session: SessionDep,
    if_match: IfMatchDep,
    response: Response,
) -> KeyBody:
    access = await access_of_user(session, user, project_id, Action.MANAGE_KEYS)
    await if_match.check(session, await keys.get_key(session, access, key_id=key_id))
    changes = body.changes("rate_limit", "expires_at")
    key = await keys.update_key(session, access, key_id=key_id, changes=changes)
    return tagged(response, key, KeyBody.of(key))


@router.delete(
    "/{keyId}",
    status_code=204,
    summary="Delete an API key",
    description="The key is refused at once, everywhere.",
    responses=error_responses(401, 403, 404, 412),
)
async def delete_key(
    project_id: ProjectId,
    key_id: KeyId,
    user: CurrentUser,
    session: SessionDep,
    if_match: IfMatchDep,
) -> Response:
    access = await access_of_user(session, user, project_id, Action.MANAGE_KEYS)
    await if_match.check(session, await keys.get_key(session, access, key_id=key_id))
    await keys.revoke_key(session, access, key_id=key_id)
    return Response(status_code=204)


@router.post(
    "/{keyId}/regenerate",
    summary="Regenerate an API key",
    responses=error_responses(400, 401, 403, 404),
)
async def regenerate_key(
    *,
    project_id: ProjectId,
    key_id: KeyId,
    user: CurrentUser,
    platform: PlatformDep,
    session: SessionDep,
    body: Annotated[RegenerateKey | None, Body()] = None,
) -> CreatedKey:
    """The key gets another text, shown in this answer only.

    The old one works until the overlap's end.

    A key has one old text: regenerating again ends the overlap before.
    """
    access = await access_of_user(session, user, project_id, Action.MANAGE_KEYS)
    key, text = await keys.regenerate_key(
        session,
        access,
        key_id=key_id,
        pepper=platform.settings.require_key_pepper(),
        vault=platform.vault,
        overlap_s=(body or RegenerateKey()).overlap,
    )
    return CreatedKey.with_text(key, text)


@router.get(
    "/{keyId}/usage", summary="Get what an API key has done", responses=error_responses(401, 404)
)
async def get_key_usage(
    project_id: ProjectId, key_id: KeyId, user: CurrentUser, platform: PlatformDep
) -> KeyUsageBody:
    """Counts are a few seconds behind; `remainingQuota` is not."""
    async with platform.database.session() as session:
        access = await access_of_user(session, user, project_id, Action.VIEW_KEYS)
        project = await project_of(session, access)
        key = await keys.get_key(session, access, key_id=key_id)
    return KeyUsageBody.of(
        await keys.use_of_key(
            platform.rate_limiter,
            key,
            project,
            limit=platform.catalog.rate_limit_of(key.rate_limit, project.plan),
        )
    )
