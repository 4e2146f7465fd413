"""A template written to starve the process is refused when it is saved, or stops when its
fuel is used up.
"""

from __future__ import annotations

import time
import tracemalloc
from contextlib import suppress

import pytest

from backend.services.templates.liquid.engine import (
    CompiledTemplate,
    Meter,
    TemplateRenderError,
    TemplateSyntaxError,
    reading_cost,
)
from backend.services.templates.liquid.limits import FUEL_LIMIT, OUTPUT_LIMIT_BYTES
from tests.services.templates.bombs import Bomb, bombs

BOMBS = list(bombs())
# The promise is 80 ms of a thread's time; a busy machine and a first call get more.
SLACK_S = 0.4
READING_LIMIT = 55_000


@pytest.mark.parametrize("html", [False, True], ids=["text", "html"])
@pytest.mark.parametrize("bomb", BOMBS, ids=lambda bomb: bomb.name)
def test_a_bomb_is_refused_with_its_line_or_runs_out_of_fuel(bomb: Bomb, html: bool) -> None:
    assert reading_cost(bomb.template) <= READING_LIMIT
    started = time.thread_time()
    template, refusal = _read(bomb.template, html=html)
    assert time.thread_time() - started < SLACK_S
    if template is None:
        assert refusal is not None
        assert 1 <= refusal.line <= bomb.template.count("\n") + 1
        assert 0 < len(refusal.reason) <= 200
        return
    meter = Meter()
    started = time.thread_time()
    with suppress(TemplateRenderError):
        assert len(template.render(bomb.variables, meter)) <= OUTPUT_LIMIT_BYTES
    assert time.thread_time() - started < SLACK_S
    assert meter.fuel <= FUEL_LIMIT


def _read(text: str, *, html: bool) -> tuple[CompiledTemplate | None, TemplateSyntaxError | None]:
    try:
        return CompiledTemplate(text, html=html), None
    except TemplateSyntaxError as exc:
        return None, exc


@pytest.mark.parametrize(
    "bomb",
    [bomb for bomb in BOMBS if "doubling" in bomb.name or "value" in bomb.name],
    ids=lambda bomb: bomb.name,
)
def test_a_bomb_takes_no_more_memory_than_fuel_pays_for(bomb: Bomb) -> None:
    template = CompiledTemplate(bomb.template, html=True)
    tracemalloc.start()
    try:
        template.render(bomb.variables)
    except TemplateRenderError:
        pass
    finally:
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert peak < 48 * 1024 * 1024


def test_most_of_the_corpus_is_stopped_rather_than_harmless() -> None:
    """A corpus that renders fine would prove nothing."""
    stopped = 0
    for bomb in BOMBS:
        try:
            CompiledTemplate(bomb.template, html=False).render(bomb.variables)
        except (TemplateRenderError, TemplateSyntaxError):
            stopped += 1
    assert stopped >= 0.85 * len(BOMBS)
