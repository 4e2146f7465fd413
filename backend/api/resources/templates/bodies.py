"""Bodies of templates and of their previews."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, JsonValue, StrictBool, StringConstraints

from backend import ids
from backend.api.inputs.bodies import (
    ONE_OF_TYPES,
    WHOLE,
    FieldErrorBody,
    Instant,
    Pagination,
    RequestBody,
    ResponseBody,
)
from backend.models import Template, TemplateVersion
from backend.services.lists.paging import Page
from backend.services.templates.content import (
    CONTENT_LIMIT_CHARS,
    SUBJECT_LIMIT_CHARS,
    TemplateContent,
)
from backend.services.templates.preview import Preview
from backend.services.templates.templates import NewTemplate

Name = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1, max_length=255),
    Field(examples=["Welcome Message"]),
]
ConnectorType = Annotated[
    str, Field(min_length=1, max_length=50, examples=["whatsapp"], json_schema_extra=ONE_OF_TYPES)
]
TemplateText = Annotated[
    str,
    Field(
        min_length=1,
        max_length=CONTENT_LIMIT_CHARS,
        description="The text, in Liquid",
        examples=["Hello {{name}}, welcome to {{company}}! Your code is: {{code}}"],
    ),
]
Subject = Annotated[
    str,
    Field(max_length=SUBJECT_LIMIT_CHARS, description="E-mail only; the name where it is left out"),
]
Html = Annotated[
    str, Field(max_length=CONTENT_LIMIT_CHARS, description="E-mail only; values are escaped")
]
Variables = Annotated[
    list[Annotated[str, Field(max_length=64)]],
    Field(
        max_length=100,
        description="All required at a send; left out: detected",
        examples=[["name", "company", "code"]],
    ),
]
# The other policies open a template to publishable keys without the backend's word and need rules
# of their own.
TemplateAccess = Annotated[
    Literal["secret_only", "signed"],
    Field(
        description=(
            "Who may send it: secret keys only, or a web page too, with a send token of your"
            " backend"
        )
    ),
]
OnUncertain = Annotated[
    Literal["hold", "resend"],
    Field(description="When nobody knows whether the provider took it: leave it, or send it again"),
]


class WhatsAppVariant(RequestBody):
    """A template approved by Meta; `parameters` are names of variables, in the order of its
    body.
    """

    name: Annotated[str, Field(pattern=r"^[a-z0-9_]{1,512}$", examples=["welcome_v2"])]
    language: Annotated[str, Field(pattern=r"^[a-z]{2,3}(_[A-Z]{2,3})?$", examples=["en_US"])]
    parameters: Annotated[list[Annotated[str, Field(max_length=64)]], Field(max_length=100)] = (
        Field(default_factory=list)
    )


class EmailVariant(RequestBody):
    subject: Subject | None = None
    html: Html | None = None


class SmsVariant(RequestBody):
    content: TemplateText


class Variants(RequestBody):
    """What a channel sends instead of the template's own texts."""

    whatsapp: WhatsAppVariant | None = None
    email: EmailVariant | None = None
    sms: SmsVariant | None = None

    def as_stored(self) -> dict[str, Any]:
        return self.model_dump(by_alias=True, exclude_none=True)


class CreateTemplateBody(RequestBody):
    name: Name
    connector_type: ConnectorType
    content: TemplateText
    subject: Subject | None = None
    html: Html | None = None
    variables: Variables | None = None
    variants: Variants = Field(default_factory=Variants)
    access: TemplateAccess = "secret_only"
    on_uncertain: OnUncertain = "hold"
    is_active: StrictBool = True

    def to_new_template(self) -> NewTemplate:
        return NewTemplate(
            name=self.name,
            connector_type=self.connector_type,
            content=self.content,
            subject=self.subject,
            html=self.html,
            variables=self.variables,
            variants=self.variants.as_stored(),
            access=self.access,
            on_uncertain=self.on_uncertain,
            is_active=self.is_active,
        )


class UpdateTemplateBody(RequestBody):
    """Only what is sent changes; null clears subject and html. Another text is another version."""

    name: Name | None = None
    connector_type: ConnectorType | None = None
    content: TemplateText | None = None
    subject: Subject | None = None
    html: Html | None = None
    variables: Variables | None = None
    variants: Variants | None = None
    access: TemplateAccess | None = None
    on_uncertain: OnUncertain | None = None
    is_active: StrictBool | None = None

    def template_changes(self) -> dict[str, Any]:
        """Return the fields that were sent, as update_template takes them."""
        sent = self.changes("subject", "html")
        return (
            {**sent, "variants": self.variants.as_stored()} if self.variants is not None else sent
        )


class TemplateBody(ResponseBody):
    id: str = Field(examples=["tpl_01h455vb4pex5vsknk084sn02q"])
    project_id: str = Field(examples=["proj_01h455vb4pex5vsknk084sn02q"])
    name: str = Field(examples=["Welcome Message"])
    connector_type: str = Field(examples=["whatsapp"])
    content: str
    subject: str | None
    html: str | None
    variables: list[str]
    variants: dict[str, Any]
    access: str
    on_uncertain: str
    version: int
    is_active: bool
    created_at: Instant
    updated_at: Instant

    @classmethod
    def of(cls, template: Template) -> TemplateBody:
        return cls(
            id=ids.encode(ids.TEMPLATE, template.id),
            project_id=ids.encode(ids.PROJECT, template.project_id),
            name=template.name,
            connector_type=template.connector_type,
            content=template.content,
            subject=template.subject,
            html=template.html,
            variables=template.variables,
            variants=template.variants,
            access=template.access,
            on_uncertain=template.on_uncertain,
            version=template.version,
            is_active=template.is_active,
            created_at=template.created_at,
            updated_at=template.updated_at,
        )


class TemplateListBody(ResponseBody):
    templates: list[TemplateBody]
    pagination: Pagination

    @classmethod
    def of(cls, page: Page[Template]) -> TemplateListBody:
        return cls(
            templates=[TemplateBody.of(item) for item in page.items], pagination=Pagination.of(page)
        )


class VersionBody(ResponseBody):
    """A template's texts as they were; they never change."""

    version: int = Field(examples=[2])
    content: str
    subject: str | None
    html: str | None
    variables: list[str]
    variants: dict[str, Any]
    restored_from: int | None = Field(description="The version that a rollback brought back")
    created_by: str | None = Field(
        description="The user; null: the system, or before versions were kept",
        examples=["usr_01h455vb4pex5vsknk084sn02q"],
    )
    created_at: Instant

    @classmethod
    def of(cls, version: TemplateVersion) -> VersionBody:
        return cls(
            version=version.version,
            content=version.content,
            subject=version.subject,
            html=version.html,
            variables=version.variables,
            variants=version.variants,
            restored_from=version.restored_from,
            created_by=(
                ids.encode(ids.USER, version.created_by) if version.created_by is not None else None
            ),
            created_at=version.created_at,
        )


class VersionListBody(ResponseBody):
    versions: list[VersionBody]
    pagination: Pagination

    @classmethod
    def of(cls, page: Page[TemplateVersion]) -> VersionListBody:
        return cls(
            versions=[VersionBody.of(item) for item in page.items], pagination=Pagination.of(page)
        )


class RollbackBody(RequestBody):
    version: Annotated[int, Field(ge=1, le=2_147_483_647, strict=True, examples=[1]), WHOLE]


class PreviewTemplateBody(RequestBody):
    """Texts that are sent are previewed in place of the stored ones, without being saved."""

    variables: dict[str, JsonValue] = Field(default_factory=dict)
    connector_type: Annotated[
        ConnectorType | None, Field(description="Sent with; the template's own by default")
    ] = None
    content: Annotated[str | None, Field(max_length=CONTENT_LIMIT_CHARS)] = None
    subject: Subject | None = None
    html: Html | None = None
    variants: Variants | None = None

    def over(self, stored: TemplateContent) -> TemplateContent:
        """Return the stored texts with those sent put over them."""
        sent = self.model_fields_set
        return TemplateContent(
            content=self.content if self.content is not None else stored.content,
            subject=self.subject if "subject" in sent else stored.subject,
            html=self.html if "html" in sent else stored.html,
            variants=self.variants.as_stored() if self.variants is not None else stored.variants,
        )


class SmsSizeBody(ResponseBody):
    encoding: str = Field(examples=["GSM-7"])
    units: int = Field(description="Septets (GSM-7) or UTF-16 units (UCS-2)", examples=[42])
    segments: int = Field(description="What the network bills", examples=[1])


class PreviewBody(ResponseBody):
    """What would be sent. Variables without a value show as `{{name}}`."""

    channel: str = Field(examples=["sms"])
    text: str
    subject: str | None
    html: str | None
    provider_template: dict[str, Any] | None
    variables: list[str] = Field(description="Used by the texts")
    missing: list[str] = Field(description="Used, and given no value")
    unknown: list[str] = Field(description="Given, and not used")
    sms: SmsSizeBody | None
    text_limit: int | None
    problems: list[FieldErrorBody] = Field(description="What keeps the texts from being rendered")

    @classmethod
    def of(cls, preview: Preview) -> PreviewBody:
        sms = preview.sms
        return cls(
            channel=preview.channel,
            text=preview.text,
            subject=preview.subject,
            html=preview.html,
            provider_template=preview.provider_template,
            variables=preview.variables,
            missing=preview.missing,
            unknown=preview.unknown,
            sms=(
                SmsSizeBody(encoding=sms.encoding, units=sms.units, segments=sms.segments)
                if sms is not None
                else None
            ),
            text_limit=preview.text_limit,
            problems=[
                FieldErrorBody(field=p.field, code=p.code, message=p.message)
                for p in preview.problems
            ],
        )
