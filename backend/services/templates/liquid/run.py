"""A rendering: its variables, its output, and the fuel it has left.

What may take long is paid for before it is done. `weigh` never costs more than it charges.
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import Any, Final

from liquid import FalsyStrictUndefined
from liquid.builtin.tags.for_tag import ForLoop
from liquid.builtin.tags.tablerow_tag import TableRow
from liquid.stringify import to_liquid_string
from liquid.token import Token
from markupsafe import Markup, escape

from backend.services.templates.liquid.limits import (
    CHARS_SHIFT,
    FUEL_LIMIT,
    INTEGER_LIMIT,
    ITEM_CHARS,
    LOOP_LIMIT,
    OUTPUT_LIMIT_BYTES,
    OutOfFuel,
    TemplateRenderError,
)

MISSING: Final = object()
_CONTAINERS: Final = (list, tuple, dict)
# A template can read a loop's state, but cannot loop over it.
Loop = ForLoop | TableRow


class Run:
    """`fuel` goes down; `scopes` are searched in order: loops, assigned values, given values."""

    __slots__ = (
        "changed", "counters", "cycles", "fuel", "html", "iterations", "locals", "loops", "out",
        "scopes", "size",
        "stops",
    )  # fmt: skip

    def __init__(self, values: Mapping[str, Any], *, html: bool, fuel: int = FUEL_LIMIT) -> None:
        self.fuel = fuel
        self.html = html
        self.locals: dict[str, Any] = {}
        self.scopes: list[Mapping[str, Any]] = [self.locals, values]
        self.counters: dict[str, int] = {}
        self.out: list[str] = []
        self.size = 0
        self.iterations = 0
        self.loops: list[Loop] = []
        self.cycles: dict[str, int] = {}
        self.stops: dict[str, int] = {}
        self.changed = ""

    def spend(self, amount: int) -> None:
        self.fuel -= amount
        if self.fuel < 0:
            raise OutOfFuel

    def iterate(self, times: int) -> None:
        """Count the rounds of a loop before it starts."""
        self.iterations += times
        if self.iterations > LOOP_LIMIT:
            raise TemplateRenderError(f"the loops run more than {LOOP_LIMIT} times")

    def find(self, name: str) -> Any:
        """Return the variable, MISSING if there is none."""
        for scope in self.scopes:
            if name in scope:
                return scope[name]
        if name == "now":
            return datetime.datetime.now()  # noqa: DTZ005 (the server's time, as Liquid has it)
        if name == "today":
            return datetime.date.today()  # noqa: DTZ011
        return self.counters.get(name, MISSING)

    def undefined(self, name: str, hint: str | None, token: Token | None) -> FalsyStrictUndefined:
        self.spend(2)
        return FalsyStrictUndefined(name, hint=hint, token=token)

    def weigh(self, value: Any) -> int:
        """Pay for reading `value` and all it contains once; return its weight in characters."""
        kind = type(value)
        if kind is str or kind is Markup:
            weight: int = len(value)
        elif kind is int or kind is float or kind is bool or value is None:
            return ITEM_CHARS
        elif isinstance(value, str):
            weight = len(value)
        elif isinstance(value, _CONTAINERS):
            return self._weigh_items(value)
        elif isinstance(value, range):
            weight = len(value) * ITEM_CHARS
        else:
            weight = 4 * ITEM_CHARS
        self.fuel -= weight >> CHARS_SHIFT
        if self.fuel < 0:
            raise OutOfFuel
        return weight

    def _weigh_items(self, value: Any) -> int:
        total = 0
        waiting = [value]
        while waiting:
            container = waiting.pop()
            weight = (len(container) + 4) * ITEM_CHARS
            self.spend(weight >> CHARS_SHIFT)
            total += weight
            weight = 0
            if isinstance(container, dict):
                weight += sum(len(key) + ITEM_CHARS for key in container if isinstance(key, str))
                container = container.values()
            for item in container:
                if isinstance(item, str):
                    weight += len(item)
                elif isinstance(item, _CONTAINERS):
                    waiting.append(item)
                elif isinstance(item, float):
                    weight += ITEM_CHARS
                elif isinstance(item, range):
                    weight += len(item) * ITEM_CHARS
            self.spend(weight >> CHARS_SHIFT)
            total += weight
        return total

    def text_of(self, value: Any) -> str:
        """Return `value` as an output shows it."""
        kind = type(value)
        if kind is str:
            return escape(value) if self.html else value
        if kind is int:
            text = str(value)
            return Markup(text) if self.html else text  # noqa: S704 (digits)
        self.weigh(value)
        if self.html and isinstance(value, list):
            # Each item is escaped separately.
            self.spend(len(value))
        return to_liquid_string(value, self.html)

    def write(self, text: str) -> None:
        """Write `text`, and pay for it."""
        size = len(text)
        self.fuel -= 1 + (size >> CHARS_SHIFT)
        if self.fuel < 0:
            raise OutOfFuel
        self.put(text, size if text.isascii() else len(text.encode("utf-8", "surrogatepass")))

    def put(self, text: str, size: int) -> None:
        """Write what is already paid for; `size` in bytes."""
        self.size += size
        if self.size > OUTPUT_LIMIT_BYTES:
            raise TemplateRenderError(f"the result is longer than {OUTPUT_LIMIT_BYTES} bytes")
        self.out.append(text)

    def accept(self, result: Any) -> Any:
        """Pay for a filter's result, and return it."""
        if isinstance(result, str):
            self.spend(len(result) >> CHARS_SHIFT)
        elif isinstance(result, list):
            self.spend(len(result) * ITEM_CHARS >> CHARS_SHIFT)
        elif isinstance(result, int) and abs(result) > INTEGER_LIMIT:
            raise TemplateRenderError(f"a number is larger than {INTEGER_LIMIT}")
        return result


class ShownLoop(ForLoop):
    """The `forloop` of a {% for %}; looping over it gives nothing."""

    __slots__ = ()

    def __init__(self, name: str, length: int, parent: object) -> None:
        super().__init__(name, iter(()), length, parent)

    def at(self, index: int) -> None:
        self._index = index

    def __iter__(self) -> Any:
        return iter(())


class ShownRow(TableRow):
    """The `tablerowloop` of a {% tablerow %}."""

    __slots__ = ()

    def __init__(self, name: str, length: int, columns: int) -> None:
        super().__init__(name, iter(()), length, columns)

    def __iter__(self) -> Any:
        return iter(())
