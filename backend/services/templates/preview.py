"""What an editor shows while a template is being written; bad content raises nothing here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from backend.errors import FieldError, ValidationFailed
from backend.provider_types import provider_of
from backend.services.templates.channels import SMS, channel_of, channel_type
from backend.services.templates.content import TemplateContent, detect_variables
from backend.services.templates.liquid.fuel import fuel_of
from backend.services.templates.render import Rendered, TemplateSource, render_parts
from backend.services.templates.sms_segments import SmsSize, measure
from backend.services.templates.variables import check_values


@dataclass(frozen=True, slots=True)
class Preview:
    """`variables` are those the content uses; the `missing` have no value and show as `{{name}}`.

    `problems` are the content's errors; if there are any, `text` is empty. `sms` is set for SMS.
    """

    channel: str
    variables: list[str]
    missing: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    text: str = ""
    subject: str | None = None
    html: str | None = None
    provider_template: dict[str, Any] | None = None
    sms: SmsSize | None = None
    text_limit: int | None = None
    problems: list[FieldError] = field(default_factory=list)


class _Placeholder(str):
    """Stands in for a value that wasn't given, and for what the template looks up in it."""

    __slots__ = ()

    def __getitem__(self, key: object) -> str:
        if isinstance(key, str):
            return _Placeholder(f"{self[:-2]}.{key}}}}}")
        return super().__getitem__(key)  # type: ignore[index]


def preview(
    content: TemplateContent,
    *,
    connector_type: str,
    variables: Mapping[str, Any] | None = None,
    name: str = "Untitled",
    send_with: str | None = None,
    project_id: UUID | None = None,
) -> Preview:
    """Render `content`, saved or not, as a connector of `send_with` (default: its own type) would.

    Raises only InvalidConnectorType, and RenderingLimitExceeded if `project_id` renders too much.
    """
    type_ = channel_type(send_with or connector_type, connector_type)
    provider = provider_of(type_)
    channel = channel_of(type_)
    try:
        names = detect_variables(content, project_id)
    except ValidationFailed as exc:
        return Preview(channel, [], text_limit=provider.text_limit, problems=list(exc.errors))
    given = {key: value for key, value in (variables or {}).items() if value is not None}
    missing = [name for name in names if name not in given]
    values = {**given, **{name: _Placeholder("{{" + name + "}}") for name in missing}}
    problems: list[FieldError] = []
    try:
        check_values(given)
        source = _source(content, connector_type, name, names)
        rendered = render_parts(source, channel, values, fuel_of(project_id))
    except ValidationFailed as exc:
        rendered, problems = Rendered(text=""), list(exc.errors)
    return Preview(
        channel=channel,
        variables=names,
        missing=missing,
        unknown=sorted(given.keys() - set(names)),
        text=rendered.text,
        subject=rendered.subject,
        html=rendered.html,
        provider_template=rendered.provider_template,
        sms=measure(rendered.text) if channel == SMS else None,
        text_limit=provider.text_limit,
        problems=problems,
    )


def _source(
    content: TemplateContent, connector_type: str, name: str, names: list[str]
) -> TemplateSource:
    unsaved = UUID(int=0)
    return TemplateSource(
        id=unsaved,
        project_id=unsaved,
        name=name,
        connector_type=connector_type,
        content=content.content,
        subject=content.subject,
        html=content.html,
        variables=tuple(names),
        variants=content.variants,
        version=0,
        on_uncertain="hold",
        access="secret_only",
        is_active=True,
    )
