"""Liquid's tags as Python closures: python-liquid reads the grammar, this renders it in budget."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from liquid import Environment, Undefined
from liquid.ast import BlockNode, IllegalNode, Node
from liquid.builtin.content import ContentNode
from liquid.builtin.output import OutputNode
from liquid.builtin.tags.assign_tag import AssignNode
from liquid.builtin.tags.capture_tag import CaptureNode
from liquid.builtin.tags.case_tag import CaseNode, MultiExpressionBlockNode
from liquid.builtin.tags.comment_tag import CommentNode
from liquid.builtin.tags.cycle_tag import CycleNode
from liquid.builtin.tags.decrement_tag import DecrementNode
from liquid.builtin.tags.doc_tag import DocNode
from liquid.builtin.tags.for_tag import BreakNode, ContinueNode, ForNode
from liquid.builtin.tags.if_tag import IfNode
from liquid.builtin.tags.ifchanged_tag import IfChangedNode
from liquid.builtin.tags.increment_tag import IncrementNode
from liquid.builtin.tags.liquid_tag import LiquidNode
from liquid.builtin.tags.tablerow_tag import TablerowNode
from liquid.builtin.tags.unless_tag import UnlessNode
from liquid.exceptions import BreakLoop, ContinueLoop, LiquidInterrupt, LiquidSyntaxError
from liquid.limits import to_int
from liquid.undefined import is_undefined
from markupsafe import Markup

from backend.services.templates.liquid.compare import equal
from backend.services.templates.liquid.expressions import Expressions
from backend.services.templates.liquid.limits import CHARS_SHIFT, OutOfFuel, TemplateRenderError
from backend.services.templates.liquid.run import Run, ShownLoop, ShownRow

Render = Callable[[Run], None]


class Compiler:
    """Compiles the nodes of one environment; an unknown kind is a LiquidSyntaxError."""

    def __init__(self, environment: Environment) -> None:
        self._expressions = Expressions(environment)
        self._environment = environment
        self._kinds: dict[type[Node], Callable[[Any], Render]] = {
            AssignNode: self._assign,
            BlockNode: self._block,
            BreakNode: lambda _: _interrupt(BreakLoop, "break"),
            CaptureNode: self._capture,
            CaseNode: self._case,
            ContentNode: _content,
            ContinueNode: lambda _: _interrupt(ContinueLoop, "continue"),
            CycleNode: self._cycle,
            DecrementNode: lambda node: _count(node.name, -1),
            ForNode: self._for,
            IfChangedNode: self._if_changed,
            IfNode: lambda node: self._if(node, holds=True),
            IncrementNode: lambda node: _count(node.name, 1),
            LiquidNode: lambda node: self._block(node.block),
            TablerowNode: self._tablerow,
            UnlessNode: lambda node: self._if(node, holds=False),
        }

    def template(self, nodes: Iterable[Node]) -> Render:
        body = _sequence(self._nodes(nodes))

        def render(run: Run) -> None:
            try:
                body(run)
            except LiquidInterrupt as exc:
                raise TemplateRenderError(f"unexpected '{exc}'") from exc

        return render

    def _nodes(self, nodes: Iterable[Node]) -> list[Render]:
        steps: list[Render] = []
        for node in nodes:
            if isinstance(node, CommentNode | DocNode | IllegalNode):
                continue
            if isinstance(node, OutputNode):
                steps.append(self._output(node))
                continue
            compiler = self._kinds.get(type(node))
            if compiler is None:
                raise LiquidSyntaxError("a tag of an unknown kind", token=node.token)
            steps.append(compiler(node))
        return steps

    def _block(self, block: BlockNode) -> Render:
        """Return what renders a block; a block with nothing to show drops its white space too."""
        nodes = block.nodes
        if block.blank:
            nodes = [node for node in nodes if not isinstance(node, ContentNode)]
        return _sequence(self._nodes(nodes))

    def _output(self, node: OutputNode) -> Render:
        evaluate = self._expressions.compiled(node.expression)
        return lambda run: run.write(run.text_of(evaluate(run)))

    def _assign(self, node: AssignNode) -> Render:
        evaluate = self._expressions.compiled(node.expression)
        name = str(node.name)

        def render(run: Run) -> None:
            run.spend(1)
            run.locals[name] = evaluate(run)

        return render

    def _capture(self, node: CaptureNode) -> Render:
        body, name = self._block(node.block), str(node.name)

        def render(run: Run) -> None:
            text = _captured(run, body)
            run.locals[name] = Markup(text) if run.html else text  # noqa: S704 (already escaped)

        return render

    def _if_changed(self, node: IfChangedNode) -> Render:
        body = self._block(node.block)

        def render(run: Run) -> None:
            text = _captured(run, body)
            if text != run.changed:
                run.changed = text
                run.write(text)

        return render

    def _if(self, node: IfNode | UnlessNode, *, holds: bool) -> Render:
        condition, body = self._expressions.condition(node.condition), self._block(node.consequence)
        others = [
            (self._expressions.condition(other.expression), self._block(other.block))
            for other in node.alternatives
        ]
        default = None if node.default is None else self._block(node.default)

        def render(run: Run) -> None:
            run.spend(1)
            if condition(run) is holds:
                body(run)
                return
            for is_met, other in others:
                run.spend(1)
                if is_met(run):
                    other(run)
                    return
            if default is not None:
                default(run)

        return render

    def _case(self, node: CaseNode) -> Render:
        left = self._expressions.compiled(node.expression)
        parts: list[tuple[list[Any] | None, Render]] = []
        for block in node.blocks:
            if isinstance(block, MultiExpressionBlockNode):
                values = [
                    self._expressions.compiled(value) for value in block.expression.expressions
                ]
                parts.append((values, self._block(block.block)))
            else:
                parts.append((None, self._block(block)))

        def render(run: Run) -> None:
            run.spend(1)
            has_matched = False
            for values, body in parts:
                if values is None:
                    if not has_matched:
                        body(run)
                    continue
                value = left(run)
                # A value that is listed twice shows the block twice.
                for _ in range([equal(run, value, other(run)) for other in values].count(True)):
                    has_matched = True
                    body(run)

        return render

    def _for(self, node: ForNode) -> Render:
        loop, body = self._expressions.loop(node.expression), self._block(node.block)
        default = None if node.default is None else self._block(node.default)
        variable = str(node.expression.identifier)
        name = f"{variable}-{node.expression.iterable}"
        environment = self._environment

        def render(run: Run) -> None:
            run.spend(3)
            items = loop(run)
            if not items:
                if default is not None:
                    default(run)
                return
            run.iterate(len(items))
            shown = ShownLoop(name, len(items), _parent(run, environment))
            scope = {"forloop": shown, variable: None}
            run.loops.append(shown)
            run.scopes.insert(0, scope)
            try:
                for index, item in enumerate(items):
                    run.fuel -= 1
                    if run.fuel < 0:
                        raise OutOfFuel
                    shown.at(index)
                    scope[variable] = item
                    try:
                        body(run)
                    except ContinueLoop:
                        continue
                    except BreakLoop:
                        break
            finally:
                run.loops.pop()
                del run.scopes[0]

        return render

    def _tablerow(self, node: TablerowNode) -> Render:
        loop, body = self._expressions.loop(node.expression), self._block(node.block)
        columns = (
            None
            if node.expression.cols is None
            else self._expressions.compiled(node.expression.cols)
        )
        variable = str(node.expression.identifier)

        def render(run: Run) -> None:
            run.spend(3)
            items = loop(run)
            if not items:
                return
            width = len(items) if columns is None else _columns(run, columns(run))
            run.iterate(len(items))
            shown = ShownRow(variable, len(items), width)
            scope: dict[str, Any] = {"tablerowloop": shown}
            run.write('<tr class="row1">\n')
            run.loops.append(shown)
            run.scopes.insert(0, scope)
            try:
                for item in items:
                    shown.step()
                    scope[variable] = item
                    if _cell(run, body, shown):
                        break
            finally:
                run.loops.pop()
                del run.scopes[0]
            run.write("</tr>\n")

        return render

    def _cycle(self, node: CycleNode) -> Render:
        group = None if node.group is None else self._expressions.compiled(node.group)
        values = [self._expressions.compiled(value) for value in node.args]

        def render(run: Run) -> None:
            run.spend(1 + len(values))
            name = ""
            if group is not None:
                named = group(run)
                run.weigh(named)
                name = "__UNDEFINED" if is_undefined(named) else str(named)
            given = [value(run) for value in values]
            if not name:
                run.weigh(given)
                name = str(given)
            index = run.cycles.setdefault(name, 0)
            run.cycles[name] = (index + 1) % len(given)
            if index < len(given):
                run.write(run.text_of(given[index]))

        return render


def _sequence(steps: Sequence[Render]) -> Render:
    if len(steps) == 1:
        return steps[0]
    fixed = tuple(steps)

    def render(run: Run) -> None:
        for step in fixed:
            step(run)

    return render


def _content(node: ContentNode) -> Render:
    text = node.text
    price, size = 1 + (len(text) >> CHARS_SHIFT), len(text.encode("utf-8", "surrogatepass"))

    def render(run: Run) -> None:
        run.fuel -= price
        if run.fuel < 0:
            raise OutOfFuel
        run.put(text, size)

    return render


def _interrupt(kind: type[LiquidInterrupt], name: str) -> Render:
    def render(run: Run) -> None:
        run.spend(1)
        raise kind(name)

    return render


def _count(identifier: str, step: int) -> Render:
    name = str(identifier)

    def render(run: Run) -> None:
        before = run.counters.get(name, 0)
        after = run.counters[name] = before + step
        # {% increment %} shows the old value, {% decrement %} the new one.
        run.write(str(min(before, after)))

    return render


def _captured(run: Run, body: Render) -> str:
    """Return the output of `body` instead of writing it; it is paid for, with the same limit."""
    run.spend(1)
    out, size = run.out, run.size
    run.out = []
    try:
        body(run)
        return "".join(run.out)
    finally:
        run.out, run.size = out, size


def _cell(run: Run, body: Render, shown: ShownRow) -> bool:
    """Render a cell of a row; True: the loop ends here."""
    run.write(f'<td class="col{shown.col}">')
    is_last = False
    try:
        body(run)
    except BreakLoop:
        is_last = True
    except ContinueLoop:
        pass
    run.write("</td>")
    if shown.col_last and not shown.last:
        run.write(f'</tr>\n<tr class="row{shown.row + 1}">')
    return is_last


def _columns(run: Run, value: Any) -> int:
    run.weigh(value)
    try:
        return to_int(value)
    except ValueError:
        return 0


def _parent(run: Run, environment: Environment) -> object:
    for loop in reversed(run.loops):
        if isinstance(loop, ShownLoop):
            return loop
    undefined: type[Undefined] = environment.undefined
    return undefined("parentloop", token=None)
