"""The body and the answer of a send."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, JsonValue
from pydantic.alias_generators import to_camel

MAX_VARIABLES = 100


class SendBody(BaseModel):
    """One message: a template with variables, or a text (secret keys only)."""

    model_config = ConfigDict(
        alias_generator=to_camel,
        validate_by_alias=True,
        validate_by_name=False,
        extra="forbid",
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

    to: Annotated[str, Field(min_length=1, max_length=320, description="The recipient, in the channel's form")]
    connector_id: Annotated[str | None, Field(description="The connector to send through")] = None
    connector: Annotated[str | None, Field(description="A connector type: the project's default of it")] = None
    template_id: Annotated[str | None, Field(description="The template to render")] = None
    variables: Annotated[
        dict[str, JsonValue] | None, Field(max_length=MAX_VARIABLES, description="The template's variables")
    ] = None
    message: Annotated[
        str | None, Field(min_length=1, max_length=65_536, description="A text instead of a template; secret keys only")
    ] = None
    subject: Annotated[str | None, Field(min_length=1, max_length=998, description="E-mail without a template")] = None
    html: Annotated[str | None, Field(min_length=1, max_length=200_000, description="E-mail without a template")] = None
    priority: Annotated[Literal["high", "normal", "bulk"], Field(description="Which lane it waits in")] = "normal"
    metadata: Annotated[
        dict[str, JsonValue] | None, Field(max_length=50, description="Yours; returned with the message")
    ] = None
    send_at: Annotated[AwareDatetime | None, Field(description="Not before this instant (with a time zone)")] = None
    expires_at: Annotated[AwareDatetime | None, Field(description="Not after this instant (with a time zone)")] = None


class SendAnswer(BaseModel):
    """202: the message is ours, and survives whatever happens next."""

    message_id: Annotated[str, Field(alias="messageId", examples=["msg_01kah5w8c2e3n9d7r4x6t0v1yz"])]
    status: Annotated[Literal["queued", "scheduled"], Field(examples=["queued"])]


def send_operation() -> dict[str, Any]:
    """OpenAPI of a route that reads its body itself (the hot path)."""
    return {
        "security": [{"bearer": []}],
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {"schema": SendBody.model_json_schema(ref_template="#/components/schemas/{model}")}
            },
        },
        "parameters": [
            {
                "name": "Idempotency-Key",
                "in": "header",
                "required": False,
                "description": "At most 255 characters, kept 24 hours: a repeat gets the original answer.",
                "schema": {"type": "string", "maxLength": 255},
            }
        ],
    }
