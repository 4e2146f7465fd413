"""Errors that are not the caller's fault."""

from __future__ import annotations

from typing import Any

from backend.errors.base import AppError, ServerError


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
