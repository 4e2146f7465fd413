"""A window that slides in this process, seen through a clock of the test's."""

from __future__ import annotations

from backend.services.limits.local_window import LocalWindow


class Clock:
    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def allowed(window: LocalWindow, name: str, tries: int) -> int:
    return sum(window.count(name).is_allowed for _ in range(tries))


def test_the_limit_holds_over_the_windows_edge() -> None:
    clock = Clock()
    window = LocalWindow("address", 10, 60, clock=clock)
    assert allowed(window, "a", 12) == 10
    assert allowed(window, "b", 1) == 1
    clock.now_s = 60.0  # all 10 of the last minute still count
    assert allowed(window, "a", 1) == 0
    clock.now_s = 90.0  # half of them: 5 are free
    assert allowed(window, "a", 8) == 5
    clock.now_s = 120.0  # the 5 of the minute before all count
    assert allowed(window, "a", 12) == 5


def test_after_two_windows_nothing_counts_any_more() -> None:
    clock = Clock()
    window = LocalWindow("address", 10, 60, clock=clock)
    assert allowed(window, "a", 10) == 10
    clock.now_s = 120.0
    assert allowed(window, "a", 12) == 10


def test_the_answer_says_what_is_left_and_until_when() -> None:
    clock = Clock()
    window = LocalWindow("address", 2, 60, clock=clock)
    clock.now_s = 15.0
    answers = [window.count("a") for _ in range(3)]
    assert [answer.headers()["RateLimit"] for answer in answers] == [
        '"address";r=1;t=45',
        '"address";r=0;t=45',
        '"address";r=0;t=45',
    ]
    assert answers[2].headers() == {
        "RateLimit-Policy": '"address";q=2;w=60',
        "RateLimit": '"address";r=0;t=45',
        "Retry-After": "45",
    }
