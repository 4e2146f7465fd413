"""Liquid, compiled once and bounded: a tenant's template may not read files or eat the process.

Most templates only substitute names; those become a list of literals and names that renders in
microseconds, with exactly the text that Liquid would give.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache, partial
from typing import Any, ClassVar, Final

from liquid import BoundTemplate, Environment, FalsyStrictUndefined, RenderContext
from liquid.builtin.content import ContentNode
from liquid.builtin.expressions import FilteredExpression, Path
from liquid.builtin.output import OutputNode
from liquid.exceptions import LiquidError, LoopIterationLimitError, ResourceLimitError
from liquid.stringify import to_liquid_string
from liquid.token import Token
from markupsafe import escape

OUTPUT_LIMIT_BYTES: Final = 256 * 1024
LOOP_LIMIT: Final = 2_000
# Characters and items that all filters of one rendering may read and write together.
WORK_LIMIT: Final = 2_000_000
_LARGE_TEXT_CHARS: Final = 4096
_INTEGER_LIMIT: Final = 10**18
# What python-liquid's filters let through on odd values, beside its own errors.
_FILTER_FAILURES: Final = (ArithmeticError, AttributeError, LookupError, OSError, RecursionError, TypeError, ValueError)


class TemplateSyntaxError(Exception):
    """The text is not valid Liquid. `line` counts from 1."""

    def __init__(self, reason: str, line: int) -> None:
        self.reason = reason
        self.line = line
        super().__init__(f"line {line}: {reason}")


class TemplateRenderError(Exception):
    """Valid Liquid that these values cannot be put into, or that goes over a limit."""


class _Context(RenderContext):
    """Counts the work of one rendering; python-liquid's own limits hold for one loop or buffer only."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.iterations = 0
        self.work = 0

    def raise_for_loop_limit(self, length: int = 1) -> None:
        self.iterations += length
        if self.iterations > LOOP_LIMIT:
            raise LoopIterationLimitError(f"the loops run more than {LOOP_LIMIT} times", token=None)

    def charge(self, amount: int) -> None:
        self.work += amount
        if self.work > WORK_LIMIT:
            raise ResourceLimitError("the filters do too much work", token=None)

    def filter(self, name: str, token: Token | None) -> Callable[..., object]:
        return partial(_run_filter, self, name, super().filter(name, token))


class _Template(BoundTemplate):
    context_class = _Context


class _Environment(Environment):
    template_class = _Template
    output_stream_limit: ClassVar[int | None] = OUTPUT_LIMIT_BYTES
    loop_iteration_limit: ClassVar[int | None] = LOOP_LIMIT
    local_namespace_limit: ClassVar[int | None] = 4 * OUTPUT_LIMIT_BYTES

    def setup_tags_and_filters(self, *, extra: bool = False) -> None:
        super().setup_tags_and_filters(extra=extra)
        # There is nothing to include: a template is one text.
        del self.tags["include"], self.tags["render"]


_TEXT: Final = _Environment(undefined=FalsyStrictUndefined, autoescape=False)
_HTML: Final = _Environment(undefined=FalsyStrictUndefined, autoescape=True)


class CompiledTemplate:
    """A parsed text. `variables` are the names it needs, in order of first appearance."""

    __slots__ = ("_html", "_pieces", "_template", "is_plain", "variables")

    def __init__(self, text: str, *, html: bool) -> None:
        self._html = html
        self._template = _parse(text, _HTML if html else _TEXT)
        self.variables = _variables(self._template, text)
        self._pieces = _plain_pieces(self._template)
        self.is_plain = self._pieces is not None

    def render(self, values: Mapping[str, Any]) -> str:
        """Return the text with `values` put in; raises TemplateRenderError."""
        if self._pieces is None:
            return self._render_liquid(values)
        html = self._html
        parts: list[str] = []
        for literal, name in self._pieces:
            parts.append(literal)
            if name is not None:
                value = values.get(name, _MISSING)
                if value is _MISSING:
                    raise TemplateRenderError(f"'{name}' is undefined")
                if type(value) is str:
                    parts.append(escape(value) if html else value)
                else:
                    parts.append(to_liquid_string(value, html))
        if sum(map(len, parts)) > OUTPUT_LIMIT_BYTES:
            raise TemplateRenderError(f"the result is longer than {OUTPUT_LIMIT_BYTES} bytes")
        return "".join(parts)

    def _render_liquid(self, values: Mapping[str, Any]) -> str:
        try:
            return self._template.render(values)
        except LiquidError as exc:
            raise TemplateRenderError(_reason(exc)) from exc
        except _FILTER_FAILURES as exc:
            raise TemplateRenderError(f"a filter cannot use these values ({type(exc).__name__})") from exc


def compile_template(text: str, *, html: bool = False) -> CompiledTemplate:
    """Return the compiled text, from the cache where it was seen lately; raises TemplateSyntaxError.

    `html`: values are escaped on their way in.
    """
    # Two caches, so that a few giant texts cannot push out the many small ones or fill the memory.
    return _compile_small(text, html) if len(text) <= _LARGE_TEXT_CHARS else _compile_large(text, html)


def variables_of(text: str, *, html: bool = False) -> list[str]:
    """Return the names that `text` needs, in order of first appearance; raises TemplateSyntaxError."""
    return list(compile_template(text, html=html).variables)


@lru_cache(maxsize=2048)
def _compile_small(text: str, html: bool) -> CompiledTemplate:
    return CompiledTemplate(text, html=html)


@lru_cache(maxsize=64)
def _compile_large(text: str, html: bool) -> CompiledTemplate:
    return CompiledTemplate(text, html=html)


_MISSING: Final = object()


def _parse(text: str, environment: Environment) -> BoundTemplate:
    try:
        return environment.from_string(text)
    except LiquidError as exc:
        token = exc.token
        # A token of no text is the end of it: something was not closed.
        index = token.start_index if token is not None and token.source == text else len(text)
        raise TemplateSyntaxError(_reason(exc), _line(text, index)) from exc


def _line(text: str, index: int) -> int:
    return text.count("\n", 0, max(index, 0)) + 1


def _reason(exc: LiquidError) -> str:
    return str(exc.message or "unexpected liquid error")


def _variables(template: BoundTemplate, text: str) -> tuple[str, ...]:
    analysis = template.analyze()
    for name, spans in analysis.filters.items():
        if name not in template.env.filters:
            raise TemplateSyntaxError(f"unknown filter '{name}'", _line(text, spans[0].index))
    first_seen = {
        name: min(use.span.index for use in uses)
        for name, uses in analysis.globals.items()
        # `{{ [key] }}` names its variable only when it renders.
        if isinstance(uses[0].segments[0], str)
    }
    return tuple(sorted(first_seen, key=first_seen.__getitem__))


def _plain_pieces(template: BoundTemplate) -> tuple[tuple[str, str | None], ...] | None:
    """Return (literal, name) pairs when the template does nothing but substitute names, else None."""
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


def _size(value: object) -> int:
    if isinstance(value, str | list | tuple | dict | range):
        return len(value)
    if isinstance(value, int) and abs(value) > _INTEGER_LIMIT:
        raise ResourceLimitError("a number is too large", token=None)
    return 1


def _run_filter(
    context: _Context, name: str, function: Callable[..., object], value: object, *args: object, **kwargs: object
) -> object:
    """Run one filter, refusing beforehand what would make a result out of proportion."""
    size = _size(value) + sum(map(_size, args))
    context.charge(size + 16)
    if name == "replace" and args:
        replaced = str(value).count(str(args[0])) if str(args[0]) else size + 1
        context.charge(replaced * len(str(args[1] if len(args) > 1 else "")))
    elif name == "join" and args:
        context.charge(_size(value) * len(str(args[0])))
    result = function(value, *args, **kwargs)
    context.charge(_size(result))
    return result
