"""The one error tree; each leaf owns its HTTP status and its code.

AppError
├── BadRequest (400): ValidationFailed (VALIDATION_ERROR, MISSING_REQUIRED_FIELD ...),
  MalformedBody, InvalidCsv,
│       InvalidTo / InvalidPhone, InvalidConnectorType, InvalidConnectorCredentials, InvalidLink,
│       ConnectorNotActive, TemplateNotActive
├── Unauthenticated (401): InvalidCredentials, TokenExpired, InvalidToken, MissingApiKey,
  InvalidApiKey, ApiKeyExpired
├── Forbidden (403): KeyScope, OriginNotAllowed, ProjectNotActive, SendBlocked, RecipientSuppressed,
  RegistrationClosed
├── NotFound (404): ProjectNotFound, ConnectorNotFound, TemplateNotFound, TemplateVersionNotFound,
  MessageNotFound,
│       KeyNotFound, RouteNotFound, CampaignNotFound, UserNotFound, SessionNotFound, MemberNotFound,
  InvitationNotFound
├── Conflict (409): EmailTaken, IdempotencyInFlight, LastOwner, AlreadyMember, TooManyKeys,
  RouteNameTaken,
│       MessageNotCancelable, MessageNotResendable, MessageRedacted, NotADeadLetter,
  CampaignStateConflict
├── MethodNotAllowed (405), PreconditionFailed (412), PayloadTooLarge (413), UnsupportedMediaType
  (415),
│       IdempotencyConflict (422)
├── RateLimitExceeded (services.rendering.fuel: RenderingLimitExceeded, TemplatePaused),
  QuotaExceeded (429)
└── ServerError (500): ConnectorFailed, DatabaseError; ThirdPartyError (502), ServiceUnavailable
  (503)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from backend.field_error import MOST_ERRORS, cut_message
from backend.field_error import (
    FieldError as FieldError,  # noqa: PLC0414
)


class AppError(Exception):
    """An error a client may see. `details` must hold no secrets.

    Of its `errors` the first MOST_ERRORS are told, and how many more there are; `more_errors`:
    beyond those given.
    """

    status: ClassVar[int] = 500
    code: ClassVar[str] = "INTERNAL_ERROR"
    title: ClassVar[str] = "Internal server error"

    def __init__(
        self,
        message: str | None = None,
        *,
        details: Mapping[str, Any] | None = None,
        errors: Sequence[FieldError] = (),
        headers: Mapping[str, str] | None = None,
        code: str | None = None,
        more_errors: int = 0,
    ) -> None:
        self.message = cut_message(message or self.title)
        self.details: dict[str, Any] = dict(details or {})
        self.errors = tuple(errors[:MOST_ERRORS])
        if self.errors:
            self.details["errors"] = [error.as_dict() for error in self.errors]
        if more := more_errors + len(errors) - len(self.errors):
            self.details["moreErrors"] = more
        self.headers: dict[str, str] = dict(headers or {})
        self.error_code = code or self.code
        super().__init__(self.message)


class BadRequest(AppError):
    status = 400
    code = "VALIDATION_ERROR"
    title = "The request is not valid"


class ValidationFailed(BadRequest):
    """`code` becomes the single field's own code where that says more (MISSING_REQUIRED_FIELD)."""

    def __init__(self, message: str | None = None, **kwargs: Any) -> None:
        errors: Sequence[FieldError] = kwargs.get("errors", ())
        codes = {error.code for error in errors}
        if kwargs.get("code") is None and len(codes) == 1:
            kwargs["code"] = codes.pop()
        super().__init__(message or (errors[0].message if errors else None), **kwargs)


class MalformedBody(BadRequest):
    code = "MALFORMED_BODY"
    title = "The body is not valid JSON"


class InvalidTo(BadRequest):
    code = "INVALID_TO"
    title = "The recipient is not valid for this channel"


class InvalidPhone(InvalidTo):
    code = "INVALID_PHONE"
    title = "The phone number is not valid"


class InvalidConnectorType(BadRequest):
    code = "INVALID_CONNECTOR_TYPE"
    title = "Unsupported connector type"


class InvalidConnectorCredentials(BadRequest):
    code = "INVALID_CONNECTOR_CREDENTIALS"
    title = "The connector's credentials are not valid"


class InvalidLink(BadRequest):
    code = "INVALID_LINK"
    title = "The link is not valid, has been used or has expired; ask for a new one"


class InvalidCsv(BadRequest):
    code = "INVALID_CSV"
    title = "The file is not a CSV table that can be read"


class ConnectorNotActive(BadRequest):
    code = "CONNECTOR_NOT_ACTIVE"
    title = "Connector is not active"


class TemplateNotActive(BadRequest):
    code = "TEMPLATE_NOT_ACTIVE"
    title = "Template is not active"


class Unauthenticated(AppError):
    status = 401
    code = "INVALID_TOKEN"
    title = "Authentication is required"

    def __init__(self, message: str | None = None, **kwargs: Any) -> None:
        kwargs.setdefault("headers", {"WWW-Authenticate": "Bearer"})
        super().__init__(message, **kwargs)


class InvalidCredentials(Unauthenticated):
    code = "INVALID_CREDENTIALS"
    title = "Invalid email or password"


class TokenExpired(Unauthenticated):
    code = "TOKEN_EXPIRED"
    title = "The token has expired; refresh it or log in again"


class InvalidToken(Unauthenticated):
    code = "INVALID_TOKEN"
    title = "The token is not valid; log in again"


class MissingApiKey(Unauthenticated):
    code = "MISSING_API_KEY"
    title = "API key not provided; send it as 'Authorization: Bearer sk_...'"


class InvalidApiKey(Unauthenticated):
    code = "INVALID_API_KEY"
    title = "API key is invalid or revoked"


class ApiKeyExpired(Unauthenticated):
    code = "API_KEY_EXPIRED"
    title = "API key has expired; create a new one"


class Forbidden(AppError):
    status = 403
    code = "ACCESS_DENIED"
    title = "You do not have access to this resource"


class KeyScope(Forbidden):
    code = "KEY_SCOPE"
    title = "The API key lacks the scope this call needs"


class OriginNotAllowed(Forbidden):
    code = "ORIGIN_NOT_ALLOWED"
    title = "This origin may not use the key"


class ProjectNotActive(Forbidden):
    code = "PROJECT_NOT_ACTIVE"
    title = "The project is switched off: it accepts and sends nothing until it is active again"


class SendBlocked(Forbidden):
    code = "SEND_BLOCKED"
    title = "The send was blocked by a policy rule"


class RecipientSuppressed(Forbidden):
    code = "RECIPIENT_SUPPRESSED"
    title = "The recipient must not be sent to"


class RegistrationClosed(Forbidden):
    code = "REGISTRATION_CLOSED"
    title = "Registration is closed on this server"


class NotFound(AppError):
    status = 404
    code = "NOT_FOUND"
    title = "Not found"


class ProjectNotFound(NotFound):
    code = "PROJECT_NOT_FOUND"
    title = "Project does not exist"


class ConnectorNotFound(NotFound):
    code = "CONNECTOR_NOT_FOUND"
    title = "Connector does not exist"


class TemplateNotFound(NotFound):
    code = "TEMPLATE_NOT_FOUND"
    title = "Template does not exist"


class TemplateVersionNotFound(NotFound):
    code = "TEMPLATE_VERSION_NOT_FOUND"
    title = "Template version does not exist"


class CampaignNotFound(NotFound):
    code = "CAMPAIGN_NOT_FOUND"
    title = "Campaign does not exist"


class RouteNotFound(NotFound):
    code = "ROUTE_NOT_FOUND"
    title = "Route does not exist"


class MessageNotFound(NotFound):
    code = "MESSAGE_NOT_FOUND"
    title = "Message does not exist"


class KeyNotFound(NotFound):
    code = "KEY_NOT_FOUND"
    title = "API key does not exist"


class UserNotFound(NotFound):
    code = "USER_NOT_FOUND"
    title = "User does not exist"


class SessionNotFound(NotFound):
    code = "SESSION_NOT_FOUND"
    title = "Session does not exist"


class MemberNotFound(NotFound):
    code = "MEMBER_NOT_FOUND"
    title = "Member does not exist"


class InvitationNotFound(NotFound):
    code = "INVITATION_NOT_FOUND"
    title = "Invitation does not exist"


class MethodNotAllowed(AppError):
    status = 405
    code = "METHOD_NOT_ALLOWED"
    title = "This method is not allowed here"


class Conflict(AppError):
    status = 409
    code = "CONFLICT"
    title = "The request conflicts with the current state"


class EmailTaken(Conflict):
    code = "EMAIL_TAKEN"
    title = "An account with this email exists; log in instead"


class AlreadyMember(Conflict):
    code = "ALREADY_MEMBER"
    title = "This person is a member of the project already"


class TooManyKeys(Conflict):
    code = "TOO_MANY_KEYS"
    title = "The project has as many API keys as it may have; delete one first"


class LastOwner(Conflict):
    # Also for the server's last administrator: something would be left without anybody in charge.
    code = "LAST_OWNER"
    title = "The project would have no owner; make somebody else an owner first"


class RouteNameTaken(Conflict):
    code = "ROUTE_NAME_TAKEN"
    title = "The project has a route with this name already"


class MessageNotCancelable(Conflict):
    code = "MESSAGE_NOT_CANCELABLE"
    title = "The message is on its way already"


class MessageRedacted(Conflict):
    code = "MESSAGE_REDACTED"
    title = "The message's content is not kept"


class MessageNotResendable(Conflict):
    code = "MESSAGE_NOT_RESENDABLE"
    title = "The message is still being sent"


class NotADeadLetter(Conflict):
    code = "NOT_A_DEAD_LETTER"
    title = "The message is no dead letter"


class CampaignStateConflict(Conflict):
    code = "CAMPAIGN_STATE"
    title = "The campaign's state does not allow this"


class IdempotencyInFlight(Conflict):
    code = "IDEMPOTENCY_CONFLICT"
    title = "A request with this Idempotency-Key is being processed; try again shortly"


class PreconditionFailed(AppError):
    status = 412
    code = "PRECONDITION_FAILED"
    title = "The resource has changed since you read it; read it again and repeat your change"


class PayloadTooLarge(AppError):
    status = 413
    code = "PAYLOAD_TOO_LARGE"
    title = "The body is too large"


class UnsupportedMediaType(AppError):
    status = 415
    code = "UNSUPPORTED_MEDIA_TYPE"
    title = "Send the body as 'Content-Type: application/json'"


class IdempotencyConflict(AppError):
    status = 422
    code = "IDEMPOTENCY_CONFLICT"
    title = "This Idempotency-Key was used with another body; use a new key"


class RateLimitExceeded(AppError):
    status = 429
    code = "RATE_LIMIT_EXCEEDED"
    title = "Rate limit exceeded"


class QuotaExceeded(AppError):
    status = 429
    code = "QUOTA_EXCEEDED"
    title = "Monthly quota exceeded"


class ServerError(AppError):
    status = 500
    code = "INTERNAL_ERROR"
    title = "Internal server error"


class ConnectorFailed(ServerError):
    code = "CONNECTOR_ERROR"
    title = "Connector failed to send message"


class DatabaseError(ServerError):
    code = "DATABASE_ERROR"
    title = "Database operation failed"


class ThirdPartyError(AppError):
    status = 502
    code = "THIRD_PARTY_ERROR"
    title = "The provider's API failed"


class ServiceUnavailable(AppError):
    status = 503
    code = "SERVICE_UNAVAILABLE"
    title = "Service temporarily unavailable; try again shortly"

    def __init__(self, message: str | None = None, **kwargs: Any) -> None:
        kwargs.setdefault("headers", {"Retry-After": "1"})
        super().__init__(message, **kwargs)
