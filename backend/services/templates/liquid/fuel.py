"""What a project may spend on rendering in a process: many small bombs are a large one.

A project has two buckets that refill all the time: one for rendering, one for reading texts that
are not in the cache. They hold what a process can spare for one tenant without the others noticing,
which is far more than ordinary templates use: a one-time code costs about 10 units, a mail of 20 KB
about 1,000. They are in this process's memory, because they protect its time.

A tenant may have many projects. So all projects together share two more buckets, and a project may
take half of each. Expensive work is paid from them and waits while they are empty; cheap work never
waits.
"""

from __future__ import annotations

import math
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping
from typing import Any, Final, NoReturn
from uuid import UUID

from backend.errors import RateLimitExceeded
from backend.services.templates.liquid.engine import (
    CompiledTemplate,
    Meter,
    OutOfFuel,
    TemplateSyntaxError,
    compile_template,
    is_compiled,
    reading_cost,
)
from backend.services.templates.liquid.limits import FUEL_LIMIT

RENDERING_PER_S: Final = 500_000
RENDERING_BURST: Final = 5_000_000
READING_PER_S: Final = 60_000
READING_BURST: Final = 1_000_000
# For the process; at 1.6 µs a unit, at most a quarter of a core, and a tenth for reading.
EXPENSIVE_PER_S: Final = 150_000
EXPENSIVE_BURST: Final = 500_000
EXPENSIVE_READING_PER_S: Final = 60_000
EXPENSIVE_READING_BURST: Final = 300_000
# About what the request itself costs: such renderings and readings aren't paid from the process's
# buckets.
CHEAP: Final = 2_000
CHEAP_READING: Final = 500
_EXPENSIVE_FOR_S: Final = 60.0
# An expensive rendering counts for more than many cheap ones, because it holds up everything else
# in the process.
_SURCHARGE: Final = 2_000

RUNS_OUT_BEFORE_PAUSE: Final = 3
PAUSE_S: Final = 60.0
_PROJECTS: Final = 10_000
_TEMPLATES: Final = 100

Clock = Callable[[], float]


class RenderingLimitExceeded(RateLimitExceeded):
    code = "RENDERING_LIMIT_EXCEEDED"
    title = "The project's templates need more work than one project may have at a time"


class TemplatePaused(RateLimitExceeded):
    code = "TEMPLATE_PAUSED"
    title = "The template needed more work than a message may, several times"


class _Bucket:
    """May be overdrawn by what was already spent; it is empty until that is refilled."""

    __slots__ = ("_at", "_burst", "_level", "_rate")

    def __init__(self, rate: int, burst: int, now: float) -> None:
        self._rate = rate
        self._burst = burst
        self._level = float(burst)
        self._at = now

    def wait_s(self, now: float) -> int:
        """Return the whole seconds until there is something in it; 0: there is now."""
        level = self._level + (now - self._at) * self._rate
        self._level = min(level, self._burst)
        self._at = now
        return 0 if self._level > 0 else max(1, math.ceil(-self._level / self._rate))

    def is_empty(self, clock: Clock) -> bool:
        # It only fills up over time: if there was something, there still is.
        return self._level <= 0 and self.wait_s(clock()) > 0

    def take(self, amount: int, now: float) -> None:
        self.wait_s(now)
        self._level -= amount


class ProcessFuel:
    """What all projects together may spend on expensive work, or one project's share of it."""

    __slots__ = ("reading", "rendering")

    def __init__(self, now: float, *, parts: int = 1) -> None:
        self.rendering = _Bucket(EXPENSIVE_PER_S // parts, EXPENSIVE_BURST // parts, now)
        self.reading = _Bucket(
            EXPENSIVE_READING_PER_S // parts, EXPENSIVE_READING_BURST // parts, now
        )


class ProjectFuel:
    """A project's buckets, and which of its templates keep running out of fuel."""

    __slots__ = (
        "_clock",
        "_expensive",
        "_paused_until",
        "_process",
        "_reading",
        "_rendering",
        "_runs_out",
        "_share",
    )

    def __init__(self, clock: Clock = time.monotonic, process: ProcessFuel | None = None) -> None:
        now = clock()
        self._clock = clock
        self._process = process or ProcessFuel(now)
        self._share = ProcessFuel(now, parts=2)
        # When a text was last expensive, by its hash. For this project only, so that no project
        # marks another's text.
        self._expensive: OrderedDict[int, float] = OrderedDict()
        self._rendering = _Bucket(RENDERING_PER_S, RENDERING_BURST, now)
        self._reading = _Bucket(READING_PER_S, READING_BURST, now)
        # Both by template version; the times are in order of arrival.
        self._runs_out: OrderedDict[Hashable, list[float]] = OrderedDict()
        self._paused_until: dict[Hashable, float] = {}

    def admit(self, version: Hashable) -> None:
        """Raises RenderingLimitExceeded if nothing of the project may be rendered now,
        TemplatePaused if this text may not.
        """
        now = self._clock()
        self._wait(self._rendering.wait_s(now))
        if self._paused_until:
            left = self._paused_until.get(version, now) - now
            if left > 0:
                raise TemplatePaused(
                    f"The template needed more work than a message may, {RUNS_OUT_BEFORE_PAUSE}"
                    f" times; make its loops and filters shorter, or try again in {math.ceil(left)}"
                    " s with shorter variables.",
                    headers={"Retry-After": str(math.ceil(left))},
                )

    def read(self, text: str, *, html: bool = False) -> CompiledTemplate:
        """Return the compiled text; the first project that needs it pays.

        Raises TemplateSyntaxError and RenderingLimitExceeded.
        """
        now = self._clock()
        self._wait(self._reading.wait_s(now))
        if (
            (
                self._process.reading.is_empty(self._clock)
                or self._share.reading.is_empty(self._clock)
            )
            and not is_compiled(text, html=html)
            and reading_cost(text) > CHEAP_READING
        ):
            self._refuse(self._process.reading, self._share.reading)
        try:
            compiled = compile_template(text, html=html)
        except TemplateSyntaxError:
            self._pay_reading(reading_cost(text), now)
            raise
        if not compiled.is_paid:
            compiled.is_paid = True
            self._pay_reading(reading_cost(text), now)
        return compiled

    def fill(
        self, text: str, values: Mapping[str, Any], *, html: bool = False, version: Hashable = None
    ) -> str:
        """Return `text` with `values` filled in, and pay for it.

        Raises what `read` does, and TemplateRenderError.
        """
        compiled = self.read(text, html=html)
        meter = Meter()
        limit = self._limit(text)
        try:
            return compiled.render(values, meter, limit)
        except OutOfFuel:
            if limit < FUEL_LIMIT:
                self._mark_expensive(text)
                self._refuse(self._process.rendering, self._share.rendering)
            if version is not None:
                self._ran_out(version)
            raise
        finally:
            self._pay_rendering(meter.fuel, text)

    def _limit(self, text: str) -> int:
        """Return the fuel that the text may take now.

        Raises RenderingLimitExceeded if the text is known to take more.
        """
        process, share = self._process.rendering, self._share.rendering
        if not (process.is_empty(self._clock) or share.is_empty(self._clock)):
            return FUEL_LIMIT
        if self._expensive.get(hash(text), -math.inf) > self._clock() - _EXPENSIVE_FOR_S:
            self._refuse(process, share)
        return CHEAP

    def _pay_rendering(self, fuel: int, text: str) -> None:
        now = self._clock()
        self._rendering.take(fuel + fuel * fuel // _SURCHARGE, now)
        if fuel > CHEAP:
            self._process.rendering.take(fuel, now)
            self._share.rendering.take(fuel, now)
            self._mark_expensive(text)

    def _pay_reading(self, fuel: int, now: float) -> None:
        self._reading.take(fuel, now)
        if fuel > CHEAP_READING:
            self._process.reading.take(fuel, now)
            self._share.reading.take(fuel, now)

    def _mark_expensive(self, text: str) -> None:
        key = hash(text)
        self._expensive[key] = self._clock()
        self._expensive.move_to_end(key)
        if len(self._expensive) > _TEMPLATES:
            self._expensive.popitem(last=False)

    def _refuse(self, process: _Bucket, share: _Bucket) -> NoReturn:
        now = self._clock()
        seconds = max(1, process.wait_s(now), share.wait_s(now))
        raise RenderingLimitExceeded(
            f"The server is rendering as many expensive templates as it can; try again in {seconds}"
            " s, or make the template's loops and filters shorter.",
            headers={"Retry-After": str(seconds)},
        )

    def _wait(self, seconds: int) -> None:
        if seconds:
            raise RenderingLimitExceeded(
                "The project's templates need more work than one project may have at a time; "
                f"try again in {seconds} s, or make their loops and filters shorter.",
                headers={"Retry-After": str(seconds)},
            )

    def _ran_out(self, version: Hashable) -> None:
        now = self._clock()
        times = [at for at in self._runs_out.pop(version, ()) if at > now - PAUSE_S]
        times.append(now)
        if len(times) >= RUNS_OUT_BEFORE_PAUSE:
            self._paused_until = {
                key: until for key, until in self._paused_until.items() if until > now
            }
            self._paused_until[version] = now + PAUSE_S
            return
        self._runs_out[version] = times
        if len(self._runs_out) > _TEMPLATES:
            self._runs_out.popitem(last=False)


class FuelBook:
    """The projects that rendered recently; all others have full buckets anyway."""

    def __init__(self, *, size: int = _PROJECTS, clock: Clock = time.monotonic) -> None:
        self._size = size
        self._clock = clock
        self._projects: OrderedDict[UUID, ProjectFuel] = OrderedDict()
        # Campaigns may run on another thread than the one that accepts messages.
        self._lock = threading.Lock()
        self.process = ProcessFuel(clock())

    def project(self, project_id: UUID) -> ProjectFuel:
        with self._lock:
            fuel = self._projects.get(project_id)
            if fuel is None:
                fuel = self._projects[project_id] = ProjectFuel(self._clock, self.process)
                if len(self._projects) > self._size:
                    self._projects.popitem(last=False)
            else:
                self._projects.move_to_end(project_id)
            return fuel


# For this process.
FUEL: Final = FuelBook()


def fuel_of(project_id: UUID | None) -> ProjectFuel:
    """Return the project's fuel; without a project, new fuel that limits only this use.

    Both also pay from the process's buckets.
    """
    return ProjectFuel(process=FUEL.process) if project_id is None else FUEL.project(project_id)
