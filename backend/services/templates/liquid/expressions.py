"""Liquid's expressions as Python closures that pay for what they look up, compare and call."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Final

from liquid import Environment, Token
from liquid.builtin.expressions import (
    BooleanExpression,
    FilteredExpression,
    Nil,
    Path,
    StringLiteral,
)
from liquid.builtin.expressions.arguments import KeywordArgument
from liquid.builtin.expressions.filtered import Filter
from liquid.builtin.expressions.logical import (
    ContainsExpression,
    EqExpression,
    GeExpression,
    GtExpression,
    LeExpression,
    LogicalAndExpression,
    LogicalOrExpression,
    LtExpression,
    NeExpression,
)
from liquid.builtin.expressions.loop import LoopExpression
from liquid.builtin.expressions.primitive import Blank, Empty, Literal, RangeLiteral
from liquid.exceptions import LiquidSyntaxError, LiquidTypeError
from liquid.expression import Expression
from liquid.limits import to_int
from liquid.undefined import is_undefined
from markupsafe import Markup

from backend.services.templates.liquid.compare import (
    at_most,
    contains,
    equal,
    is_truthy,
    item_of,
    less,
    path_text,
)
from backend.services.templates.liquid.limits import (
    INTEGER_LIMIT,
    ITEM_CHARS,
    RANGE_BOUND,
    RANGE_LIMIT,
    OutOfFuel,
    TemplateRenderError,
)
from backend.services.templates.liquid.prices import price_of
from backend.services.templates.liquid.run import MISSING, Loop, Run

Evaluate = Callable[[Run], Any]
_KEYWORDS: Final = {"default": frozenset({"allow_false"})}


class Expressions:
    """Compiles an environment's expressions; an unknown kind or filter is a LiquidSyntaxError."""

    def __init__(self, environment: Environment) -> None:
        self._environment = environment
        self._html = environment.autoescape
        self._filters = {
            name: self._bound(function) for name, function in environment.filters.items()
        }
        self._kinds: dict[type[Expression], Callable[[Any], Evaluate]] = {
            BooleanExpression: self.condition,
            FilteredExpression: self._filtered,
            Path: self._path,
            RangeLiteral: self._range,
            LogicalAndExpression: self._and,
            LogicalOrExpression: self._or,
            EqExpression: self._equal,
            NeExpression: lambda node: _negated(self._equal(node)),
            LtExpression: lambda node: self._ordered(less, node.token, node.left, node.right),
            GtExpression: lambda node: self._ordered(less, node.token, node.right, node.left),
            LeExpression: lambda node: self._ordered(_at_most, node.token, node.left, node.right),
            GeExpression: lambda node: self._ordered(_at_most, node.token, node.right, node.left),
            ContainsExpression: lambda node: self._ordered(
                contains, node.token, node.left, node.right
            ),
        }

    def compiled(self, expression: Expression) -> Evaluate:
        compiler = self._kinds.get(type(expression))
        if compiler is not None:
            return compiler(expression)
        if isinstance(expression, Literal):
            return self._literal(expression)
        if isinstance(expression, Nil | Empty | Blank):
            return _constant(None if isinstance(expression, Nil) else expression)
        raise LiquidSyntaxError("an expression of an unknown kind", token=expression.token)

    def condition(self, expression: Expression) -> Callable[[Run], bool]:
        """Return what tells whether `expression` is true."""
        inner = self.compiled(
            expression.expression if isinstance(expression, BooleanExpression) else expression
        )
        return lambda run: is_truthy(inner(run))

    def loop(self, expression: LoopExpression) -> Evaluate:
        """Return what gives the items that a loop goes through."""
        iterable = self.compiled(expression.iterable)
        limit = None if expression.limit is None else self.compiled(expression.limit)
        continues = (
            isinstance(expression.offset, StringLiteral) and expression.offset.value == "continue"
        )
        offset = (
            None if continues or expression.offset is None else self.compiled(expression.offset)
        )
        key = f"{expression.identifier}-{expression.iterable}"

        def items(run: Run) -> Any:
            elements = _items_of(run, iterable(run))
            length = len(elements)
            most = None if limit is None else _integer(run, limit(run))
            start = run.stops.get(key, 0) if continues else 0
            if offset is not None:
                start = _integer(run, offset(run))
            stop = None if most is None else most + start
            start, stop = min(max(start, 0), length), min(stop or length, length)
            if stop < 0:
                raise TemplateRenderError("a loop's limit and offset may not be negative")
            run.stops[key] = stop
            if start or stop != length:
                elements = _part(run, elements, slice(start, stop))
            if expression.reversed:
                return _part(run, elements, slice(None, None, -1))
            return elements

        return items

    def _literal(self, expression: Literal[Any]) -> Evaluate:
        value = expression.value
        if type(value) is int and abs(value) > INTEGER_LIMIT:
            raise LiquidSyntaxError(
                f"a number is larger than {INTEGER_LIMIT}", token=expression.token
            )
        if self._html and isinstance(value, str):
            value = Markup(value)  # noqa: S704 (the template's own text)
        return _constant(value)

    def _path(self, path: Path) -> Evaluate:
        first: Any
        first, *others = [
            self.compiled(segment) if isinstance(segment, Path) else segment
            for segment in path.path
        ]
        token = path.token
        if not others and isinstance(first, str):
            return _name(first, token)
        price = 1 + len(others)

        def evaluate(run: Run) -> Any:
            run.spend(price)
            name = first if isinstance(first, str) else first(run) if callable(first) else first
            value = run.find(name) if isinstance(name, str) else MISSING
            if value is MISSING:
                run.weigh(name)
                hint = f"{name!r} is undefined" if isinstance(name, str) else f"{name} is undefined"
                return run.undefined(str(name), hint, token)
            seen: list[Any] = [name]
            for segment in others:
                key = segment(run) if callable(segment) else segment
                seen.append(key)
                try:
                    value = item_of(run, value, key)
                except (KeyError, TypeError):
                    run.spend(
                        sum(len(part) for part in seen if isinstance(part, str)) // ITEM_CHARS
                    )
                    return run.undefined(name, f"{path_text(seen)} is undefined", token)
                except IndexError:
                    return run.undefined(name, "index out of range", token)
            return value

        return evaluate

    def _range(self, expression: RangeLiteral) -> Evaluate:
        start, stop = self.compiled(expression.start), self.compiled(expression.stop)
        if isinstance(expression.start, Literal) and isinstance(expression.stop, Literal):
            # What is known to be wrong now is refused now, with its line.
            try:
                _range_of(_bound(expression.start.value), _bound(expression.stop.value))
            except (OverflowError, TemplateRenderError) as exc:
                raise LiquidSyntaxError(str(exc), token=expression.token) from exc

        def evaluate(run: Run) -> range:
            run.spend(1)
            first, last = start(run), stop(run)
            run.weigh(first)
            run.weigh(last)
            return _range_of(_bound(first), _bound(last))

        return evaluate

    def _and(self, expression: LogicalAndExpression) -> Evaluate:
        left, right = self.condition(expression.left), self.condition(expression.right)

        def evaluate(run: Run) -> bool:
            run.spend(1)
            return left(run) and right(run)

        return evaluate

    def _or(self, expression: LogicalOrExpression) -> Evaluate:
        left, right = self.condition(expression.left), self.condition(expression.right)

        def evaluate(run: Run) -> bool:
            run.spend(1)
            return left(run) or right(run)

        return evaluate

    def _equal(self, expression: EqExpression | NeExpression) -> Evaluate:
        left, right = self.compiled(expression.left), self.compiled(expression.right)
        return lambda run: equal(run, left(run), right(run))

    def _ordered(
        self,
        holds: Callable[[Run, Token, Any, Any], bool],
        token: Token,
        first: Expression,
        second: Expression,
    ) -> Evaluate:
        left, right = self.compiled(first), self.compiled(second)
        return lambda run: holds(run, token, left(run), right(run))

    def _filtered(self, expression: FilteredExpression) -> Evaluate:
        left = self.compiled(expression.left)
        filters = [self._filter(node) for node in expression.filters or ()]
        if not filters:
            return left
        if len(filters) == 1:
            only = filters[0]
            return lambda run: only(run, left(run))

        def evaluate(run: Run) -> Any:
            value = left(run)
            for apply in filters:
                value = apply(run, value)
            return value

        return evaluate

    def _filter(self, node: Filter) -> Callable[[Run, Any], Any]:
        name = node.name
        function = self._filters.get(name)
        if function is None:
            raise LiquidSyntaxError(f"unknown filter '{name}'", token=node.token)
        arguments = []
        keywords = {}
        for argument in node.args:
            if not isinstance(argument, KeywordArgument):
                arguments.append(self.compiled(argument.value))
            elif argument.name in _KEYWORDS.get(name, ()):
                keywords[argument.name] = self.compiled(argument.value)
            else:
                # A named argument would escape the price, which counts positional ones.
                reason = f"the filter '{name}' has no argument named '{argument.name}'"
                raise LiquidSyntaxError(reason, token=node.token)
        pay = price_of(name)
        price = 4 + len(arguments) + len(keywords)

        def apply(run: Run, value: Any) -> Any:
            run.spend(price)
            given = [argument(run) for argument in arguments]
            pay(run, value, given)
            named = {key: argument(run) for key, argument in keywords.items()} if keywords else {}
            try:
                return run.accept(function(value, *given, **named))
            except TypeError as exc:
                raise LiquidTypeError(f"{name}: {exc}", token=None) from exc

        return apply

    def _bound(self, function: Callable[..., Any]) -> Callable[..., Any]:
        if getattr(function, "with_environment", False):
            return partial(function, environment=self._environment)
        return function


def _constant(value: Any) -> Evaluate:
    return lambda _: value


def _negated(holds: Evaluate) -> Evaluate:
    return lambda run: not holds(run)


def _name(name: str, token: Token) -> Evaluate:
    hint = f"{name!r} is undefined"

    def evaluate(run: Run) -> Any:
        run.fuel -= 1
        if run.fuel < 0:
            raise OutOfFuel
        for scope in run.scopes:
            if name in scope:
                return scope[name]
        value = run.find(name)
        return run.undefined(name, hint, token) if value is MISSING else value

    return evaluate


def _at_most(run: Run, _token: Token, left: Any, right: Any) -> bool:
    return at_most(run, left, right)


def _items_of(run: Run, value: Any) -> Any:
    if is_undefined(value):
        return list(value.items())  # raises the error that it is undefined
    if isinstance(value, Loop):
        return ()
    if isinstance(value, dict):
        run.spend(len(value) >> 2)
        return list(value.items())
    if isinstance(value, str):
        return (value,) if value else ()
    return value if isinstance(value, list | tuple | range) else ()


def _part(run: Run, items: Any, part: slice) -> Any:
    run.spend(len(items) >> 2)
    return items[part]


def _integer(run: Run, value: Any) -> int:
    run.weigh(value)
    try:
        return to_int(value)
    except (ValueError, TypeError) as exc:
        raise LiquidTypeError(
            f"expected an integer, found {type(value).__name__}", token=None
        ) from exc


def _bound(value: Any) -> int:
    try:
        return to_int(value)
    except (ValueError, TypeError):
        return 0


def _range_of(start: int, stop: int) -> range:
    if start > stop:
        return range(0)
    if max(abs(start), abs(stop)) > RANGE_BOUND:
        raise TemplateRenderError(f"a range's ends may be up to {RANGE_BOUND}")
    if stop - start >= RANGE_LIMIT:
        raise TemplateRenderError(f"the range ({start}..{stop}) has more than {RANGE_LIMIT} items")
    return range(start, stop + 1)
