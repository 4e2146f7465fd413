"""Random Liquid, valid or nearly so, and the values to put into it: ordinary ones, and the largest
there may be.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Any

_CHARS = 32_768

ORDINARY: dict[str, Any] = {
    "name": "Ann <b>&\"'</b>",
    "text": "one two, two & three\nlines ",
    "nothing": "",
    "number": 12,
    "price": 3.5,
    "digits": "42",
    "yes": True,
    "no": False,
    "items": ["b", "a", "<c>", "a", 3],
    "numbers": [3, 1, 2, 2],
    "rows": [{"n": "tea", "q": 2}, {"n": "Pie", "q": 1}, {"q": None}],
    "user": {"name": "Bo", "first": "x", "address": {"city": "Bonn"}},
    "nested": [[1, [2, "x"]], ["y"]],
    "day": "2024-02-29 13:05",
}

LARGEST: dict[str, Any] = {
    "name": "a" * _CHARS,
    "text": "a <b>&amp;\n" * (_CHARS // 11),
    "nothing": " \n" * (_CHARS // 2),
    "number": 10**18,
    "price": 1.7976931348623157e308,
    "digits": "9" * 4_300,
    "yes": "&a" * (_CHARS // 2),
    "no": "<a " * (_CHARS // 3),
    "items": [f"{i:030}" for i in range(1_000)],
    "numbers": list(range(1_000)),
    "rows": [{"n": "tea" * 10, "q": i} for i in range(333)],
    "user": {f"k{i}": "\x00" * 100 for i in range(500)} | {"name": "é" * _CHARS},
    "nested": [[[["x"] * 200] for _ in range(2)] for _ in range(2)],
    "day": "%" * _CHARS,
}
FILTERS = (
    "abs", "append", "at_least", "at_most", "base64_decode", "base64_encode",
    "base64_url_safe_decode", "base64_url_safe_encode", "capitalize", "ceil", "compact", "concat",
    "date", "default", "divided_by", "downcase", "escape", "escape_once", "escapejs", "find",
    "find_index", "first", "floor", "has", "join", "last", "lstrip", "map", "minus", "modulo",
    "newline_to_br", "plus", "prepend", "reject", "remove", "remove_first", "remove_last",
    "replace", "replace_first", "replace_last", "reverse", "round", "rstrip", "safe", "size",
    "slice", "sort", "sort_natural", "split", "squish", "strip", "strip_html", "strip_newlines",
    "sum", "times", "truncate", "truncatewords", "uniq", "upcase", "url_decode", "url_encode",
    "where",
)  # fmt: skip
_ARGUMENTS = {
    "replace": 2, "replace_first": 2, "replace_last": 2, "append": 1, "prepend": 1, "remove": 1,
    "remove_first": 1, "remove_last": 1, "split": 1, "concat": 1, "map": 1, "where": 2, "reject": 2,
    "find": 2, "find_index": 2, "has": 2, "date": 1, "plus": 1, "minus": 1, "times": 1,
    "divided_by": 1, "modulo": 1, "at_least": 1, "at_most": 1, "slice": 2, "default": 1,
}  # fmt: skip


@dataclass
class Grammar:
    """Draws templates over the variables of ORDINARY and LARGEST; `heavy`: loops everywhere."""

    random: Random
    heavy: bool = False
    names: list[str] = field(default_factory=lambda: list(ORDINARY))

    def template(self) -> str:
        body = "".join(self._node(0) for _ in range(self.random.randint(1, 6)))
        if self.heavy and self.random.random() < 0.7:
            return (
                f"{{% for i in (1..{self.random.choice((20, 300, 2000))}) %}}{body}{{% endfor %}}"
            )
        return body

    def _pick(self, *choices: Callable[[], str]) -> str:
        return self.random.choice(choices)()

    def _value(self) -> str:
        return self._pick(
            lambda: self.random.choice(self.names),
            lambda: self.random.choice(self.names),
            lambda: self.random.choice(
                ("z", "i", "x", "forloop", "forloop.index", "now.x", "missing")
            ),
            lambda: self.random.choice(
                ("user.name", "user.address.city", "items[0]", "rows[1].n", "items.first")
            ),
            lambda: self.random.choice(
                ("rows.last", "name.size", "nested[0][1]", "user['k1']", "items[number]")
            ),
            lambda: self.random.choice(
                ("'n'", "'a'", '"q"', "''", "' '", "','", "'<b>'", "'%Y-%m-%d'", "'aab'")
            ),
            lambda: self.random.choice(
                ("1", "0", "-1", "2.5", "7", "true", "false", "nil", "empty", "blank")
            ),
            lambda: self.random.choice(("(1..3)", "(0..number)", "(1..2000)", "(5..1)")),
        )

    def _expression(self) -> str:
        text = self._value()
        for _ in range(self.random.choice((0, 0, 1, 1, 2, 3))):
            name = self.random.choice(FILTERS)
            count = _ARGUMENTS.get(name, self.random.choice((0, 0, 0, 1)))
            if name in {"where", "reject", "find", "has", "slice"}:
                count = self.random.randint(1, count)
            values = ", ".join(self._value() for _ in range(count))
            text += f" | {name}: {values}" if values else f" | {name}"
        return text

    def _condition(self) -> str:
        text = self._value()
        if self.random.random() < 0.7:
            text += (
                f" {self.random.choice(('==', '!=', '<', '>', '<=', '>=', 'contains', '<>'))}"
                f" {self._value()}"
            )
        if self.random.random() < 0.3:
            text += f" {self.random.choice(('and', 'or'))} {self._value()}"
        return text

    def _dash(self) -> str:
        return self.random.choice(("", "", "", "-"))

    def _tag(self, text: str) -> str:
        return f"{{%{self._dash()} {text} {self._dash()}%}}"

    def _block(self, depth: int) -> str:
        return "".join(self._node(depth + 1) for _ in range(self.random.randint(0, 3)))

    def _node(self, depth: int) -> str:
        simple: list[Callable[[], str]] = [
            lambda: self.random.choice((" text ", "\n", "  \n ", "x", "<p>", " } ", "{ ")),
            lambda: f"{{{{{self._dash()} {self._expression()} {self._dash()}}}}}",
            lambda: f"{{{{ {self._expression()} }}}}",
            lambda: self._tag(f"assign {self.random.choice('xyz')} = {self._expression()}"),
            lambda: self._tag(f"echo {self._expression()}"),
            lambda: self._tag(f"cycle {self._value()}, {self._value()}"),
            lambda: self._tag(f"cycle {self._value()}: {self._value()}, {self._value()}"),
            lambda: self._tag(
                f"{self.random.choice(('increment', 'decrement'))} {self.random.choice('xyw')}"
            ),
            lambda: self._tag(self.random.choice(("break", "continue", "# a comment"))),
            lambda: "{% comment %} {{ x }} {% if %} {% endcomment %}",
            lambda: "{% raw %} {{ x }} {% endraw -%}",
            lambda: "{% liquid\n assign y = 1\n echo y\n%}",
        ]
        if depth > 2:
            return self._pick(*simple)
        return self._pick(
            *simple,
            lambda: self._if(depth),
            lambda: (
                self._tag(f"unless {self._condition()}")
                + self._block(depth)
                + self._tag("endunless")
            ),
            lambda: self._case(depth),
            lambda: self._for(depth),
            lambda: self._for(depth),
            lambda: (
                self._tag(f"capture {self.random.choice('xyz')}")
                + self._block(depth)
                + self._tag("endcapture")
            ),
            lambda: self._tag("ifchanged") + self._block(depth) + self._tag("endifchanged"),
            lambda: self._table(depth),
        )

    def _if(self, depth: int) -> str:
        text = self._tag(f"if {self._condition()}") + self._block(depth)
        if self.random.random() < 0.4:
            text += self._tag(f"elsif {self._condition()}") + self._block(depth)
        if self.random.random() < 0.4:
            text += self._tag("else") + self._block(depth)
        return text + self._tag("endif")

    def _case(self, depth: int) -> str:
        text = self._tag(f"case {self._value()}")
        for _ in range(self.random.randint(1, 2)):
            text += self._tag(f"when {self._value()}, {self._value()}") + self._block(depth)
        return text + self._tag("else") + self._block(depth) + self._tag("endcase")

    def _arguments(self) -> str:
        return self.random.choice(
            (
                "",
                "",
                " reversed",
                " limit: 2",
                " offset: 1",
                " limit: 2 offset: 1",
                " offset: continue",
                " limit: x",
            )
        )

    def _for(self, depth: int) -> str:
        text = self._tag(
            f"for {self.random.choice('xi')} in {self._value()}{self._arguments()}"
        ) + self._block(depth)
        if self.random.random() < 0.2:
            text += self._tag("else") + self._block(depth)
        return text + self._tag("endfor")

    def _table(self, depth: int) -> str:
        head = self._tag(f"tablerow x in {self._value()} cols: 2{self._arguments()}")
        return head + self._block(depth) + self._tag("endtablerow")
