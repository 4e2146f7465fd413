"""Bodies of /send-tokens."""

from __future__ import annotations

from typing import Annotated

from pydantic import ConfigDict, Field

from backend import ids
from backend.api.inputs.bodies import WHOLE, Instant, RequestBody, ResponseBody
from backend.api.resources.messages.send_bodies import Recipient, Variables
from backend.errors import (
    BadRequest,
    ConnectorNotFound,
    FieldError,
    TemplateNotFound,
    ValidationFailed,
)
from backend.services.keys.send_tokens import LONGEST_LIFE_S, SignedToken
from backend.services.sending.issue import NewToken


class SendTokenBody(RequestBody):
    """What a web page may send with it: this template, to this recipient, once."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "templateId": "tpl_01kah5w8c2e3n9d7r4x6t0v1yz",
                    "to": "+1234567890",
                    "variables": {"code": "12345"},
                    "origin": "https://shop.example",
                    "expiresInS": 300,
                }
            ]
        },
    )

    template_id: Annotated[str, Field(description="A template with the access `signed`")]
    to: Annotated[
        Recipient | None, Field(description="The recipient; the page need not name it")
    ] = None
    to_hash: Annotated[
        str | None,
        Field(
            pattern="^[0-9a-f]{64}$",
            description=(
                "In place of `to`: hex SHA-256 of the recipient in its normal form"
                " (`+14155550123`). The page names the recipient itself"
            ),
        ),
    ] = None
    connector_id: Annotated[
        str | None,
        Field(description="The connector to send through; default: that of the template's type"),
    ] = None
    connector: Annotated[
        str | None, Field(description="A connector type: the project's default of it")
    ] = None
    variables: Annotated[
        Variables | None,
        Field(description="Variables that the page may not choose; the others it may"),
    ] = None
    origin: Annotated[
        str | None,
        Field(
            max_length=300,
            description="Only for pages of this origin",
            examples=["https://shop.example"],
        ),
    ] = None
    expires_in_s: Annotated[
        int,
        Field(ge=1, le=LONGEST_LIFE_S, strict=True, description="For how many seconds it is good"),
        WHOLE,
    ] = 300

    def to_new_token(self) -> NewToken:
        """Raises ValidationFailed, BadRequest, TemplateNotFound or ConnectorNotFound."""
        if (self.to is None) == (self.to_hash is None):
            message = 'Name a recipient once: by "to", or by "toHash".'
            raise ValidationFailed(errors=[FieldError("to", "MISSING_REQUIRED_FIELD", message)])
        if self.connector is not None and self.connector_id is not None:
            remedy = 'Leave out "connector" or "connectorId".'
            raise BadRequest(
                "A message goes through one connector.",
                errors=[FieldError("connector", "VALIDATION_ERROR", remedy)],
            )
        template_id = ids.decode(ids.TEMPLATE, self.template_id)
        if template_id is None:
            raise TemplateNotFound(
                f"There is no template '{self.template_id[:60]}' in this project."
            )
        connector_id = (
            ids.decode(ids.CONNECTOR, self.connector_id) if self.connector_id is not None else None
        )
        if self.connector_id is not None and connector_id is None:
            raise ConnectorNotFound(
                f"There is no connector '{self.connector_id[:60]}' in this project."
            )
        return NewToken(
            template_id=template_id,
            to=self.to,
            to_hash=self.to_hash,
            connector_id=connector_id,
            connector_type=self.connector,
            variables=self.variables,
            origin=self.origin,
            life_s=self.expires_in_s,
        )


class SendTokenAnswer(ResponseBody):
    send_token: str = Field(
        description="Hand it to the page; it goes back as `sendToken` of `POST /messages`",
        examples=[
            "eyJhbGciOiJIUzI1NiIsImtpZCI6InN0a18wMCJ9.eyJhdWQiOiJtZXNzYWdlanM6c2VuZCJ9.c2lnbmF0dXJl"
        ],
    )
    expires_at: Instant = Field(examples=["2030-01-15T10:05:00.000Z"])

    @classmethod
    def of(cls, token: SignedToken) -> SendTokenAnswer:
        return cls(send_token=token.text, expires_at=token.expires_at)
