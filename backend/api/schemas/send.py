"""The bodies and the answers of sends."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, JsonValue
from pydantic.alias_generators import to_camel

from backend.api.schemas.base import ResponseBody

MAX_VARIABLES = 100
MAX_BATCH: Final = 500

Text = Annotated[str, Field(min_length=1, max_length=65_536)]
Variables = Annotated[dict[str, JsonValue], Field(max_length=MAX_VARIABLES)]
Recipient = Annotated[str, Field(min_length=1, max_length=320, description="The recipient, in the channel's form")]


class SendFields(BaseModel):
    """What every way of sending takes."""

    model_config = ConfigDict(alias_generator=to_camel, validate_by_alias=True, validate_by_name=False, extra="forbid")

    connector_id: Annotated[str | None, Field(description="The connector to send through")] = None
    connector: Annotated[str | None, Field(description="A connector type: the project's default of it")] = None
    project_id: Annotated[str | None, Field(description="The key's own project; older SDKs send it")] = None
    priority: Annotated[Literal["high", "normal", "bulk"], Field(description="Which lane it waits in")] = "normal"
    metadata: Annotated[
        dict[str, JsonValue] | None, Field(max_length=50, description="Yours; returned with the message")
    ] = None
    send_at: Annotated[AwareDatetime | None, Field(description="Not before this instant (with a time zone)")] = None
    expires_at: Annotated[AwareDatetime | None, Field(description="Not after this instant (with a time zone)")] = None


class ContentFields(SendFields):
    """A template with variables, or a text (secret keys only)."""

    template_id: Annotated[str | None, Field(description="The template to render")] = None
    variables: Annotated[Variables | None, Field(description="The template's variables")] = None
    template_vars: Annotated[Variables | None, Field(description="Another name of `variables`")] = None
    message: Annotated[Text | None, Field(description="A text instead of a template; secret keys only")] = None
    subject: Annotated[str | None, Field(min_length=1, max_length=998, description="E-mail without a template")] = None
    html: Annotated[str | None, Field(min_length=1, max_length=200_000, description="E-mail without a template")] = None


class SendBody(ContentFields):
    """One message: a template with variables, or a text (secret keys only)."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "to": "+1234567890",
                    "connectorId": "conn_01kah5w8c2e3n9d7r4x6t0v1yz",
                    "templateId": "tpl_01kah5w8c2e3n9d7r4x6t0v1yz",
                    "variables": {"name": "John", "code": "12345"},
                }
            ]
        },
    )

    to: Recipient


class PreviewSendBody(ContentFields):
    """A message that is only looked at."""

    to: Annotated[Recipient | None, Field(description="Checked where it is given")] = None


class TextBody(SendFields):
    """A text. Without a connector it goes through the project's default WhatsApp connector."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"to": "6281234567890", "message": "Hello from WhatsApp API!"}]}
    )

    to: Recipient
    message: Text


class AliasSendBody(ContentFields):
    """A send with the names that EmailJS uses; those of `POST /messages` are taken too."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "serviceId": "conn_01kah5w8c2e3n9d7r4x6t0v1yz",
                    "templateId": "tpl_01kah5w8c2e3n9d7r4x6t0v1yz",
                    "templateParams": {"name": "John", "code": "12345"},
                    "recipient": "+1234567890",
                }
            ]
        },
    )

    service_id: Annotated[str | None, Field(description="The connector: `connectorId`")] = None
    template_params: Annotated[Variables | None, Field(description="The template's variables: `variables`")] = None
    recipient: Annotated[Recipient | None, Field(description="Whom it goes to: `to`")] = None
    to: Annotated[Recipient | None, Field(description="Another name of `recipient`")] = None


class BatchBody(BaseModel):
    """Up to 500 messages; each is checked for itself, so one that is wrong does not keep the others."""

    model_config = ConfigDict(extra="forbid")

    messages: Annotated[list[dict[str, JsonValue]], Field(min_length=1, max_length=MAX_BATCH)]


class SendAnswer(BaseModel):
    """202: the message is ours, and survives whatever happens next."""

    message_id: Annotated[str, Field(alias="messageId", examples=["msg_01kah5w8c2e3n9d7r4x6t0v1yz"])]
    status: Annotated[Literal["queued", "scheduled"], Field(examples=["queued"])]


class ResendAnswer(SendAnswer):
    resent_from: Annotated[str, Field(alias="resentFrom", examples=["msg_01kah5w8c2e3n9d7r4x6t0v1yz"])]


class CancelAnswer(ResponseBody):
    message_id: Annotated[str, Field(examples=["msg_01kah5w8c2e3n9d7r4x6t0v1yz"])]
    status: Literal["canceled"] = "canceled"


class BatchResult(BaseModel):
    """`messageId` and `status` of one that was accepted; `error`, `code` and `details` of one that was not."""

    index: Annotated[int, Field(description="Its place in `messages`")]
    message_id: Annotated[str | None, Field(alias="messageId")] = None
    status: str | None = None
    error: str | None = None
    code: str | None = None
    details: dict[str, Any] | None = None


class BatchAnswer(BaseModel):
    results: Annotated[list[BatchResult], Field(description="One for each message, in order")]
    accepted: int
    rejected: int


def send_operation(body: type[BaseModel] = SendBody) -> dict[str, Any]:
    """OpenAPI of a route that reads its body itself (the hot path)."""
    return {
        "security": [{"bearer": []}],
        "requestBody": {"required": True, "content": {"application/json": {"schema": _schema(body)}}},
        "parameters": [IDEMPOTENCY_PARAMETER],
    }


IDEMPOTENCY_PARAMETER: Final[dict[str, Any]] = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "description": "At most 255 characters, kept 24 hours: a repeat gets the original answer.",
    "schema": {"type": "string", "minLength": 1, "maxLength": 255},
}


def _schema(body: type[BaseModel]) -> dict[str, Any]:
    """Return a batch's items as what they are checked against, one by one."""
    if body is not BatchBody:
        schema = body.model_json_schema(ref_template="#/components/schemas/{model}")
        # JsonValue stands among the components already: templates' previews have it.
        schema.pop("$defs", None)
        return schema
    return {
        "title": "BatchBody",
        "description": BatchBody.__doc__,
        "type": "object",
        "required": ["messages"],
        "additionalProperties": False,
        "properties": {
            "messages": {"type": "array", "minItems": 1, "maxItems": MAX_BATCH, "items": _schema(SendBody)},
        },
    }
