"""What pydantic found wrong, as sentences that name the value and the remedy."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import pydantic

from backend.errors import AppError, FieldError, MalformedBody, ValidationFailed
from backend.field_error import MOST_ERRORS
from backend.instants import RANGE
from backend.json_values import written_path

MISSING: Final = "MISSING_REQUIRED_FIELD"
# The type of pydantic's error for an instant that the product does not take.
OUT_OF_RANGE: Final = "instant_out_of_range"
UNKNOWN: Final = "UNKNOWN_FIELD"
_PLACES: Final = frozenset({"body", "query", "path", "header", "cookie"})
_SECRET_WORDS: Final = ("password", "secret", "token", "key", "credential", "authorization")
_SHOWN_CHARACTERS: Final = 60
_EMPTY_BODY: Final = "The body is empty; send a JSON object."

_Error = Mapping[str, Any]

_INSTANT: Final = "an instant with its zone, such as 2024-01-15T10:30:00Z"
# What a value of this pydantic error type should have been.
_EXPECTED: Final[dict[str, str]] = {
    "string_type": "a string",
    "string_unicode": "text in valid Unicode",
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_parsing_size": "a smaller whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
    "finite_number": "a finite number",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "list_type": "a list",
    "tuple_type": "a list",
    "set_type": "a list",
    "frozen_set_type": "a list",
    "dict_type": "an object",
    "mapping_type": "an object",
    "model_type": "an object",
    "model_attributes_type": "an object",
    "none_required": "null",
    "datetime_type": _INSTANT,
    "datetime_parsing": _INSTANT,
    "datetime_from_date_parsing": _INSTANT,
    "datetime_object_invalid": _INSTANT,
    "timezone_aware": _INSTANT,
    OUT_OF_RANGE: f"an instant {RANGE}",
    "date_parsing": "a date such as 2024-01-15",
    "date_type": "a date such as 2024-01-15",
    "uuid_parsing": "an id",
}


def malformed_body(exc: json.JSONDecodeError) -> MalformedBody:
    """Return the 400 for a body that is not JSON; `position` counts characters from 0."""
    if not exc.doc.strip():
        return MalformedBody(_EMPTY_BODY)
    return MalformedBody(
        f"The body is not valid JSON: {exc.msg} at line {exc.lineno}, column {exc.colno}.",
        details={"position": exc.pos, "line": exc.lineno, "column": exc.colno},
    )


def validation_error(exc: pydantic.ValidationError) -> AppError:
    """Return the 400 for a body that a model refused, or that `model_validate_json` could not
    read.
    """
    errors = exc.errors(include_url=False)
    if errors[0]["type"] != "json_invalid":
        return validation_failed(errors)
    if not errors[0]["input"].strip():
        return MalformedBody(_EMPTY_BODY)
    problem = str(errors[0]["ctx"]["error"])
    place = re.search(r"line (\d+) column (\d+)", problem)
    details = {"line": int(place[1]), "column": int(place[2])} if place is not None else {}
    return MalformedBody(f"The body is not valid JSON: {problem}.", details=details)


def validation_failed(errors: Sequence[_Error]) -> ValidationFailed:
    """Return one error for all that is wrong; its code is theirs when they share one."""
    fields = [field_error(error) for error in errors[:MOST_ERRORS]]
    left_out = len(errors) - len(fields)
    more = f" ({len(errors) - 1} more in details.errors)" if len(errors) > 1 else ""
    if left_out:
        more = f" ({len(errors) - 1} more, the first of them in details.errors)"
    return ValidationFailed(fields[0].message + more, errors=fields, more_errors=left_out)


def field_error(error: _Error) -> FieldError:
    """Return pydantic's error as ours. A custom error type in capitals is the code itself."""
    place, field = _field_of(error["loc"])
    kind: str = error["type"]
    if kind == "missing":
        return FieldError(field, MISSING, _missing(place, field))
    if kind == "extra_forbidden":
        return FieldError(
            field, UNKNOWN, f"Unknown field '{field}'; remove it or correct its name."
        )
    code = kind if kind.isupper() else "VALIDATION_ERROR"
    return FieldError(field, code, _sentence(kind, field, error))


def _field_of(location: Sequence[str | int]) -> tuple[str, str]:
    place, rest = "body", list(location)
    if rest and rest[0] in _PLACES:
        place = str(rest.pop(0))
    return place, written_path(rest) or place


def _missing(place: str, field: str) -> str:
    if field == "body":
        return "The body is missing; send a JSON object."
    if place == "body":
        return f"'{field}' is missing; add it to the body."
    return f"The {place} parameter '{field}' is missing; add it."


def _sentence(kind: str, field: str, error: _Error) -> str:
    context: Mapping[str, Any] = error.get("ctx") or {}
    shown = _shown(field, error.get("input"))
    if field == "body" and kind in _EXPECTED:
        return f"The body is {_kind(error.get('input'))}; it must be {_EXPECTED[kind]}."
    if kind in _EXPECTED:
        return f"'{field}' is {shown}; it must be {_EXPECTED[kind]}."
    if (rule := _LIMITS.get(kind)) is not None:
        return f"'{field}' {rule(shown, error.get('input'), context)}"
    message: str = error["msg"].removeprefix("Value error, ").removeprefix("Assertion failed, ")
    return (
        message
        if kind.isupper() or kind in {"value_error", "assertion_error"}
        else f"'{field}': {message}."
    )


_Rule = Callable[[str, Any, Mapping[str, Any]], str]


def _too_short(_shown: str, value: Any, context: Mapping[str, Any]) -> str:
    least = context["min_length"]
    if not value and least == 1:
        return "is empty; write at least one character."
    return f"has {len(value)} characters; it needs at least {least}."


_LIMITS: Final[dict[str, _Rule]] = {
    "string_too_short": _too_short,
    "string_too_long": lambda _, value, c: (
        f"has {len(value)} characters; it may have at most {c['max_length']}."
    ),
    "too_short": lambda _, value, c: (
        f"has {len(value)} items; it needs at least {c['min_length']}."
    ),
    "too_long": lambda _, value, c: (
        f"has {len(value)} items; it may have at most {c['max_length']}."
    ),
    "greater_than_equal": lambda shown, _, c: f"is {shown}; it must be at least {c['ge']}.",
    "greater_than": lambda shown, _, c: f"is {shown}; it must be more than {c['gt']}.",
    "less_than_equal": lambda shown, _, c: f"is {shown}; it may be at most {c['le']}.",
    "less_than": lambda shown, _, c: f"is {shown}; it must be less than {c['lt']}.",
    "literal_error": lambda shown, _, c: f"is {shown}; it must be {c['expected']}.",
    "enum": lambda shown, _, c: f"is {shown}; it must be {c['expected']}.",
    "string_pattern_mismatch": lambda shown, _, c: f"is {shown}; it must match {c['pattern']}.",
}


def _shown(field: str, value: Any) -> str:
    """Return the value as the client wrote it, shortened; never what may be a secret."""
    lowered = field.lower()
    if any(word in lowered for word in _SECRET_WORDS) or isinstance(value, Mapping | list | bytes):
        return _kind(value)
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    if isinstance(value, str):
        text = value if len(value) <= _SHOWN_CHARACTERS else value[:_SHOWN_CHARACTERS] + "..."
        return f"'{text}'".encode(errors="replace").decode()
    if isinstance(value, int | float):
        return repr(value)[:_SHOWN_CHARACTERS]
    return "another kind of value"


def _kind(value: Any) -> str:
    kinds: tuple[tuple[type | tuple[type, ...], str], ...] = (
        (bool, "true or false"),
        (str, "a string"),
        ((int, float), "a number"),
        (list, "a list"),
        (Mapping, "an object"),
        (bytes, "not JSON"),
        (type(None), "null"),
    )
    return next((name for kind, name in kinds if isinstance(value, kind)), "another kind of value")
