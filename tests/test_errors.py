"""The error tree: each leaf owns its status and code, and the drawing at the top shows all of
it.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from backend import errors
from backend.errors import (
    AppError,
    FieldError,
    IdempotencyConflict,
    IdempotencyInFlight,
    ValidationFailed,
)


def _tree(root: type[AppError] = AppError) -> Iterator[type[AppError]]:
    for child in root.__subclasses__():
        if child.__module__.startswith(f"{errors.__name__}."):  # tests and edges may have their own
            yield child
            yield from _tree(child)


LEAVES = list(_tree())


@pytest.mark.parametrize("error", LEAVES, ids=lambda error: error.__name__)
def test_an_error_is_an_answer_without_arguments(error: type[AppError]) -> None:
    created = error()
    assert 400 <= created.status <= 599
    assert created.error_code.isupper()
    assert created.message == str(created)
    assert created.message
    assert not created.message.endswith("Error")


def test_two_errors_share_a_code_only_when_the_client_does_the_same_about_both() -> None:
    by_code: dict[str, set[type[AppError]]] = {}
    for error in LEAVES:
        by_code.setdefault(error.code, set()).add(error)
    shared = {
        code: {error.__name__ for error in those}
        for code, those in by_code.items()
        if len(those) > 1
    }
    assert shared == {
        "VALIDATION_ERROR": {"BadRequest", "ValidationFailed"},
        "INVALID_TOKEN": {"Unauthenticated", "InvalidToken"},
        "IDEMPOTENCY_CONFLICT": {"IdempotencyInFlight", "IdempotencyConflict"},
    }
    assert (IdempotencyInFlight.status, IdempotencyConflict.status) == (409, 422)


def test_a_child_keeps_its_familys_status() -> None:
    """Anyone who catches NotFound knows that it is a 404."""
    for error in LEAVES:
        parent = error.__mro__[1]
        if parent is AppError:
            continue
        assert issubclass(parent, AppError)
        assert error.status == parent.status


def test_one_wrong_field_gives_the_error_its_own_code() -> None:
    missing = FieldError("to", "MISSING_REQUIRED_FIELD", "Name a recipient in 'to'.")
    error = ValidationFailed(errors=[missing])
    assert error.error_code == "MISSING_REQUIRED_FIELD"
    assert error.message == "Name a recipient in 'to'."
    assert error.details == {
        "errors": [
            {
                "field": "to",
                "code": "MISSING_REQUIRED_FIELD",
                "message": "Name a recipient in 'to'.",
            }
        ]
    }


def test_several_different_mistakes_are_a_validation_error() -> None:
    wrong = [
        FieldError("to", "MISSING_REQUIRED_FIELD", "a"),
        FieldError("email", "INVALID_EMAIL", "b"),
    ]
    assert ValidationFailed(errors=wrong).error_code == "VALIDATION_ERROR"


def test_errors_do_not_share_their_details_and_headers() -> None:
    first, second = errors.NotFound(), errors.NotFound()
    first.details["a"] = 1
    first.headers["A"] = "1"
    assert (second.details, second.headers) == ({}, {})


def test_an_unauthenticated_client_learns_how_and_an_early_one_when() -> None:
    assert errors.InvalidApiKey().headers == {"WWW-Authenticate": "Bearer"}
    assert errors.ServiceUnavailable().headers == {"Retry-After": "1"}


@pytest.mark.parametrize("error", LEAVES, ids=lambda error: error.__name__)
def test_the_drawing_shows_the_error(error: type[AppError]) -> None:
    assert errors.__doc__ is not None
    assert error.__name__ in errors.__doc__
