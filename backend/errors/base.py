"""The roots of the tree: one for each HTTP status that several errors share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from backend.field_error import MOST_ERRORS, FieldError, cut_message


class AppError(Exception):
    """An error that clients may see. `details` must contain no secrets.

    Clients get the first MOST_ERRORS of `errors`, and the number of the rest. `more_errors` counts
    errors that are not in `errors`.
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


class Unauthenticated(AppError):
    status = 401
    code = "INVALID_TOKEN"
    title = "Authentication is required"

    def __init__(self, message: str | None = None, **kwargs: Any) -> None:
        kwargs.setdefault("headers", {"WWW-Authenticate": "Bearer"})
        super().__init__(message, **kwargs)


class Forbidden(AppError):
    status = 403
    code = "ACCESS_DENIED"
    title = "You do not have access to this resource"


class NotFound(AppError):
    status = 404
    code = "NOT_FOUND"
    title = "Not found"


class Conflict(AppError):
    status = 409
    code = "CONFLICT"
    title = "The request conflicts with the current state"


class ServerError(AppError):
    status = 500
    code = "INTERNAL_ERROR"
    title = "Internal server error"
