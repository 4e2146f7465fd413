"""Bodies of connectors. Credentials come in; none go out."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from pydantic import Field, JsonValue, StrictBool, StringConstraints
from pydantic.config import JsonDict

from backend import ids
from backend.api.inputs.bodies import (
    ONE_OF_TYPES,
    WHOLE,
    Instant,
    Pagination,
    RequestBody,
    ResponseBody,
)
from backend.models import Connector
from backend.models.connector import LONGEST_RETRY_S
from backend.provider_types import takes_callbacks
from backend.providers.frame.provider import Health
from backend.services.connectors.config import MOST_ATTEMPTS, MOST_PER_SECOND
from backend.services.connectors.connectors import HEAVIEST, NewConnector, circuit_state
from backend.services.connectors.credentials import callback_path
from backend.services.lists.paging import Page

Name = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1, max_length=255),
    Field(examples=["Business WhatsApp"]),
]
CredentialValues = Annotated[
    dict[str, JsonValue],
    Field(
        description="The provider's fields; see GET /connector-types",
        examples=[{"phoneNumberId": "123456789", "accessToken": "EAAG..."}],
    ),
]
_RATE: Final[JsonDict] = {
    "type": ["number", "null"],
    "exclusiveMinimum": 0,
    "maximum": MOST_PER_SECOND,
}
_SECONDS: Final[JsonDict] = {
    "type": ["number", "null"],
    "exclusiveMinimum": 0,
    "maximum": LONGEST_RETRY_S,
}
_CONFIG_FIELDS: Final[JsonDict] = {
    "properties": {
        "pacing": {
            "type": ["object", "null"],
            "properties": {"perSecond": _RATE, "perRecipientPerSecond": _RATE},
            "additionalProperties": False,
        },
        "retry": {
            "type": ["object", "null"],
            "properties": {
                "maxAttempts": {
                    "type": ["integer", "null"],
                    "minimum": 1,
                    "maximum": MOST_ATTEMPTS,
                },
                "baseS": _SECONDS,
                "capS": _SECONDS,
                "maxAgeS": _SECONDS,
            },
            "additionalProperties": False,
        },
    },
    "additionalProperties": False,
}
Config = Annotated[
    dict[str, JsonValue],
    Field(
        description=(
            "`pacing: {perSecond, perRecipientPerSecond}` overrides the provider's defaults; null:"
            " unpaced. `retry: {maxAttempts, baseS, capS, maxAgeS}` overrides how often, how long"
            " apart and until what age a message is tried again"
        ),
        examples=[
            {
                "pacing": {"perSecond": 10, "perRecipientPerSecond": None},
                "retry": {"maxAttempts": 5},
            }
        ],
        json_schema_extra=_CONFIG_FIELDS,
    ),
]


Weight = Annotated[
    int,
    Field(
        ge=0,
        le=HEAVIEST,
        strict=True,
        description=(
            "Its share of the sends that name only the type, beside other connectors with a weight;"
            " 0: only when those cannot be used. null: not in the type's pool"
        ),
        examples=[100],
    ),
    WHOLE,
]


class CreateConnectorBody(RequestBody):
    type: Annotated[
        str,
        Field(min_length=1, max_length=50, examples=["whatsapp"], json_schema_extra=ONE_OF_TYPES),
    ]
    name: Name
    credentials: CredentialValues = Field(default_factory=dict, repr=False)
    config: Config = Field(default_factory=dict)
    is_active: StrictBool = True
    is_default: StrictBool = Field(
        default=False, description="Sent through when a request names only the type"
    )
    weight: Weight | None = None

    def to_new_connector(self) -> NewConnector:
        return NewConnector(
            type=self.type,
            name=self.name,
            credentials=self.credentials,
            config=self.config,
            is_active=self.is_active,
            is_default=self.is_default,
            weight=self.weight,
        )


class UpdateConnectorBody(RequestBody):
    """Only what is sent changes.

    Credentials too: fields left out keep their value, null clears one.

    A field that decides where secrets are sent (host, port, security, username, account) changes
    only together with the secrets: without them the answer is a 400 with the code SECRET_REQUIRED.

    `weight: null` takes the connector out of its pool.
    """

    name: Name | None = None
    credentials: CredentialValues | None = Field(default=None, repr=False)
    config: Config | None = None
    is_active: StrictBool | None = None
    is_default: StrictBool | None = None
    weight: Weight | None = None


class ConnectorHealthBody(ResponseBody):
    """The circuit breaker: open after failures in a row; half_open when the next message may find
    out.
    """

    state: Literal["closed", "open", "half_open"]
    reason: str | None = Field(description="The failure that opened it")
    since: Instant | None
    next_probe_at: Instant | None = Field(
        description="When one message is sent to see whether the provider is back"
    )

    @classmethod
    def of(cls, connector: Connector) -> ConnectorHealthBody:
        return cls(
            state=circuit_state(connector),
            reason=connector.circuit_reason,
            since=connector.circuit_opened_at,
            next_probe_at=connector.circuit_probe_at,
        )


class ConnectorBody(ResponseBody):
    id: str = Field(examples=["conn_01h455vb4pex5vsknk084sn02q"])
    project_id: str = Field(examples=["proj_01h455vb4pex5vsknk084sn02q"])
    type: str = Field(examples=["whatsapp"])
    name: str = Field(examples=["Business WhatsApp"])
    config: dict[str, Any]
    is_active: bool
    is_default: bool
    weight: int | None = Field(description="Its share of its type's pool; null: in none")
    broken_at: Instant | None = Field(
        description="Since when the provider refuses the credentials; messages wait"
    )
    broken_reason: str | None
    health: ConnectorHealthBody
    callback_path: str | None = Field(
        description=(
            "Where its provider's callbacks go, below the server's public URL; null: it sends none"
        ),
        examples=["/api/v1/callbacks/conn_01h455vb4pex5vsknk084sn02q"],
    )
    callback_verified_at: Instant | None = Field(description="When a callback was verified first")
    last_tested_at: Instant | None
    created_at: Instant
    updated_at: Instant

    @classmethod
    def of(cls, connector: Connector) -> ConnectorBody:
        return cls(
            id=ids.encode(ids.CONNECTOR, connector.id),
            project_id=ids.encode(ids.PROJECT, connector.project_id),
            type=connector.type,
            name=connector.name,
            config=connector.config,
            is_active=connector.is_active,
            is_default=connector.is_default,
            weight=connector.weight,
            broken_at=connector.broken_at,
            broken_reason=connector.broken_reason,
            health=ConnectorHealthBody.of(connector),
            callback_path=callback_path(connector.id) if takes_callbacks(connector.type) else None,
            callback_verified_at=connector.callback_verified_at,
            last_tested_at=connector.last_tested_at,
            created_at=connector.created_at,
            updated_at=connector.updated_at,
        )


class ConnectorListBody(ResponseBody):
    connectors: list[ConnectorBody]
    pagination: Pagination

    @classmethod
    def of(cls, page: Page[Connector]) -> ConnectorListBody:
        return cls(
            connectors=[ConnectorBody.of(item) for item in page.items],
            pagination=Pagination.of(page),
        )


class ConnectorTestBody(ResponseBody):
    success: bool = Field(examples=[True])
    connected: bool = Field(examples=[True])
    message: str = Field(examples=["Connected to WhatsApp Cloud API"])
    details: dict[str, Any] = Field(default_factory=dict)

    @classmethod
    def of(cls, health: Health) -> ConnectorTestBody:
        return cls(
            success=health.connected,
            connected=health.connected,
            message=health.message,
            details=dict(health.details),
        )


class CredentialFieldOption(ResponseBody):
    value: Any
    label: str


class CredentialField(ResponseBody):
    """One field of a provider's form."""

    name: str = Field(examples=["accessToken"])
    label: str
    type: str = Field(description="text, secret, number, select or boolean")
    required: bool
    default: Any = None
    placeholder: str = ""
    help: str = ""
    options: list[CredentialFieldOption] = Field(default_factory=list)


class PacingBody(ResponseBody):
    per_second: float | None
    per_recipient_per_second: float | None


class ConnectorTypeBody(ResponseBody):
    type: str = Field(examples=["telegram"])
    title: str = Field(examples=["Telegram"])
    summary: str
    recipient_kind: str
    recipient_example: str
    capabilities: list[str]
    text_limit: int | None
    pacing: PacingBody
    fields: list[CredentialField]


class ConnectorTypeListBody(ResponseBody):
    connector_types: list[ConnectorTypeBody]
