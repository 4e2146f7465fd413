"""Liquid, compiled once and limited: a tenant's template can't read files or starve the process.

python-liquid reads the grammar; the tokens (lexer.py) and the rendering (compiler.py) are ours,
within the limits of limits.py. Most templates only substitute names; they become a list of literals
and names that renders in microseconds, into exactly the text that Liquid would give.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from itertools import islice
from typing import Any, ClassVar, Final
from weakref import WeakValueDictionary

from liquid import BoundTemplate, Environment, FalsyStrictUndefined
from liquid.builtin.content import ContentNode
from liquid.builtin.expressions import FilteredExpression, Path
from liquid.builtin.output import OutputNode
from liquid.exceptions import BlockNestingError, LiquidError
from liquid.stringify import to_liquid_string
from liquid.token import Token
from markupsafe import escape

from backend.services.templates.liquid import lexer
from backend.services.templates.liquid.compiler import Compiler
from backend.services.templates.liquid.limits import (
    CHARS_SHIFT,
    DEPTH_LIMIT,
    FUEL_LIMIT,
    MARKUP_CHARS,
    MARKUP_CHARS_TOGETHER,
    MARKUP_LIMIT,
    OUTPUT_LIMIT_BYTES,
    OutOfFuel,
    TemplateRenderError,
    TemplateSyntaxError,
)
from backend.services.templates.liquid.run import Run

__all__ = [
    "CompiledTemplate",
    "Meter",
    "OutOfFuel",
    "TemplateRenderError",
    "TemplateSyntaxError",
    "compile_template",
    "is_compiled",
    "reading_cost",
    "variables_of",
]

_LARGE_TEXT_CHARS: Final = 4096
# What python-liquid's filters raise on odd values, besides its own errors.
_FILTER_FAILURES: Final = (
    ArithmeticError,
    AttributeError,
    LookupError,
    OSError,
    RecursionError,
    TypeError,
    ValueError,
)
# What an output or a tag costs to read, and each character in it.
_MARKUP_FUEL: Final = 30
_CHAR_FUEL: Final = 3
_OPEN: Final = re.compile(r"\{[{%]")
_PLAIN_VALUES: Final = (int, float, bool)


class _Environment(Environment):
    block_nesting_limit: ClassVar[int] = DEPTH_LIMIT

    def tokenizer(self) -> Callable[[str], Iterator[Token]]:
        return lexer.tokens

    def setup_tags_and_filters(self, *, extra: bool = False) -> None:
        super().setup_tags_and_filters(extra=extra)
        # There is nothing to include: a template is a single text.
        del self.tags["include"], self.tags["render"]


_TEXT: Final = _Environment(undefined=FalsyStrictUndefined, autoescape=False)
_HTML: Final = _Environment(undefined=FalsyStrictUndefined, autoescape=True)
_COMPILERS: Final = {False: Compiler(_TEXT), True: Compiler(_HTML)}


class Meter:
    """Adds up the fuel of renderings, and of reading the texts for them."""

    __slots__ = ("fuel",)

    def __init__(self) -> None:
        self.fuel = 0


# What the caches below hold, so that asking doesn't change them.
_COMPILED: Final[WeakValueDictionary[tuple[str, bool], CompiledTemplate]] = WeakValueDictionary()


class CompiledTemplate:
    """A parsed text. `variables` are the names it needs, in order of first appearance."""

    __slots__ = (
        "__weakref__",
        "_html",
        "_pieces",
        "_plain_fuel",
        "_render",
        "is_paid",
        "is_plain",
        "variables",
    )

    def __init__(self, text: str, *, html: bool) -> None:
        self._html = html
        template = _parse(text, _HTML if html else _TEXT)
        self.variables = _variables(template)
        self._pieces = _plain_pieces(template)
        try:
            self._render = _COMPILERS[html].template(template.nodes)
        except LiquidError as exc:
            raise _syntax_error(exc, text) from exc
        self._plain_fuel = 2 * len(self._pieces or ())
        self.is_plain = self._pieces is not None
        # Whether a project has paid for reading it.
        self.is_paid = False
        _COMPILED[text, html] = self

    def render(
        self, values: Mapping[str, Any], meter: Meter | None = None, limit: int = FUEL_LIMIT
    ) -> str:
        """Return the text with `values` filled in, and add its fuel to `meter`.

        `limit`: the most fuel it may take. It doesn't apply to a plain text with plain values,
        which takes next to no time. Raises TemplateRenderError.
        """
        if self._pieces is None:
            return self._render_liquid(values, meter, limit)
        html = self._html
        parts: list[str] = []
        escaped = 0
        for literal, name in self._pieces:
            parts.append(literal)
            if name is not None:
                value = values.get(name, _MISSING)
                if value is _MISSING:
                    raise TemplateRenderError(f"'{name}' is undefined")
                if type(value) is str:
                    if html:
                        escaped += len(value)
                        if escaped > OUTPUT_LIMIT_BYTES:
                            parts.append(value)
                            break
                        value = escape(value)
                    parts.append(value)
                elif type(value) in _PLAIN_VALUES:
                    parts.append(to_liquid_string(value, html))
                else:
                    return self._render_liquid(values, meter, limit)
        size = sum(map(len, parts))
        if meter is not None:
            meter.fuel += self._plain_fuel + (min(size, OUTPUT_LIMIT_BYTES) >> CHARS_SHIFT)
        if size > OUTPUT_LIMIT_BYTES:
            raise TemplateRenderError(f"the result is longer than {OUTPUT_LIMIT_BYTES} bytes")
        return "".join(parts)

    def _render_liquid(
        self, values: Mapping[str, Any], meter: Meter | None = None, limit: int = FUEL_LIMIT
    ) -> str:
        run = Run(values, html=self._html, fuel=limit)
        try:
            self._render(run)
        except LiquidError as exc:
            raise TemplateRenderError(_reason(exc)) from exc
        except _FILTER_FAILURES as exc:
            raise TemplateRenderError(
                f"a filter cannot use these values ({type(exc).__name__})"
            ) from exc
        finally:
            if meter is not None:
                meter.fuel += limit - max(run.fuel, 0)
        return "".join(run.out)


def compile_template(text: str, *, html: bool = False) -> CompiledTemplate:
    """Return the compiled text, from the cache where it was seen lately; raises
    TemplateSyntaxError.

    `html`: values are escaped on their way in.
    """
    # Two caches, so that a few giant texts cannot push out many small ones or fill the memory.
    return (
        _compile_small(text, html) if len(text) <= _LARGE_TEXT_CHARS else _compile_large(text, html)
    )


def is_compiled(text: str, *, html: bool) -> bool:
    """Tell whether the text is in the cache."""
    return (text, html) in _COMPILED


def variables_of(text: str, *, html: bool = False) -> list[str]:
    """Return the names that `text` needs, in order of first use; raises TemplateSyntaxError."""
    return list(compile_template(text, html=html).variables)


@lru_cache(maxsize=2048)
def _compile_small(text: str, html: bool) -> CompiledTemplate:
    return CompiledTemplate(text, html=html)


@lru_cache(maxsize=64)
def _compile_large(text: str, html: bool) -> CompiledTemplate:
    return CompiledTemplate(text, html=html)


def reading_cost(text: str) -> int:
    """Return the fuel of parsing, analysing and compiling `text`, whether it is valid or not."""
    starts = [match.start() for match in islice(_OPEN.finditer(text), MARKUP_LIMIT)]
    chars = sum(end - start for start, end in _markups(text, starts))
    return (
        (len(text) >> CHARS_SHIFT)
        + _MARKUP_FUEL * len(starts)
        + _CHAR_FUEL * min(chars, MARKUP_CHARS_TOGETHER)
    )


def _markups(text: str, starts: list[int]) -> Iterator[tuple[int, int]]:
    """Yield where each markup begins and about where it ends."""
    for start in starts:
        end = text.find("}", start, start + MARKUP_CHARS)
        yield start, end if end >= 0 else start + MARKUP_CHARS


_MISSING: Final = object()


def _parse(text: str, environment: Environment) -> BoundTemplate:
    try:
        return environment.from_string(text)
    except LiquidError as exc:
        raise _syntax_error(exc, text) from exc


def _syntax_error(exc: LiquidError, text: str) -> TemplateSyntaxError:
    token = exc.token
    # A token without a text is the end: something was not closed.
    index = token.start_index if token is not None and token.source == text else len(text)
    if isinstance(exc, BlockNestingError):
        return TemplateSyntaxError(f"tags may be nested {DEPTH_LIMIT} deep", _line(text, index))
    return TemplateSyntaxError(_reason(exc), _line(text, index))


def _line(text: str, index: int) -> int:
    return text.count("\n", 0, max(index, 0)) + 1


def _reason(exc: LiquidError) -> str:
    return str(exc.message or "unexpected liquid error")


def _variables(template: BoundTemplate) -> tuple[str, ...]:
    first_seen = {
        name: min(use.span.index for use in uses)
        for name, uses in template.analyze().globals.items()
        # `{{ [key] }}` names its variable only when it renders.
        if isinstance(uses[0].segments[0], str)
    }
    return tuple(sorted(first_seen, key=first_seen.__getitem__))


def _plain_pieces(template: BoundTemplate) -> tuple[tuple[str, str | None], ...] | None:
    """Return (literal, name) pairs if the template only substitutes names, else None."""
    pieces: list[tuple[str, str | None]] = []
    literal = ""
    for node in template.nodes:
        if type(node) is ContentNode:
            literal += node.text
            continue
        expression = node.expression if type(node) is OutputNode else None
        if not isinstance(expression, FilteredExpression) or expression.filters:
            return None
        path = expression.left.path if isinstance(expression.left, Path) else ()
        if len(path) != 1 or not isinstance(path[0], str):
            return None
        pieces.append((literal, str(path[0])))
        literal = ""
    if literal:
        pieces.append((literal, None))
    return tuple(pieces)
