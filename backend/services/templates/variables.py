"""The values a template may get: all the declared names, nothing else, of limited size."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final

from backend.errors import FieldError, ValidationFailed

STRING_LIMIT_CHARS: Final = 32_768
# Strings, numbers and booleans inside a variable's lists and objects, all together.
_NESTED_LIMIT: Final = 1_000
_DEPTH_LIMIT: Final = 5
_NUMBER_LIMIT: Final = 10**18


def check_variables(
    template_name: str, declared: frozenset[str], values: Mapping[str, Any] | None
) -> Mapping[str, Any]:
    """Return `values` if they are exactly what the template declares; raises ValidationFailed.

    A null counts as missing: a message must not go out with a gap in it.
    """
    given: Mapping[str, Any] = values or {}
    problems: list[FieldError] = []
    if given.keys() != declared:
        problems += [
            missing_variable(template_name, name) for name in sorted(declared - given.keys())
        ]
        problems += [_unknown(template_name, name) for name in sorted(given.keys() - declared)]
    for name, value in given.items():
        if type(value) is str and len(value) <= STRING_LIMIT_CHARS:
            continue
        if value is None and name in declared:
            problems.append(missing_variable(template_name, name))
        elif name in declared and (reason := _wrong(value)):
            problems.append(_invalid(name, reason))
    if problems:
        raise ValidationFailed(errors=problems)
    return given


def check_values(values: Mapping[str, Any]) -> None:
    """Check the sizes of an unfinished template's values, whatever their names.

    Raises ValidationFailed.
    """
    wrong = [_invalid(name, reason) for name, value in values.items() if (reason := _wrong(value))]
    if wrong:
        raise ValidationFailed(errors=wrong)


def _invalid(name: str, reason: str) -> FieldError:
    shown = name[:64]
    return FieldError(f"variables.{shown}", "VALIDATION_ERROR", f"The variable '{shown}' {reason}.")


def missing_variable(template_name: str, name: str) -> FieldError:
    return FieldError(
        f"variables.{name}",
        "MISSING_REQUIRED_FIELD",
        f"Template '{template_name}' needs the variable '{name}'; add it to \"variables\".",
    )


def _unknown(template_name: str, name: str) -> FieldError:
    shown = name[:64]
    return FieldError(
        f"variables.{shown}",
        "UNKNOWN_VARIABLE",
        f"Template '{template_name}' has no variable '{shown}'; remove it or declare it in the"
        " template.",
    )


def _wrong(value: object) -> str | None:
    """Return what is wrong with a value, or None."""
    if isinstance(value, str):
        if len(value) <= STRING_LIMIT_CHARS:
            return None
        return f"has {len(value)} characters; at most {STRING_LIMIT_CHARS} are allowed"
    if isinstance(value, int | float):
        return _wrong_number(value)
    if isinstance(value, list | dict):
        return _wrong_nested(value)
    return "must be a string, a number, a boolean, a list or an object"


def _wrong_number(value: float) -> str | None:
    if not math.isfinite(value):
        return "is not a finite number"
    return None if abs(value) <= _NUMBER_LIMIT else "is too large for a number; send it as a string"


def _wrong_nested(value: list[Any] | dict[str, Any]) -> str | None:
    level: list[Any] = [value]
    count = 0
    for _ in range(_DEPTH_LIMIT):
        below: list[Any] = []
        for container in level:
            items = container.values() if isinstance(container, dict) else container
            count += len(items)
            if count > _NESTED_LIMIT:
                return f"holds more than {_NESTED_LIMIT} values"
            for item in items:
                if isinstance(item, list | dict):
                    below.append(item)
                elif item is not None and (reason := _wrong(item)):
                    return f"holds a value that {reason}"
        if not below:
            return None
        level = below
    return f"is nested deeper than {_DEPTH_LIMIT} levels"
