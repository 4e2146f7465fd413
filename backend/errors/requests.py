"""Errors of a request itself: its body, method, conditions and Idempotency-Key."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from backend.errors.base import AppError, BadRequest, Conflict
from backend.field_error import FieldError


class ValidationFailed(BadRequest):
    """Has the code of its fields where they share one (MISSING_REQUIRED_FIELD)."""

    def __init__(self, message: str | None = None, **kwargs: Any) -> None:
        errors: Sequence[FieldError] = kwargs.get("errors", ())
        codes = {error.code for error in errors}
        if kwargs.get("code") is None and len(codes) == 1:
            kwargs["code"] = codes.pop()
        super().__init__(message or (errors[0].message if errors else None), **kwargs)


class MalformedBody(BadRequest):
    code = "MALFORMED_BODY"
    title = "The body is not valid JSON"


class InvalidCsv(BadRequest):
    code = "INVALID_CSV"
    title = "The file is not a readable CSV table"


class MethodNotAllowed(AppError):
    status = 405
    code = "METHOD_NOT_ALLOWED"
    title = "This method is not allowed here"


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


class IdempotencyInFlight(Conflict):
    code = "IDEMPOTENCY_CONFLICT"
    title = "A request with this Idempotency-Key is being processed; try again shortly"


class IdempotencyConflict(AppError):
    status = 422
    code = "IDEMPOTENCY_CONFLICT"
    title = "This Idempotency-Key was used with another body; use a new key"
