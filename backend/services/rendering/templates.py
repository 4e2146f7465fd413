"""A project's templates. Content that cannot be rendered is refused when it is written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from uuid import UUID

from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from backend.errors import TemplateNotFound
from backend.models import Template
from backend.models.base import utc_now
from backend.models.session import Change, announce
from backend.services.accounts import audit
from backend.services.accounts.access import UserPrincipal
from backend.services.connectors.types import provider_of
from backend.services.paging import Page, PageRequest, fetch_page
from backend.services.rendering.content import TemplateContent, check_content, detect_variables

# A change of one of these is another text: it gets another version.
_CONTENT_FIELDS: Final = ("content", "subject", "html", "variables", "variants")


@dataclass(frozen=True, slots=True)
class NewTemplate:
    """`variables` None: detected from the texts."""

    name: str
    connector_type: str
    content: str
    subject: str | None = None
    html: str | None = None
    variables: Sequence[str] | None = None
    variants: Mapping[str, Any] = field(default_factory=dict)
    access: str = "secret_only"
    on_uncertain: str = "hold"
    is_active: bool = True


async def create_template(
    session: AsyncSession, *, project_id: UUID, new: NewTemplate, actor: UserPrincipal | None = None
) -> Template:
    """Raises InvalidConnectorType, and ValidationFailed naming field and line of what is wrong."""
    provider_of(new.connector_type, field="connectorType")
    texts = TemplateContent(new.content, new.subject, new.html, new.variants)
    template = Template(
        project_id=project_id,
        name=new.name,
        connector_type=new.connector_type,
        content=new.content,
        subject=new.subject,
        html=new.html,
        variables=check_content(texts, new.variables),
        variants=dict(new.variants),
        access=new.access,
        on_uncertain=new.on_uncertain,
        is_active=new.is_active,
    )
    session.add(template)
    audit.record(
        session,
        actor,
        "template.created",
        project_id=project_id,
        subject_id=template.id,
        after={"connector_type": new.connector_type, **_audited(template)},
    )
    await session.flush()
    announce(session, Change("template", template.id))
    return template


async def list_templates(session: AsyncSession, *, project_id: UUID) -> list[Template]:
    """Newest first."""
    return await Template.list_for_project(session, project_id)


async def page_of_templates(session: AsyncSession, *, project_id: UUID, page: PageRequest) -> Page[Template]:
    """Newest first."""
    query = select(Template).where(col(Template.project_id) == project_id, col(Template.deleted_at).is_(None))
    return await fetch_page(session, query, Template.id, page)


async def get_template(session: AsyncSession, *, project_id: UUID, template_id: UUID) -> Template:
    """Raises TemplateNotFound."""
    template = await Template.find(session, project_id, template_id)
    if template is None:
        raise TemplateNotFound
    return template


async def update_template(
    session: AsyncSession,
    *,
    project_id: UUID,
    template_id: UUID,
    changes: Mapping[str, Any],
    actor: UserPrincipal | None = None,
) -> Template:
    """Apply `changes` (fields of NewTemplate that were sent); another text is another version.

    Without `variables` the new texts say which they are; those that were declared without being
    used stay.
    """
    template = await get_template(session, project_id=project_id, template_id=template_id)
    if "connector_type" in changes:
        provider_of(changes["connector_type"], field="connectorType")
    audited_before = _audited(template)
    before = {name: getattr(template, name) for name in _CONTENT_FIELDS}
    after = {**before, **{name: changes[name] for name in _CONTENT_FIELDS if name in changes}}
    texts = TemplateContent(after["content"], after["subject"], after["html"], after["variants"])
    if changes.get("variables") is not None:
        after["variables"] = check_content(texts, changes["variables"])
    else:
        used_before = set(detect_variables(TemplateContent.of(template)))
        declared_only = [name for name in before["variables"] if name not in used_before]
        after["variables"] = list(dict.fromkeys([*check_content(texts, None), *declared_only]))
    for name, value in {**changes, **after}.items():
        setattr(template, name, value)
    if after != before:
        template.version += 1
    template.updated_at = utc_now()
    audit.record(
        session,
        actor,
        "template.updated",
        project_id=project_id,
        subject_id=template_id,
        before=audited_before,
        after=_audited(template),
    )
    await session.flush()
    announce(session, Change("template", template.id))
    return template


async def delete_template(
    session: AsyncSession, *, project_id: UUID, template_id: UUID, actor: UserPrincipal | None = None
) -> None:
    """Gone for the API and for sends to come; messages keep their reference to it."""
    template = await get_template(session, project_id=project_id, template_id=template_id)
    audit.record(
        session, actor, "template.deleted", project_id=project_id, subject_id=template_id, before=_audited(template)
    )
    template.deleted_at = utc_now()
    await session.flush()
    announce(session, Change("template", template.id))


def _audited(template: Template) -> dict[str, Any]:
    """Without the texts: they may be long, and may hold what is nobody's business."""
    return {name: getattr(template, name) for name in ("name", "access", "on_uncertain", "is_active", "version")}
