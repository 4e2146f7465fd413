"""Errors become answers here: {"error", "code", "details", "requestId"}, or RFC 9457 on request.

Nothing internal leaves: an unexpected exception is a 500 that names only the request id.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final

import orjson
import psycopg
import sqlalchemy.exc
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.routing import iter_route_contexts
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.routing import compile_path

from backend.api.frame.validation import malformed_body, validation_error, validation_failed
from backend.errors import (
    AppError,
    BadRequest,
    MalformedBody,
    MethodNotAllowed,
    NotFound,
    PayloadTooLarge,
    ServerError,
    ServiceUnavailable,
    UnsupportedMediaType,
)
from backend.process.unexpected import as_app_error

__all__ = [
    "answer",
    "error_response",
    "install",
    "to_app_error",
    "validation_error",
    "wants_problem_json",
]

PROBLEM_JSON: Final = "application/problem+json"
_BY_STATUS: Final[dict[int, type[AppError]]] = {
    400: MalformedBody,
    404: NotFound,
    405: MethodNotAllowed,
    413: PayloadTooLarge,
    415: UnsupportedMediaType,
    503: ServiceUnavailable,
}


def error_response(exc: AppError, request_id: str, wants_problem: bool) -> Response:
    """Render an error; `wants_problem` when the client accepts application/problem+json."""
    body: dict[str, Any]
    if wants_problem:
        body = {
            "type": f"urn:messagejs:error:{exc.error_code}",
            "title": exc.title,
            "status": exc.status,
            "detail": exc.message,
            "code": exc.error_code,
            **exc.details,
            "requestId": request_id,
        }
    else:
        body = {
            "error": exc.message,
            "code": exc.error_code,
            "details": exc.details,
            "requestId": request_id,
        }
    return Response(
        orjson.dumps(body, default=str),
        status_code=exc.status,
        headers=exc.headers,
        media_type=PROBLEM_JSON if wants_problem else "application/json",
    )


def to_app_error(exc: Exception) -> AppError:
    """Return the client's view of any exception: only the kind of those that aren't ours."""
    if isinstance(exc, AppError):
        return exc
    if isinstance(exc, HTTPException):
        return _of_status(exc)
    if isinstance(exc, ClientDisconnect):
        return BadRequest("The client left before its body had arrived.")
    return as_app_error(exc)


def wants_problem_json(headers: Mapping[str, str]) -> bool:
    return PROBLEM_JSON in headers.get("accept", "")


def answer(request: Request, exc: AppError) -> Response:
    request_id = getattr(request.state, "request_id", "")
    return error_response(exc, request_id, wants_problem_json(request.headers))


async def _handle(request: Request, exc: Exception) -> Response:
    return answer(request, to_app_error(exc))


async def _handle_validation(request: Request, exc: Exception) -> Response:
    assert isinstance(exc, RequestValidationError)  # noqa: S101 (registered for this type only)
    return answer(request, _request_error(request, exc))


def _request_error(request: Request, exc: RequestValidationError) -> AppError:
    errors = exc.errors()
    first = errors[0]
    if first["type"] == "json_invalid":
        doc = exc.body if isinstance(exc.body, str) else ""
        return malformed_body(
            json.JSONDecodeError(first["ctx"]["error"], doc, int(first["loc"][-1]))
        )
    if any(error["loc"] == ("body",) and isinstance(error.get("input"), bytes) for error in errors):
        media_type = request.headers.get("content-type")
        problem = f"was sent as {media_type!r}" if media_type else "has no Content-Type"
        return UnsupportedMediaType(
            f"The body {problem}; send it as 'Content-Type: application/json'."
        )
    return validation_failed(errors)


async def _handle_http(request: Request, exc: Exception) -> Response:
    assert isinstance(exc, HTTPException)  # noqa: S101 (registered for this type only)
    if (
        exc.status_code == 405
        and request.method == "OPTIONS"
        and (allowed := allowed_methods(request.app, request.url.path))
    ):
        return Response(status_code=204, headers={"Allow": ", ".join(allowed)})
    return answer(request, _http_error(request, exc))


def _http_error(request: Request, exc: HTTPException) -> AppError:
    path, method = request.url.path, request.method
    if exc.status_code == 405:
        allowed = allowed_methods(request.app, path)
        named = [name for name in allowed if name not in {"HEAD", "OPTIONS"}]
        return MethodNotAllowed(
            f"{method} is not allowed on {path}; use {' or '.join(named) or 'another method'}.",
            headers={"Allow": ", ".join(allowed)} if allowed else dict(exc.headers or {}),
        )
    if exc.status_code == 404 and exc.detail == _phrase(404):
        return NotFound(f"There is no {method} {path}; see /docs for what exists.")
    if isinstance(exc.__cause__, AppError):
        return exc.__cause__  # FastAPI wraps what reading the body raises
    if exc.status_code == 400:
        return MalformedBody("The body is not valid JSON in UTF-8.", headers=exc.headers or {})
    return _of_status(exc)


def _of_status(exc: HTTPException) -> AppError:
    kind = _BY_STATUS.get(exc.status_code, ServerError if exc.status_code >= 500 else BadRequest)
    message = None if exc.detail == _phrase(exc.status_code) else str(exc.detail)
    return kind(message, headers=exc.headers or {})


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return ""


def allowed_methods(app: FastAPI, path: str) -> list[str]:
    """Return every method that this path accepts, sorted."""
    methods: set[str] = set()
    for route in iter_route_contexts(app.routes):
        if route.methods and route.path and compile_path(route.path)[0].match(path):
            methods |= route.methods
    # /messages/batch is its own path, not a message whose id is "batch".
    literal = {
        name
        for route in iter_route_contexts(app.routes)
        if route.path == path
        for name in route.methods or ()
    }
    methods = literal or methods
    if "GET" in methods:
        methods.add("HEAD")
    if methods:
        methods.add("OPTIONS")
    return sorted(methods)


def install(app: FastAPI) -> None:
    app.add_exception_handler(AppError, _handle)
    app.add_exception_handler(HTTPException, _handle_http)
    app.add_exception_handler(RequestValidationError, _handle_validation)
    app.add_exception_handler(sqlalchemy.exc.SQLAlchemyError, _handle)
    app.add_exception_handler(psycopg.Error, _handle)
    app.add_exception_handler(ConnectionError, _handle)
    app.add_exception_handler(orjson.JSONEncodeError, _handle)
    app.add_exception_handler(UnicodeEncodeError, _handle)
