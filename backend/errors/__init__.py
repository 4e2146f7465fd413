"""The one error tree, by noun; each leaf owns its HTTP status and its code.

AppError
├── BadRequest (400)       requests: ValidationFailed, MalformedBody, InvalidCsv
│                          messages: InvalidTo ─ InvalidPhone
│                          accounts: InvalidLink
│                          connectors: InvalidConnectorType, InvalidConnectorCredentials,
│                          ConnectorNotActive; templates: TemplateNotActive
├── Unauthenticated (401)  accounts: InvalidCredentials, TokenExpired, InvalidToken
│                          keys: MissingApiKey, InvalidApiKey, ApiKeyExpired
├── Forbidden (403)        keys: KeyScope, OriginNotAllowed; projects: ProjectNotActive
│                          messages: SendBlocked, RecipientSuppressed; accounts: RegistrationClosed
├── NotFound (404)         projects: ProjectNotFound; connectors: ConnectorNotFound
│                          templates: TemplateNotFound, TemplateVersionNotFound
│                          messages: MessageNotFound; keys: KeyNotFound; routes: RouteNotFound
│                          campaigns: CampaignNotFound
│                          accounts: UserNotFound, SessionNotFound, MemberNotFound,
│                          InvitationNotFound
├── Conflict (409)         accounts: EmailTaken, AlreadyMember, LastOwner; keys: TooManyKeys
│                          messages: MessageNotCancelable, MessageNotResendable, MessageRedacted,
│                          NotADeadLetter; campaigns: CampaignStateConflict
│                          requests: IdempotencyInFlight; routes: RouteNameTaken
├── requests: MethodNotAllowed (405), PreconditionFailed (412), PayloadTooLarge (413),
│             UnsupportedMediaType (415), IdempotencyConflict (422)
├── limits: RateLimitExceeded, QuotaExceeded (429); rendering extends them
└── ServerError (500)      connectors: ConnectorFailed; server: DatabaseError
    and server: ThirdPartyError (502), ServiceUnavailable (503)
"""

from __future__ import annotations

from backend.errors.accounts import (
    AlreadyMember,
    EmailTaken,
    InvalidCredentials,
    InvalidLink,
    InvalidToken,
    InvitationNotFound,
    LastOwner,
    MemberNotFound,
    RegistrationClosed,
    SessionNotFound,
    TokenExpired,
    UserNotFound,
)
from backend.errors.base import (
    AppError,
    BadRequest,
    Conflict,
    Forbidden,
    NotFound,
    ServerError,
    Unauthenticated,
)
from backend.errors.campaigns import CampaignNotFound, CampaignStateConflict
from backend.errors.connectors import (
    ConnectorFailed,
    ConnectorNotActive,
    ConnectorNotFound,
    InvalidConnectorCredentials,
    InvalidConnectorType,
)
from backend.errors.keys import (
    ApiKeyExpired,
    InvalidApiKey,
    KeyNotFound,
    KeyScope,
    MissingApiKey,
    OriginNotAllowed,
    TooManyKeys,
)
from backend.errors.limits import QuotaExceeded, RateLimitExceeded
from backend.errors.messages import (
    InvalidPhone,
    InvalidTo,
    MessageNotCancelable,
    MessageNotFound,
    MessageNotResendable,
    MessageRedacted,
    NotADeadLetter,
    RecipientSuppressed,
    SendBlocked,
)
from backend.errors.projects import ProjectNotActive, ProjectNotFound
from backend.errors.requests import (
    IdempotencyConflict,
    IdempotencyInFlight,
    InvalidCsv,
    MalformedBody,
    MethodNotAllowed,
    PayloadTooLarge,
    PreconditionFailed,
    UnsupportedMediaType,
    ValidationFailed,
)
from backend.errors.routes import RouteNameTaken, RouteNotFound
from backend.errors.server import DatabaseError, ServiceUnavailable, ThirdPartyError
from backend.errors.templates import TemplateNotActive, TemplateNotFound, TemplateVersionNotFound
from backend.field_error import FieldError

__all__ = [
    "AlreadyMember",
    "ApiKeyExpired",
    "AppError",
    "BadRequest",
    "CampaignNotFound",
    "CampaignStateConflict",
    "Conflict",
    "ConnectorFailed",
    "ConnectorNotActive",
    "ConnectorNotFound",
    "DatabaseError",
    "EmailTaken",
    "FieldError",
    "Forbidden",
    "IdempotencyConflict",
    "IdempotencyInFlight",
    "InvalidApiKey",
    "InvalidConnectorCredentials",
    "InvalidConnectorType",
    "InvalidCredentials",
    "InvalidCsv",
    "InvalidLink",
    "InvalidPhone",
    "InvalidTo",
    "InvalidToken",
    "InvitationNotFound",
    "KeyNotFound",
    "KeyScope",
    "LastOwner",
    "MalformedBody",
    "MemberNotFound",
    "MessageNotCancelable",
    "MessageNotFound",
    "MessageNotResendable",
    "MessageRedacted",
    "MethodNotAllowed",
    "MissingApiKey",
    "NotADeadLetter",
    "NotFound",
    "OriginNotAllowed",
    "PayloadTooLarge",
    "PreconditionFailed",
    "ProjectNotActive",
    "ProjectNotFound",
    "QuotaExceeded",
    "RateLimitExceeded",
    "RecipientSuppressed",
    "RegistrationClosed",
    "RouteNameTaken",
    "RouteNotFound",
    "SendBlocked",
    "ServerError",
    "ServiceUnavailable",
    "SessionNotFound",
    "TemplateNotActive",
    "TemplateNotFound",
    "TemplateVersionNotFound",
    "ThirdPartyError",
    "TokenExpired",
    "TooManyKeys",
    "Unauthenticated",
    "UnsupportedMediaType",
    "UserNotFound",
    "ValidationFailed",
]
