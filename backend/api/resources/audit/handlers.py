"""The audit log: a project's, and the whole server's."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from fastapi import Depends, Query

from backend import ids
from backend.api.inputs.access import CurrentUser
from backend.api.inputs.bodies import InstantText, id_text
from backend.api.inputs.dependencies import PageDep, ProjectId, ReadSessionDep
from backend.api.inputs.filters import storable_text
from backend.api.openapi.document import error_responses
from backend.api.resources.audit.bodies import SUBJECT_PREFIXES, AuditList, subject_id_of
from backend.api.resources.routers import api_router
from backend.errors import FieldError, ValidationFailed
from backend.services.access import audit
from backend.services.access.access import Action, access_of_user
from backend.services.access.audit import AuditFilter
from backend.services.accounts import administration
from backend.services.reporting.instants import parse_instant

router = api_router(prefix="/api/v1", tags=["Audit"])


def _filters(
    *,
    actor: Annotated[
        Annotated[str, id_text(ids.USER, ids.KEY)] | None,
        Query(description="The id of a user or an API key"),
    ] = None,
    action: Annotated[
        str | None,
        Query(
            max_length=50,
            description="An action, or its noun alone",
            examples=["key.created", "key"],
        ),
    ] = None,
    subject: Annotated[
        Annotated[str, id_text(*SUBJECT_PREFIXES)] | None,
        Query(description="The id of what was changed"),
    ] = None,
    from_: Annotated[
        InstantText | None, Query(alias="from", description="ISO 8601", examples=["2024-01-01"])
    ] = None,
    to: Annotated[
        InstantText | None,
        Query(description="ISO 8601; a date alone includes its whole day", examples=["2024-01-31"]),
    ] = None,
) -> AuditFilter:
    key_id = ids.decode(ids.KEY, actor) if actor else None
    user_id = None
    if actor and key_id is None:
        user_id = _checked("actor", actor, ids.decode(ids.USER, actor))
    return AuditFilter(
        actor_id=user_id,
        key_id=key_id,
        action=storable_text("action", action) or None,
        subject_id=_checked("subject", subject, subject_id_of(subject)) if subject else None,
        from_=parse_instant(from_, field="from") if from_ else None,
        to=parse_instant(to, field="to", end_of_day=True) if to else None,
    )


def _checked(field: str, text: str, result: UUID | None) -> UUID:
    if result is None:
        message = f"'{text[:80]}' is not an id that '{field}' can have; copy it from an entry."
        raise ValidationFailed(errors=[FieldError(field, "VALIDATION_ERROR", message)])
    return result


FilterDep = Annotated[AuditFilter, Depends(_filters)]


@router.get(
    "/projects/{projectId}/audit",
    summary="Read the audit log",
    responses=error_responses(400, 401, 403, 404),
)
async def project_audit(
    project_id: ProjectId,
    user: CurrentUser,
    session: ReadSessionDep,
    filters: FilterDep,
    page: PageDep,
) -> AuditList:
    access = await access_of_user(session, user, project_id, Action.VIEW_AUDIT)
    return AuditList.of(await audit.page_of_project_entries(session, access, filters, page))


@router.get(
    "/admin/audit", summary="Read the server's audit log", responses=error_responses(400, 401, 403)
)
async def server_audit(
    user: CurrentUser, session: ReadSessionDep, filters: FilterDep, page: PageDep
) -> AuditList:
    return AuditList.of(await administration.page_of_entries(session, user, filters, page))
