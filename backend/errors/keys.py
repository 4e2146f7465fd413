"""Errors of API keys: missing, refused, not found."""

from __future__ import annotations

from backend.errors.base import Conflict, Forbidden, NotFound, Unauthenticated


class MissingApiKey(Unauthenticated):
    code = "MISSING_API_KEY"
    title = "API key not provided; send it as 'Authorization: Bearer sk_...'"


class InvalidApiKey(Unauthenticated):
    code = "INVALID_API_KEY"
    title = "API key is invalid or revoked"


class ApiKeyExpired(Unauthenticated):
    code = "API_KEY_EXPIRED"
    title = "API key has expired; create a new one"


class KeyScope(Forbidden):
    code = "KEY_SCOPE"
    title = "The API key lacks the scope this call needs"


class OriginNotAllowed(Forbidden):
    code = "ORIGIN_NOT_ALLOWED"
    title = "This origin may not use the key"


class TooManyKeys(Conflict):
    code = "TOO_MANY_KEYS"
    title = "The project has reached its limit of API keys; delete one first"


class KeyNotFound(NotFound):
    code = "KEY_NOT_FOUND"
    title = "API key does not exist"
