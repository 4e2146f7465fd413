"""Random templates over the largest values there may be end when their fuel does."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import suppress
from random import Random
from typing import Any

import pytest

from backend.services.templates.liquid.engine import (
    CompiledTemplate,
    Meter,
    TemplateRenderError,
    TemplateSyntaxError,
)
from backend.services.templates.liquid.limits import FUEL_LIMIT, OUTPUT_LIMIT_BYTES
from tests.services.templates.grammar import FILTERS, LARGEST, Grammar

# The promise is 80 ms of a thread's time for 25,000 units; a busy machine gets more.
SLACK_S = 0.4

PIECES = (
    "a", " ", "\n", "&a", "&#1", "<a ", "<!--", "<a>", "</", '<a a=" ', "<![CDATA[", "\x00", "é",
    "😀", "%", "%41", "a,", "9", "<script>",
)  # fmt: skip
SIZES = (1, 40, 600, 2_400, 32_768)
ARGUMENTS: list[list[Any]] = [
    [], ["n"], ["a"], [" "], [""], [3], ["a" * 600 + "b" + "a" * 600], ["%c" * 50], ["a", "bbbb"],
    ["", "bbbb"], ["c", 3], [[f"s{i}" for i in range(300)]], [{str(i): i for i in range(300)}],
]  # fmt: skip


def _values(random: Random) -> dict[str, Any]:
    swapped = {
        random.choice(list(LARGEST)): random.choice(list(LARGEST.values())) for _ in range(3)
    }
    return {**LARGEST, **swapped}


def _check(text: str, values: dict[str, Any], *, html: bool, name: str) -> None:
    try:
        template = CompiledTemplate(text, html=html)
    except TemplateSyntaxError:
        return
    meter = Meter()
    started = time.thread_time()
    with suppress(TemplateRenderError):
        assert len(template.render(values, meter)) <= OUTPUT_LIMIT_BYTES, name
    assert time.thread_time() - started < SLACK_S, name
    assert meter.fuel <= FUEL_LIMIT, name


def _random_templates(seeds: range) -> None:
    for seed in seeds:
        random = Random(seed)  # noqa: S311
        text = Grammar(random, heavy=True).template()
        _check(text, _values(random), html=bool(seed % 2), name=f"seed {seed}: {text}")


def test_random_templates_end_with_their_fuel() -> None:
    _random_templates(range(400))


@pytest.mark.slow
def test_many_random_templates_end_with_their_fuel() -> None:
    _random_templates(range(1_000, 5_000))


def _filter_values() -> Iterator[Any]:
    for piece in PIECES:
        for size in SIZES:
            yield (piece * (size // len(piece) + 1))[:size]
    for count in (1, 30, 1_000):
        yield list(range(count))
        yield [f"s{i:04}" for i in range(count)]
        yield ["x" * 30] * count
        yield ["x" * 29 + chr(200 + i) for i in range(count)]
        yield [i * 1.1 for i in range(count)]
        yield [[[[["x"]]]]] * (count // 5 + 1)
        yield [{"n": "k", "a": {"b": [i]}, "c": i} for i in range(count // 3 + 1)]
        yield {f"k{i}": i for i in range(count)}
    yield from (7, 10**18, 1.5, 1e308, None, True)


def _filters(random: Random, count: int) -> None:
    values = list(_filter_values())
    for number in range(count):
        name = FILTERS[number % len(FILTERS)]
        value, given = random.choice(values), random.choice(ARGUMENTS)
        names = ", ".join(f"p{i}" for i in range(len(given)))
        call = f"{name}: {names}" if names else name
        text = f"{{% for i in (1..1000) %}}{{% assign z = v | {call} %}}{{% endfor %}}"
        variables = {"v": value, **{f"p{i}": argument for i, argument in enumerate(given)}}
        _check(text, variables, html=bool(number % 2), name=f"{call} of {str(value)[:60]!r}")


def test_each_filter_on_its_worst_values_ends_with_its_fuel() -> None:
    _filters(Random(1), 12 * len(FILTERS))  # noqa: S311


@pytest.mark.slow
def test_each_filter_on_many_values_ends_with_its_fuel() -> None:
    _filters(Random(2), 100 * len(FILTERS))  # noqa: S311
