"""A project's API keys."""

from __future__ import annotations

from fastapi import APIRouter, Response

from backend.api.dependencies import KeyId, PageDep, PlatformDep, ProjectId, ReadSessionDep, SessionDep
from backend.api.openapi import error_responses
from backend.api.schemas.keys import CreatedKey, CreateKey, KeyBody, KeyList, UpdateKey
from backend.api.security import CurrentUser
from backend.services.accounts import keys
from backend.services.accounts.access import Action, require_project

router = APIRouter(prefix="/api/v1/projects/{projectId}/keys", tags=["Keys"])


@router.get("", summary="List API keys", responses=error_responses(401, 404))
async def list_keys(project_id: ProjectId, user: CurrentUser, session: ReadSessionDep, page: PageDep) -> KeyList:
    await require_project(session, user, project_id, Action.VIEW_KEYS)
    return KeyList.of(await keys.page_of_keys(session, project_id=project_id, page=page))


@router.post(
    "",
    status_code=201,
    summary="Create an API key",
    description="The answer's `key` is the only time the key is seen: store it now.",
    responses=error_responses(400, 401, 403, 404),
)
async def create_key(
    project_id: ProjectId, body: CreateKey, user: CurrentUser, platform: PlatformDep, session: SessionDep
) -> CreatedKey:
    await require_project(session, user, project_id, Action.MANAGE_KEYS)
    key, text = await keys.create_key(
        session,
        user,
        project_id=project_id,
        pepper=platform.settings.require_key_pepper(),
        new=body.to_new_key(),
    )
    return CreatedKey.with_text(key, text)


@router.get("/{keyId}", summary="Get an API key", responses=error_responses(401, 404))
async def get_key(project_id: ProjectId, key_id: KeyId, user: CurrentUser, session: ReadSessionDep) -> KeyBody:
    await require_project(session, user, project_id, Action.VIEW_KEYS)
    return KeyBody.of(await keys.get_key(session, project_id=project_id, key_id=key_id))


@router.put("/{keyId}", summary="Update an API key", responses=error_responses(400, 401, 403, 404))
async def update_key(
    project_id: ProjectId, key_id: KeyId, body: UpdateKey, user: CurrentUser, session: SessionDep
) -> KeyBody:
    await require_project(session, user, project_id, Action.MANAGE_KEYS)
    changes = body.changes("rate_limit", "expires_at")
    return KeyBody.of(await keys.update_key(session, user, project_id=project_id, key_id=key_id, changes=changes))


@router.delete(
    "/{keyId}",
    status_code=204,
    summary="Delete an API key",
    description="The key is refused at once, everywhere.",
    responses=error_responses(401, 403, 404),
)
async def delete_key(project_id: ProjectId, key_id: KeyId, user: CurrentUser, session: SessionDep) -> Response:
    await require_project(session, user, project_id, Action.MANAGE_KEYS)
    await keys.revoke_key(session, user, project_id=project_id, key_id=key_id)
    return Response(status_code=204)
