"""Render a template with its variables into what a connector type sends."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Self
from uuid import UUID

from backend.errors import FieldError, ValidationFailed
from backend.models import Template
from backend.provider_types import provider_of
from backend.services.templates.channels import EMAIL, SMS, WHATSAPP, channel_of, channel_type
from backend.services.templates.liquid.engine import TemplateRenderError, TemplateSyntaxError
from backend.services.templates.liquid.fuel import ProjectFuel, fuel_of
from backend.services.templates.variables import check_variables


@dataclass(frozen=True)
class TemplateSource:
    """A template as the send path keeps it. `variables` are the declared names, all required."""

    id: UUID
    project_id: UUID
    name: str
    connector_type: str
    content: str
    subject: str | None
    html: str | None
    variables: tuple[str, ...]
    variants: Mapping[str, Any]
    version: int
    on_uncertain: str
    access: str
    is_active: bool

    @classmethod
    def of(cls, template: Template) -> Self:
        return cls(
            id=template.id,
            project_id=template.project_id,
            name=template.name,
            connector_type=template.connector_type,
            content=template.content,
            subject=template.subject,
            html=template.html,
            variables=tuple(template.variables),
            variants=template.variants,
            version=template.version,
            on_uncertain=template.on_uncertain,
            access=template.access,
            is_active=template.is_active,
        )

    @cached_property
    def stored_version(self) -> tuple[UUID, int] | None:
        """What is paused if it keeps running out of fuel; None: the text is still being written."""
        return (self.id, self.version) if self.version else None

    @cached_property
    def variable_set(self) -> frozenset[str]:
        return frozenset(self.variables)


@dataclass(frozen=True, slots=True)
class Rendered:
    """What a provider gets. `provider_template`: {name, language, parameters: [text, ...]}."""

    text: str
    subject: str | None = None
    html: str | None = None
    provider_template: dict[str, Any] | None = None


def render_template(
    source: TemplateSource, connector_type: str, variables: Mapping[str, Any] | None
) -> Rendered:
    """Return the message for a connector of `connector_type`.

    Raises ValidationFailed with a FieldError for each missing, unknown or unusable variable, and
    if the result is empty or longer than the provider takes; RenderingLimitExceeded or
    TemplatePaused if the project renders too much.
    """
    values = check_variables(source.name, source.variable_set, variables)
    type_ = channel_type(connector_type, source.connector_type)
    rendered = render_parts(source, channel_of(type_), values, fuel_of(source.project_id))
    if rendered.provider_template is None:
        _check_text(source.name, type_, rendered)
    return rendered


def render_parts(
    source: TemplateSource, channel: str, values: Mapping[str, Any], fuel: ProjectFuel
) -> Rendered:
    """Return the channel's variant of the template with `values` filled in, paid from `fuel`.

    Raises ValidationFailed, RenderingLimitExceeded, TemplatePaused.
    """
    fuel.admit(source.stored_version)
    variants = source.variants
    if channel == EMAIL:
        variant = variants.get(EMAIL) or {}
        html = variant.get("html") or source.html
        return Rendered(
            text=_render(source, fuel, "content", source.content, values),
            subject=_subject(source, fuel, variant.get("subject") or source.subject, values),
            html=_render(source, fuel, "html", html, values, html=True) if html else None,
        )
    if channel == WHATSAPP and WHATSAPP in variants:
        variant = variants[WHATSAPP]
        return Rendered(
            text=_render(source, fuel, "content", source.content, values),
            provider_template={
                "name": variant["name"],
                "language": variant["language"],
                "parameters": [
                    _parameter(source, fuel, name, values) for name in variant.get("parameters", ())
                ],
            },
        )
    content = variants[SMS]["content"] if channel == SMS and SMS in variants else source.content
    return Rendered(text=_render(source, fuel, "content", content, values))


def _subject(
    source: TemplateSource, fuel: ProjectFuel, subject: str | None, values: Mapping[str, Any]
) -> str:
    text = _render(source, fuel, "subject", subject, values).strip() if subject else source.name
    if "\n" in text or "\r" in text:
        raise ValidationFailed(
            errors=[
                FieldError(
                    "subject",
                    "VALIDATION_ERROR",
                    f"The subject of template '{source.name}' has a line break; remove it from the"
                    " variables it uses.",
                )
            ]
        )
    return text


def _parameter(
    source: TemplateSource, fuel: ProjectFuel, name: str, values: Mapping[str, Any]
) -> str:
    return _render(source, fuel, "variants.whatsapp.parameters", "{{" + name + "}}", values)


def _render(
    source: TemplateSource,
    fuel: ProjectFuel,
    field: str,
    text: str,
    values: Mapping[str, Any],
    *,
    html: bool = False,
) -> str:
    try:
        return fuel.fill(text, values, html=html, version=source.stored_version)
    except (TemplateRenderError, TemplateSyntaxError) as exc:
        raise ValidationFailed(
            errors=[
                FieldError(
                    field,
                    "VALIDATION_ERROR",
                    f"Template '{source.name}' cannot be rendered with these variables: {exc}.",
                )
            ]
        ) from exc


def _check_text(template_name: str, connector_type: str, rendered: Rendered) -> None:
    length = len(rendered.text)
    limit = provider_of(connector_type).text_limit
    if limit is not None and length > limit:
        raise ValidationFailed(
            errors=[
                FieldError(
                    "variables",
                    "VALIDATION_ERROR",
                    f"Template '{template_name}' makes a text of {length} characters;"
                    f" {connector_type} takes at most {limit}. Shorten its variables.",
                )
            ]
        )
    if not rendered.html and (not length or rendered.text.isspace()):
        raise ValidationFailed(
            errors=[
                FieldError(
                    "variables",
                    "VALIDATION_ERROR",
                    f"Template '{template_name}' makes an empty text with these variables; give it"
                    " something to say.",
                )
            ]
        )
