from __future__ import annotations

import pytest

from backend.integers import whole_number


@pytest.mark.parametrize(
    ("text", "number"), [("0", 0), ("007", 7), ("1000", 1000), ("9" * 15, 999_999_999_999_999)]
)
def test_digits_are_the_number_they_write(text: str, number: int) -> None:
    assert whole_number(text) == number


@pytest.mark.parametrize(
    "text", ["", " ", "²", "١", "-1", "+1", "1.0", "1e3", "1_000", "9" * 16, "1" * 5000]
)
def test_what_is_no_whole_number_of_a_sane_length_is_none(text: str) -> None:
    assert whole_number(text) is None
