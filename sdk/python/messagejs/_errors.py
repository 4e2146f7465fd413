"""How a call can fail.

MessageJSError
├── ConnectionFailed          no answer after all retries
└── ApiError                  the server answered with an error
    ├── InvalidRequest        400, 413, 415, 422
    ├── AuthenticationError   401
    ├── PermissionDenied      403
    ├── NotFound              404, 405
    ├── ConflictError         409, 412
    ├── RateLimited           429
    └── ServerError           5xx
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class MessageJSError(Exception):
    """Base of everything this client raises."""


class ConnectionFailed(MessageJSError):
    """The server could not be reached, or never answered; the text says after how many tries."""


class ApiError(MessageJSError):
    """The server answered with an error.

    `code` is the server's (VALIDATION_ERROR ...), `errors` are the wrong fields, `request_id` finds
    the request in the server's log.
    """

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        details: Mapping[str, Any],
        request_id: str | None,
    ) -> None:
        super().__init__(f"{code}: {message}")
        self.status = status
        self.code = code
        self.message = message
        self.details = dict(details)
        self.request_id = request_id

    @property
    def errors(self) -> list[dict[str, str]]:
        """The wrong fields, each with `field`, `code` and `message`."""
        errors: list[dict[str, str]] = self.details.get("errors", [])
        return errors


class InvalidRequest(ApiError):
    pass


class AuthenticationError(ApiError):
    pass


class PermissionDenied(ApiError):
    pass


class NotFound(ApiError):
    pass


class ConflictError(ApiError):
    pass


class RateLimited(ApiError):
    """`retry_after_s` is how long the server asks to wait, if it does."""

    retry_after_s: float | None = None


class ServerError(ApiError):
    pass


_BY_STATUS: dict[int, type[ApiError]] = {
    401: AuthenticationError,
    403: PermissionDenied,
    404: NotFound,
    405: NotFound,
    409: ConflictError,
    412: ConflictError,
    429: RateLimited,
}


def error_of(status: int, body: Mapping[str, Any], *, request_id: str | None) -> ApiError:
    """Return the error of an answer that isn't a success."""
    kind = _BY_STATUS.get(status, ServerError if status >= 500 else InvalidRequest)
    return kind(
        status,
        str(body.get("code", "UNKNOWN")),
        str(body.get("error", f"The server answered {status}.")),
        details=body.get("details") or {},
        request_id=body.get("requestId") or request_id,
    )
