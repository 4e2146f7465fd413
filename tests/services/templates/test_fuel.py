"""Many small bombs are a large one: a project's rendering is limited, and only its own is."""

from __future__ import annotations

from contextlib import suppress

import pytest

from backend.errors import RateLimitExceeded
from backend.ids import new_id
from backend.services.templates.liquid.fuel import (
    CHEAP,
    EXPENSIVE_BURST,
    EXPENSIVE_PER_S,
    PAUSE_S,
    READING_BURST,
    RENDERING_BURST,
    RENDERING_PER_S,
    FuelBook,
    ProjectFuel,
    RenderingLimitExceeded,
    TemplatePaused,
)
from backend.services.templates.liquid.limits import (
    FUEL_LIMIT,
    OutOfFuel,
    TemplateRenderError,
    TemplateSyntaxError,
)

OTP = "Your code is {{code}}. It ends in {{minutes}} minutes."
OTP_VALUES = {"code": "123456", "minutes": 5}
ENDLESS = (
    "{% for i in (1..2000) %}{{ i }}{{ i }}{{ i }}{{ i }}{{ i }}{{ i }}{{ i }}{{ i }}{{ i }}{%"
    " endfor %}"
)
# It takes nearly all the fuel of a rendering, and ends.
HEAVY = "{% for i in (1..2000) %}{% if i == 0 or i == -1 or i == -2 %}{% endif %}{% endfor %}"


class Clock:
    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


def _heavy(fuel: ProjectFuel) -> None:
    fuel.admit(None)
    fuel.fill(HEAVY, {})


def _use_up(fuel: ProjectFuel) -> int:
    """Render until the project is stopped; return how often it rendered."""
    for count in range(10_000):
        try:
            _heavy(fuel)
        except RenderingLimitExceeded:
            return count
    raise AssertionError("nothing stopped it")


def test_many_expensive_renderings_are_stopped_for_as_long_as_they_say() -> None:
    clock = Clock()
    fuel = FuelBook(clock=clock).project(new_id())
    assert 3 <= _use_up(fuel) <= RENDERING_BURST / FUEL_LIMIT
    with pytest.raises(RenderingLimitExceeded) as caught:
        _heavy(fuel)
    wait_s = int(caught.value.headers["Retry-After"])
    assert caught.value.status == 429
    assert isinstance(caught.value, RateLimitExceeded)  # a campaign waits, as for every other limit
    assert f"try again in {wait_s} s" in caught.value.message
    clock.now += wait_s
    _heavy(fuel)


def test_a_project_spends_only_its_own_fuel() -> None:
    book = FuelBook(clock=Clock())
    _use_up(book.project(new_id()))
    book.project(new_id()).admit(None)


def test_many_projects_together_get_no_more_than_the_process_can_spare() -> None:
    clock = Clock()
    book = FuelBook(clock=clock)
    projects = [book.project(new_id()) for _ in range(40)]
    rendered = 0
    for _ in range(100):
        clock.now += 0.1
        for project in projects:
            with suppress(RenderingLimitExceeded):
                _heavy(project)
                rendered += 1
    assert rendered * 20_000 <= EXPENSIVE_BURST + 10 * EXPENSIVE_PER_S + 2 * FUEL_LIMIT
    with pytest.raises(RenderingLimitExceeded, match="The server is rendering as many") as caught:
        _heavy(book.project(new_id()))
    clock.now += int(caught.value.headers["Retry-After"])
    _heavy(book.project(new_id()))


def test_a_project_leaves_half_of_the_processs_fuel_to_the_others() -> None:
    book = FuelBook(clock=Clock())
    count = _use_up(book.project(new_id()))
    assert count * 20_000 <= EXPENSIVE_BURST / 2 + FUEL_LIMIT
    _heavy(book.project(new_id()))


def test_cheap_templates_go_on_while_the_process_has_no_fuel() -> None:
    book = FuelBook(clock=Clock())
    for _ in range(4):
        _use_up(book.project(new_id()))
    other = book.project(new_id())
    assert other.fill(OTP, OTP_VALUES).startswith("Your code is 123456")
    # Never seen before, and cheap: that is known only after it is rendered.
    loop = "{% for i in (1..20) %}{{ i }}{% endfor %}"
    assert other.fill(loop + "{# new #}", {}).startswith("123")
    with pytest.raises(RenderingLimitExceeded):
        other.fill(
            "{% for i in (1..n) %}{% if i == 0 or i == -1 %}{% endif %}{% endfor %}", {"n": CHEAP}
        )


def test_reading_by_many_projects_is_limited_but_not_what_is_already_read() -> None:
    book = FuelBook(clock=Clock())
    text = "known " + "{{ a | size }}" * 300
    book.project(new_id()).read(text)

    def read_others() -> None:
        for number in range(10_000):
            book.project(new_id()).read(f"{number} by many" + "{{ a | size }}" * 300)

    with pytest.raises(RenderingLimitExceeded, match="The server is rendering"):
        read_others()
    other = book.project(new_id())
    other.read(text)
    other.read("{{ a | size }} is short")


def test_an_ordinary_project_never_reaches_a_limit() -> None:
    """More one-time codes at a time than a process can send, and none is refused."""
    fuel = FuelBook(clock=Clock()).project(new_id())
    for _ in range(20_000):
        fuel.admit(None)
        fuel.fill(OTP, OTP_VALUES)
    assert RENDERING_BURST / 20 > 20_000  # at most 20 units each


def test_an_expensive_rendering_counts_for_more_than_many_cheap_ones() -> None:
    """A process can spare a project a few milliseconds a second, whatever it renders."""
    clock = Clock()
    fuel = FuelBook(clock=clock).project(new_id())
    _use_up(fuel)
    renderings = 0
    for _ in range(600):
        clock.now += 0.1
        with suppress(RenderingLimitExceeded):
            _heavy(fuel)
            renderings += 1
    assert renderings <= 60 * RENDERING_PER_S / FUEL_LIMIT / 4


def test_a_version_that_keeps_running_out_of_fuel_rests_for_a_minute() -> None:
    clock = Clock()
    fuel = FuelBook(clock=clock).project(new_id())
    version = (new_id(), 1)
    for _ in range(3):
        fuel.admit(version)
        with pytest.raises(OutOfFuel):
            fuel.fill(ENDLESS, {}, version=version)
    with pytest.raises(TemplatePaused) as caught:
        fuel.admit(version)
    assert caught.value.headers["Retry-After"] == str(int(PAUSE_S))
    fuel.admit((version[0], 2))
    fuel.admit(None)
    clock.now += PAUSE_S
    fuel.admit(version)


def test_running_out_now_and_then_pauses_nothing() -> None:
    clock = Clock()
    fuel = FuelBook(clock=clock).project(new_id())
    for _ in range(5):
        fuel.admit("a text")
        with pytest.raises(OutOfFuel):
            fuel.fill(ENDLESS, {}, version="a text")
        clock.now += PAUSE_S / 2 + 1


def test_an_error_in_a_template_does_not_pause_it() -> None:
    fuel = FuelBook(clock=Clock()).project(new_id())
    for _ in range(5):
        fuel.admit("a text")
        with pytest.raises(TemplateRenderError):
            fuel.fill("{{ missing }}", {}, version="a text")


@pytest.mark.parametrize("ending", ["", "{% if %}"], ids=["valid", "invalid"])
def test_reading_one_text_after_another_is_stopped(ending: str) -> None:
    clock = Clock()
    fuel = FuelBook(clock=clock).project(new_id())
    texts = 0

    def read_others() -> None:
        nonlocal texts
        for texts in range(1_000):
            with suppress(TemplateSyntaxError):
                fuel.read(f"{texts}{ending}" + "{{ a | size }}" * 300 + ending)

    with pytest.raises(RenderingLimitExceeded) as caught:
        read_others()
    assert 5 <= texts <= READING_BURST / 10_000
    clock.now += int(caught.value.headers["Retry-After"])
    with suppress(TemplateSyntaxError):
        fuel.read(f"another{ending}")


def test_a_text_that_was_read_before_costs_nothing_to_read() -> None:
    fuel = FuelBook(clock=Clock()).project(new_id())
    for _ in range(1_000):
        fuel.read("again and again " + "{{ a | size }}" * 300)


def test_the_book_forgets_the_projects_that_rendered_longest_ago() -> None:
    book = FuelBook(size=2, clock=Clock())
    first, second = new_id(), new_id()
    oldest = book.project(first)
    book.project(second)
    assert book.project(first) is oldest
    book.project(new_id())
    assert book.project(first) is oldest
    newest = book.project(second)
    assert book.project(second) is newest
