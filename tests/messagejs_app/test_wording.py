"""How numbers and recipients are written."""

from __future__ import annotations

import pytest

from messagejs_app.pages.overview.figures import round_up
from messagejs_app.session import initials_of
from messagejs_app.wording import device, duration, percent, plural, recipient


@pytest.mark.parametrize(
    ("milliseconds", "words"),
    [(None, "—"), (0.4, "0 ms"), (318, "318 ms"), (1180, "1.18 s"), (150_000, "2.5 min")],
)
def test_a_duration_has_the_unit_that_fits(milliseconds: float | None, words: str) -> None:
    assert duration(milliseconds) == words


def test_a_share_of_nothing_is_a_dash() -> None:
    assert (percent(0, 0), percent(974, 1000)) == ("—", "97.4 %")


def test_a_count_and_its_word_agree() -> None:
    assert (plural(1, "message"), plural(18_299, "message")) == ("1 message", "18,299 messages")


@pytest.mark.parametrize(
    ("stored", "shown"),
    [
        ("+447700900142", "+44 7700 900142"),
        ("+1", "+1"),
        ("ada@example.com", "ada@example.com"),
        ("sandbox:delivered", "sandbox:delivered"),
    ],
)
def test_a_phone_number_is_grouped_and_nothing_else_is_touched(stored: str, shown: str) -> None:
    assert recipient(stored) == shown


@pytest.mark.parametrize(
    ("name", "initials"),
    [("Maya Okafor", "MO"), ("ada@example.com", "AE"), ("Ada", "AD"), ("", "?")],
)
def test_initials(name: str, initials: str) -> None:
    assert initials_of(name) == initials


@pytest.mark.parametrize(("largest", "top"), [(0, 3), (1, 3), (4, 6), (31, 60), (1_530, 1_800)])
def test_the_charts_lines_fall_on_round_numbers(largest: int, top: int) -> None:
    assert round_up(largest) == top


@pytest.mark.parametrize(
    ("user_agent", "shown"),
    [
        (
            (
                "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 Chrome/140.0"
                " Safari/537.36 Edg/140.0"
            ),
            "Edge on Windows",
        ),
        (
            "Mozilla/5.0 (Linux; Android 15) AppleWebKit/537.36 Chrome/140.0 Mobile Safari/537.36",
            "Chrome on Android",
        ),
        (
            "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) Version/18.0 Safari/604.1",
            "Safari on iPhone",
        ),
        ("python-httpx/0.28.1", "python-httpx/0.28.1"),
        ("Mozilla/5.0", "Unknown browser"),
        ("", "Unknown"),
    ],
)
def test_a_log_in_is_known_by_its_device(user_agent: str, shown: str) -> None:
    assert device(user_agent) == shown
