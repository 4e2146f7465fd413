"""The bodies and the answers of sends."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, PlainValidator, WithJsonSchema
from pydantic.alias_generators import to_camel
from pydantic.config import JsonDict
from pydantic_core import PydanticCustomError, PydanticKnownError

from backend.api.inputs.bodies import GivenInstant, ResponseBody, TimeZone
from backend.durations import parse_duration_s
from backend.services.keys.send_tokens import LONGEST_CHARS
from backend.services.routing.recipients import recipient_kinds
from backend.services.routing.saved_routes import LONGEST_FALLBACK_S, MOST_STEPS
from backend.services.templates.channels import channel_names

MAX_VARIABLES = 100
MAX_BATCH: Final = 500

Text = Annotated[str, Field(min_length=1, max_length=65_536)]
Variables = Annotated[dict[str, JsonValue], Field(max_length=MAX_VARIABLES)]
_LONGEST_RECIPIENT: Final = 320
Recipient = Annotated[
    str,
    Field(
        min_length=1,
        max_length=_LONGEST_RECIPIENT,
        description="The recipient, in the channel's form",
    ),
]


def _to(value: Any) -> str | dict[str, str]:
    """One address, or one for each kind: {"phone": "+14155550123", "email": "ada@example.com"}."""
    if isinstance(value, str):
        _check_length(value)
        return value
    if not isinstance(value, dict):
        raise PydanticKnownError("string_type")
    if not value:
        raise ValueError(
            '\'to\' is empty; write an address, or one for each kind: {"phone": "+14155550123"}.'
        )
    kinds = recipient_kinds()
    for kind, address in value.items():
        if kind not in kinds:
            raise ValueError(
                f"'{kind[:50]}' is not a kind of recipient; use one of: {', '.join(kinds)}."
            )
        if not isinstance(address, str):
            raise PydanticCustomError(
                "value_error", "'to.{kind}' must be a string; write the address.", {"kind": kind}
            )
        _check_length(address)
    return value


def _check_length(address: str) -> None:
    if not address:
        raise PydanticKnownError("string_too_short", {"min_length": 1})
    if len(address) > _LONGEST_RECIPIENT:
        raise PydanticKnownError("string_too_long", {"max_length": _LONGEST_RECIPIENT})


_ADDRESS: Final[JsonDict] = {"type": "string", "minLength": 1, "maxLength": _LONGEST_RECIPIENT}
To = Annotated[
    str | dict[str, str],
    PlainValidator(_to),
    WithJsonSchema(
        {
            "title": "To",
            "description": (
                "The recipient in the channel's form; or an address for each kind (phone, email) or"
                " channel, of which each way of sending takes the most particular one"
            ),
            "anyOf": [
                _ADDRESS,
                {
                    "type": "object",
                    "properties": dict.fromkeys(recipient_kinds(), _ADDRESS),
                    "additionalProperties": False,
                    "minProperties": 1,
                },
            ],
        }
    ),
]
LONGEST_FALLBACK: Final = "7d"


_NO_DURATION: Final = (
    "'fallbackAfter' is no duration; write seconds, or a text such as '30s' or '5m'."
)


def _fallback_after_s(value: Any) -> int:
    if isinstance(value, float) and value.is_integer():
        value = int(value)  # JSON has one kind of number
    if not isinstance(value, int | str) or isinstance(value, bool):
        raise PydanticCustomError("value_error", _NO_DURATION)
    seconds = parse_duration_s(value)
    if seconds > LONGEST_FALLBACK_S:
        raise ValueError(f"'fallbackAfter' must lie between one second and {LONGEST_FALLBACK}.")
    return seconds


FallbackAfter = Annotated[
    int,
    PlainValidator(_fallback_after_s),
    WithJsonSchema(
        {
            "description": (
                "How long a way may take to deliver before the next is tried: seconds, or '30s',"
                " '5m', '2h'"
            ),
            "anyOf": [
                {"type": "integer", "minimum": 1, "maximum": LONGEST_FALLBACK_S},
                {"type": "string", "pattern": "^[1-9][0-9]{0,4}[smhd]?$"},
            ],
        }
    ),
]
Channels = Annotated[
    list[
        Annotated[
            str, Field(min_length=1, max_length=50, json_schema_extra={"enum": [*channel_names()]})
        ]
    ],
    Field(
        min_length=1,
        max_length=MOST_STEPS,
        description=(
            "Tried in this order, in place of one connector: each goes through the project's pool"
            " or default of its type, when the one before has failed or has not delivered within"
            " `fallbackAfter`"
        ),
        json_schema_extra={"uniqueItems": True},
    ),
]


class SendFields(BaseModel):
    """What every way of sending takes."""

    model_config = ConfigDict(
        alias_generator=to_camel, validate_by_alias=True, validate_by_name=False, extra="forbid"
    )

    connector_id: Annotated[str | None, Field(description="The connector to send through")] = None
    connector: Annotated[
        str | None, Field(description="A connector type: the project's default of it")
    ] = None
    project_id: Annotated[
        str | None, Field(description="The key's own project; older SDKs send it")
    ] = None
    priority: Annotated[
        Literal["high", "normal", "bulk"], Field(description="Which lane it waits in")
    ] = "normal"
    metadata: Annotated[
        dict[str, JsonValue] | None,
        Field(max_length=50, description="Yours; returned with the message"),
    ] = None
    send_at: Annotated[
        GivenInstant | None,
        Field(
            description=(
                "Not before this instant (with a time zone), nor in the project's quiet hours"
            )
        ),
    ] = None
    expires_at: Annotated[
        GivenInstant | None, Field(description="Not after this instant (with a time zone)")
    ] = None
    timezone: Annotated[
        TimeZone | None,
        Field(
            description=(
                "The recipient's, for the project's quiet hours. Left out: that of the phone number"
                " where it has only one, else the project's"
            )
        ),
    ] = None


class ContentFields(SendFields):
    """A template with variables, or a text (secret keys only)."""

    channels: Channels | None = None
    route: Annotated[
        str | None,
        Field(min_length=1, max_length=100, description="A saved route, by its name or id"),
    ] = None
    fallback_after: FallbackAfter | None = None
    template_id: Annotated[str | None, Field(description="The template to render")] = None
    variables: Annotated[Variables | None, Field(description="The template's variables")] = None
    template_vars: Annotated[Variables | None, Field(description="Another name of `variables`")] = (
        None
    )
    message: Annotated[
        Text | None, Field(description="A text instead of a template; secret keys only")
    ] = None
    subject: Annotated[
        str | None, Field(min_length=1, max_length=998, description="E-mail without a template")
    ] = None
    html: Annotated[
        str | None, Field(min_length=1, max_length=200_000, description="E-mail without a template")
    ] = None


def _without_default(schema: JsonDict) -> None:
    schema.pop("default", None)


SendToken = Annotated[
    str | None,
    Field(
        min_length=1,
        max_length=LONGEST_CHARS,
        description=(
            "What lets a publishable key send this template (`POST /send-tokens`); good once"
        ),
    ),
]


class SendBody(ContentFields):
    """One message: a template with variables, or a text (secret keys only)."""

    model_config = ConfigDict(
        json_schema_extra={
            "anyOf": [
                {"required": ["to"]},
                {"required": ["sendToken"], "properties": {"sendToken": {"type": "string"}}},
            ],
            "examples": [
                {
                    "to": "+1234567890",
                    "connectorId": "conn_01kah5w8c2e3n9d7r4x6t0v1yz",
                    "templateId": "tpl_01kah5w8c2e3n9d7r4x6t0v1yz",
                    "variables": {"name": "John", "code": "12345"},
                },
                {
                    "to": {"phone": "+1234567890", "email": "john@example.com"},
                    "channels": ["whatsapp", "sms", "email"],
                    "fallbackAfter": "5m",
                    "templateId": "tpl_01kah5w8c2e3n9d7r4x6t0v1yz",
                    "variables": {"name": "John", "code": "12345"},
                },
            ],
        },
    )

    # Left out: the send token's. Never "" when it was sent.
    to: Annotated[To, Field(json_schema_extra=_without_default)] = ""
    send_token: SendToken = None


class PreviewSendBody(ContentFields):
    """A message that is only looked at."""

    to: Annotated[To | None, Field(description="Checked where it is given")] = None


class TextBody(SendFields):
    """A text. Without a connector it goes through the project's default WhatsApp connector."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"to": "6281234567890", "message": "Hello from WhatsApp API!"}]
        }
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
    template_params: Annotated[
        Variables | None, Field(description="The template's variables: `variables`")
    ] = None
    recipient: Annotated[To | None, Field(description="Whom it goes to: `to`")] = None
    to: Annotated[To | None, Field(description="Another name of `recipient`")] = None
    send_token: SendToken = None


class BatchBody(BaseModel):
    """Up to 500 messages; each is checked for itself, so one that is wrong does not keep the
    others.
    """

    model_config = ConfigDict(extra="forbid")

    messages: Annotated[list[dict[str, JsonValue]], Field(min_length=1, max_length=MAX_BATCH)]


class SendAnswer(BaseModel):
    """202: the message is ours, and survives whatever happens next."""

    message_id: Annotated[
        str, Field(alias="messageId", examples=["msg_01kah5w8c2e3n9d7r4x6t0v1yz"])
    ]
    status: Annotated[Literal["queued", "scheduled"], Field(examples=["queued"])]


class ResendAnswer(SendAnswer):
    resent_from: Annotated[
        str, Field(alias="resentFrom", examples=["msg_01kah5w8c2e3n9d7r4x6t0v1yz"])
    ]


class CancelAnswer(ResponseBody):
    message_id: Annotated[str, Field(examples=["msg_01kah5w8c2e3n9d7r4x6t0v1yz"])]
    status: Literal["canceled"] = "canceled"


class BatchResult(BaseModel):
    """`messageId` and `status` of one that was accepted; `error`, `code` and `details` of one that
    was not.
    """

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
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": _schema(body)}},
        },
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
            "messages": {
                "type": "array",
                "minItems": 1,
                "maxItems": MAX_BATCH,
                "items": _schema(SendBody),
            },
        },
    }
