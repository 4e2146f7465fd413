"""Durations read as people write them; what cannot be meant is refused with the remedy."""

from __future__ import annotations

import pytest

from backend.durations import parse_duration_s


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("15m", 900),
        ("7d", 604_800),
        ("2w", 1_209_600),
        ("1h", 3600),
        ("30s", 30),
        ("3600", 3600),
        (3600, 3600),
        (" 15 m ", 900),
        ("0015m", 900),
    ],
)
def test_a_duration_is_whole_seconds(value: object, seconds: int) -> None:
    assert parse_duration_s(value) == seconds


@pytest.mark.parametrize(
    "value",
    [
        "",
        "m",
        "15 minutes",
        "1.5h",
        "-5m",
        "1h30m",
        "15M",
        "5y",
        "٣m",
        "9" * 5000 + "m",
        None,
        True,
        1.5,
        "1e3",
    ],
)
def test_what_is_no_duration_is_named_with_the_remedy(value: object) -> None:
    with pytest.raises(
        ValueError, match=r"is not a duration; write seconds or a number with s, m, h, d or w"
    ):
        parse_duration_s(value)


@pytest.mark.parametrize("value", ["0", "0m", 0, -1])
def test_a_duration_is_longer_than_zero(value: object) -> None:
    with pytest.raises(ValueError, match="longer than zero"):
        parse_duration_s(value)
