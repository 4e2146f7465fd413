"""A project's templates.

Content that cannot be rendered is refused when it is written; each text is a version.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final
from uuid import UUID

from sqlmodel import col
from sqlmodel.ext.asyncio.session import AsyncSession

from backend.errors import TemplateNotFound, TemplateVersionNotFound, ValidationFailed
from backend.models import Template, TemplateVersion
from backend.models.base import utc_now
from backend.models.session import Change, announce
from backend.names import check_name
from backend.provider_types import provider_of
from backend.services.access import audit
from backend.services.access.access import Access, Action, Actor
from backend.services.lists.filters import EVERYTHING, Selection, select_wanted
from backend.services.lists.paging import Page, PageRequest, fetch_page
from backend.services.templates.content import TemplateContent, check_content, detect_variables

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


async def create_template(session: AsyncSession, access: Access, *, new: NewTemplate) -> Template:
    """Raises InvalidConnectorType, and ValidationFailed naming field and line of what is wrong."""
    access.require(Action.MANAGE_TEMPLATES)
    check_name(new.name)
    provider_of(new.connector_type, field="connectorType")
    texts = TemplateContent(new.content, new.subject, new.html, new.variants)
    template = Template(
        project_id=access.project_id,
        name=new.name,
        connector_type=new.connector_type,
        content=new.content,
        subject=new.subject,
        html=new.html,
        variables=check_content(texts, new.variables, access.project_id),
        variants=dict(new.variants),
        access=new.access,
        on_uncertain=new.on_uncertain,
        is_active=new.is_active,
    )
    session.add(template)
    await session.flush()
    _store_version(session, template, access.actor)
    audit.record(
        session,
        access.actor,
        "template.created",
        project_id=access.project_id,
        subject_id=template.id,
        after={"connector_type": new.connector_type, **_audited(template)},
    )
    await session.flush()
    announce(session, Change("template", template.id))
    return template


async def list_templates(session: AsyncSession, access: Access) -> list[Template]:
    """Newest first."""
    access.require(Action.VIEW_TEMPLATES)
    return await Template.list_for_project(session, access.project_id)


async def page_of_templates(
    session: AsyncSession, access: Access, *, page: PageRequest, selection: Selection = EVERYTHING
) -> Page[Template]:
    """Newest first."""
    access.require(Action.VIEW_TEMPLATES)
    query = select_wanted(
        Template, access.project_id, selection, type_column=col(Template.connector_type)
    )
    return await fetch_page(session, query, Template.id, page)


async def get_template(session: AsyncSession, access: Access, *, template_id: UUID) -> Template:
    """Raises TemplateNotFound."""
    access.require(Action.VIEW_TEMPLATES)
    template = await Template.find(session, access.project_id, template_id)
    if template is None:
        raise TemplateNotFound
    return template


async def update_template(
    session: AsyncSession, access: Access, *, template_id: UUID, changes: Mapping[str, Any]
) -> Template:
    """Apply `changes` (fields of NewTemplate that were sent); another text is another version.

    Without `variables` the new texts say which they are; those that were declared without being
    used stay.
    """
    access.require(Action.MANAGE_TEMPLATES)
    template = await _locked_template(session, access, template_id)
    if "name" in changes:
        check_name(changes["name"])
    if "connector_type" in changes:
        provider_of(changes["connector_type"], field="connectorType")
    audited_before = _audited(template)
    before = {name: getattr(template, name) for name in _CONTENT_FIELDS}
    after = {**before, **{name: changes[name] for name in _CONTENT_FIELDS if name in changes}}
    if not changes.keys().isdisjoint(_CONTENT_FIELDS):
        after["variables"] = _variables_after(template, after, declared=changes.get("variables"))
    for name, value in {**changes, **after}.items():
        setattr(template, name, value)
    if after != before:
        template.version += 1
        _store_version(session, template, access.actor)
    await _record_change(session, access.actor, template, "template.updated", audited_before)
    return template


def _variables_after(
    template: Template, after: Mapping[str, Any], *, declared: Sequence[str] | None
) -> list[str]:
    texts = TemplateContent(after["content"], after["subject"], after["html"], after["variants"])
    if declared is not None:
        return check_content(texts, declared, template.project_id)
    used_before = _used_names(template)
    declared_only = [name for name in template.variables if name not in used_before]
    return list(dict.fromkeys([*check_content(texts, None, template.project_id), *declared_only]))


def _used_names(template: Template) -> set[str]:
    """Return the names that the stored texts use; all declared ones where they are over a limit of
    today.
    """
    try:
        return set(detect_variables(TemplateContent.of(template), template.project_id))
    except ValidationFailed:
        return set(template.variables)


async def page_of_versions(
    session: AsyncSession, access: Access, *, template_id: UUID, page: PageRequest
) -> Page[TemplateVersion]:
    """Newest first. Raises TemplateNotFound."""
    access.require(Action.VIEW_TEMPLATES)
    await get_template(session, access, template_id=template_id)
    return await fetch_page(
        session,
        TemplateVersion.of_template(access.project_id, template_id),
        TemplateVersion.id,
        page,
    )


async def get_version(
    session: AsyncSession, access: Access, *, template_id: UUID, version: int
) -> TemplateVersion:
    """Raises TemplateNotFound, TemplateVersionNotFound."""
    access.require(Action.VIEW_TEMPLATES)
    template = await get_template(session, access, template_id=template_id)
    template_version = await TemplateVersion.find(session, access.project_id, template_id, version)
    if template_version is None:
        raise TemplateVersionNotFound(
            f"Template '{template.name}' has no version {version}; it is at {template.version}."
        )
    return template_version


async def roll_back_template(
    session: AsyncSession, access: Access, *, template_id: UUID, version: int
) -> Template:
    """Make an earlier version's texts the template's again, as a new version.

    The current one changes nothing.

    Name, access and being active stay. Raises TemplateNotFound, TemplateVersionNotFound,
    ValidationFailed.
    """
    access.require(Action.MANAGE_TEMPLATES)
    template = await _locked_template(session, access, template_id)
    earlier = await get_version(session, access, template_id=template_id, version=version)
    if earlier.version == template.version:
        return template
    # The limits may have changed since it was written.
    detect_variables(
        TemplateContent(earlier.content, earlier.subject, earlier.html, earlier.variants),
        access.project_id,
    )
    before = _audited(template)
    for name in _CONTENT_FIELDS:
        setattr(template, name, getattr(earlier, name))
    template.version += 1
    _store_version(session, template, access.actor, restored_from=version)
    await _record_change(session, access.actor, template, "template.rolled_back", before)
    return template


async def delete_template(session: AsyncSession, access: Access, *, template_id: UUID) -> None:
    """Gone for the API and for sends to come; messages keep their reference to it."""
    access.require(Action.MANAGE_TEMPLATES)
    template = await get_template(session, access, template_id=template_id)
    audit.record(
        session,
        access.actor,
        "template.deleted",
        project_id=access.project_id,
        subject_id=template_id,
        before=_audited(template),
    )
    template.deleted_at = utc_now()
    await session.flush()
    announce(session, Change("template", template.id))


async def _locked_template(session: AsyncSession, access: Access, template_id: UUID) -> Template:
    """One change at a time: two that read the same version must not both write the next one."""
    template = await get_template(session, access, template_id=template_id)
    await session.refresh(template, with_for_update=True)
    return template


def _store_version(
    session: AsyncSession,
    template: Template,
    actor: Actor,
    *,
    restored_from: int | None = None,
) -> None:
    session.add(
        TemplateVersion(
            project_id=template.project_id,
            template_id=template.id,
            version=template.version,
            created_by=actor.user_id,
            restored_from=restored_from,
            content=template.content,
            subject=template.subject,
            html=template.html,
            variables=list(template.variables),
            variants=dict(template.variants),
        )
    )


async def _record_change(
    session: AsyncSession,
    actor: Actor,
    template: Template,
    action: str,
    before: dict[str, Any],
) -> None:
    template.updated_at = utc_now()
    audit.record(
        session,
        actor,
        action,
        project_id=template.project_id,
        subject_id=template.id,
        before=before,
        after=_audited(template),
    )
    await session.flush()
    announce(session, Change("template", template.id))


def _audited(template: Template) -> dict[str, Any]:
    """Without the texts: they may be long, and may hold what is nobody's business."""
    return {
        name: getattr(template, name)
        for name in ("name", "access", "on_uncertain", "is_active", "version")
    }
