"""Templates written to starve the process, by what they attack.

Each was, or would be, minutes of work or memory.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

_BIG = 32_768
NUMBERS = list(range(1_000))


@dataclass(frozen=True)
class Bomb:
    name: str
    template: str
    variables: dict[str, Any] = field(default_factory=dict)


def loop(body: str, times: int = 2_000) -> str:
    return f"{{% for i in (1..{times}) %}}{body}{{% endfor %}}"


def blocks(tag: str, condition: str, depth: int, body: str = "x") -> str:
    return f"{{% {tag} {condition} %}}" * depth + body + f"{{% end{tag} %}}" * depth


def bombs() -> Iterator[Bomb]:
    yield from _ranges()
    yield from _doubling()
    yield from _loops()
    yield from _filters()
    yield from _values()
    yield from _reading()
    yield from _reading_at_the_limits()


def _ranges() -> Iterator[Bomb]:
    yield Bomb("range_contains", '{% if (1..99999999999) contains "x" %}y{% endif %}')
    yield Bomb("range_join", "{{ (1..9999999) | join: ',' | size }}")
    yield Bomb(
        "range_for_reversed", "{% for i in (1..99999999) reversed limit: 99999999 %}{% endfor %}"
    )
    yield Bomb("range_concat", "{% assign x = (1..2000000) | concat: (1..2000000) | uniq %}")
    yield Bomb(
        "range_of_variables",
        "{% for i in (a..b) reversed %}{% endfor %}",
        {"a": -(10**18), "b": 10**18},
    )
    yield Bomb("range_offset", "{% for i in (1..b) offset: 999999999 %}{% endfor %}", {"b": 10**9})
    yield Bomb("range_contains_in_loop", loop("{% if (1..2000) contains 'x' %}{% endif %}"))


def _doubling() -> Iterator[Bomb]:
    capture = "{% capture c %}{{ c }}{{ c }}{% endcapture %}"
    yield Bomb(
        "capture_doubling",
        "{% capture c %}aaaaaaaaaaaaaaaa{% endcapture %}" + capture * 50 + "{{ c | size }}",
    )
    assign = "{% assign s = s | append: s %}"
    yield Bomb(
        "assign_doubling", "{% assign s = 'aaaaaaaaaaaaaaaa' %}" + assign * 60 + "{{ s | size }}"
    )
    concat = "{% assign l = l | concat: l %}"
    yield Bomb(
        "concat_doubling", concat * 60 + "{{ l | size }}", {"l": [f"s{i:04}" for i in range(1_000)]}
    )
    square = "{% assign x = x | times: x %}"
    yield Bomb("times_big", "{% assign x = 99999999 %}" + square * 40 + "{{ x }}")
    yield Bomb("replace_doubling", "{{ 'a' " + "| replace: 'a', 'aaaaaaaaaa' " * 30 + "}}")
    yield Bomb("replace_each", "{{ s | replace: 'a', s | size }}", {"s": "a" * _BIG})
    yield Bomb("replace_empty", "{{ s | replace: '', s | size }}", {"s": "a" * _BIG})
    escaped = "{% capture c %}{{ s }}{% endcapture %}{{ c | replace: '<', s | size }}"
    yield Bomb("replace_what_is_escaped", escaped, {"s": "<" * 8_000})
    yield Bomb("join_big_separator", "{{ l | join: s | size }}", {"l": NUMBERS, "s": "a" * _BIG})


def _loops() -> Iterator[Bomb]:
    text = "{{ x }}" * 330
    yield Bomb("loop_outputs", loop(text), {"x": "abc"})
    yield Bomb("loop_nothing", loop("", 2_000) * 50)
    inner = "{% for b in l limit: 1 offset: 999 %}" + "{{ b }}" * 900 + "{% endfor %}"
    yield Bomb(
        "loop_limit_offset",
        "{% for a in l limit: 999999999999 offset: 0 %}" + inner + "{% endfor %}",
        {"l": NUMBERS},
    )
    yield Bomb("loop_assigns", loop("{% assign x = i %}" * 490))
    yield Bomb(
        "loop_elsif",
        loop("{% if b == 1 %}" + "{% elsif a == b %}y" * 400 + "{% endif %}"),
        {"a": 1, "b": 2},
    )
    row = "{% tablerow x in l cols: 1 limit: 1 %}" + "{{ x }}" * 480 + "{% endtablerow %}"
    yield Bomb("loop_tablerow", loop(row, 900), {"l": [""]})
    count = "{% capture x %}" + "{% increment a %}{% decrement b %}" * 240 + "{% endcapture %}"
    yield Bomb("loop_increment", loop(count))
    yield Bomb(
        "loop_capture",
        loop("{% capture c %}" + "{{ s }}" * 400 + "{% endcapture %}"),
        {"s": "abcdef"},
    )
    yield Bomb(
        "loop_capture_itself",
        loop("{% capture c %}{{ c }}{{ s }}{% endcapture %}"),
        {"s": "a" * 30_000, "c": ""},
    )
    yield Bomb(
        "loop_break_and_again", loop("{% for j in l %}{% break %}{% endfor %}"), {"l": NUMBERS}
    )
    yield Bomb("loop_cycle_lists", loop("{% cycle l, l %}"), {"l": NUMBERS})
    yield Bomb("loop_cycle_groups", loop("{% cycle l: 1, 2 %}"), {"l": NUMBERS})
    yield Bomb(
        "loop_ifchanged",
        loop("{% ifchanged %}{{ s }}{{ i }}{% endifchanged %}"),
        {"s": "a" * 3_000},
    )
    yield Bomb(
        "loop_case", loop("{% case i %}{% when " + ",".join(["0"] * 450) + " %}x{% endcase %}")
    )
    yield Bomb("loop_undefined", loop("{% if a.b.c %}x{% endif %}" * 60), {"a": {"x": 1}})
    yield Bomb("loop_table_of_rows", loop("{{ i }}", 2_000) + loop("{{ i }}", 2_000))
    yield Bomb(
        "loop_of_operators",
        loop("{% if " + " or ".join(["a"] * 38) + " %}x{% endif %}"),
        {"a": False},
    )


def _filters() -> Iterator[Bomb]:
    yield Bomb("include_render", "{% include 'x' %}{% render 'x' for l %}", {"l": NUMBERS})
    yield Bomb("date_width", "{{ 'now' | date: '%999999999Y' | size }}")
    yield Bomb("date_width_flag", "{{ 'now' | date: '%_999999999Y' | size }}")
    dates = "{% capture c %}" + "{{ 0 | date: f }}" * 200 + "{% endcapture %}"
    yield Bomb("date_format", loop(dates), {"f": "%c" * 49})
    yield Bomb("date_text", "{{ s | date: '%Y' }}", {"s": "1 " * 16_000})
    decimals = "{{ '1e999999' | times: 1.5 }}{{ x | plus: 1 }}{{ '1e99999999' | floor }}"
    yield Bomb("decimal_exponent", decimals * 40, {"x": "1e9999999"})
    yield Bomb("digits", "{{ s | plus: 1 }}" * 100, {"s": "9" * 4_300})
    yield Bomb("sum_of_digits", "{{ l | sum }}" * 100, {"l": ["9" * 4_300] * 7})
    yield Bomb("strip_html", "{{ s | strip_html | size }}" * 200, {"s": "<a " * 500})
    yield Bomb("strip_html_big", "{{ s | strip_html | size }}", {"s": "<a " * 10_900 + ">"})
    yield Bomb(
        "strip_html_comments", "{{ s | strip_html | size }}" * 9, {"s": "<!--" * 8_000 + ">"}
    )
    yield Bomb("escape_once", "{{ s | escape_once | size }}" * 100, {"s": "&a" * 16_384})
    yield Bomb("url_decode", "{{ s | url_decode | size }}" * 100, {"s": "a%" * 16_384})
    yield Bomb("escapejs", "{{ s | escapejs | size }}" * 100, {"s": "\x00" * _BIG})
    yield Bomb("squish", "{{ s | squish | size }}" * 100, {"s": "a " * 16_384})
    late = {"s": "a" * _BIG, "t": "b" + "a" * 16_000}
    yield Bomb("search_backward", "{{ s | remove_last: t | size }}", late)
    short = {"s": "a" * 2_499, "t": "a" * 600 + "b" + "a" * 600}
    yield Bomb("search_short", loop("{% if s contains t %}x{% endif %}"), short)
    yield Bomb(
        "split_letters",
        "{{ s | split: '' | join: ',' | split: ',' | size }}" * 20,
        {"s": "a" * _BIG},
    )
    yield Bomb("uniq", "{{ l | concat: l | concat: l | uniq | size }}" * 9, {"l": NUMBERS})
    rows = {"l": [{"a": "x" * 20, "b": 1, "c": i} for i in range(250)]}
    yield Bomb("uniq_rows", "{{ l | uniq | size }}" * 20, rows)
    yield Bomb(
        "map_by_object", loop("{% assign x = l | map: d %}"), {"l": NUMBERS, "d": {"a": NUMBERS}}
    )
    yield Bomb(
        "where_in_texts",
        "{% assign x = l | where: k %}" * 20,
        {"l": ["a" * 30_000] * 30, "k": "a" * 90 + "b"},
    )
    yield Bomb(
        "sort_long",
        "{% assign x = l | sort %}" * 20,
        {"l": ["a" * 30_000 + str(i) for i in range(30)]},
    )
    yield Bomb("named_argument", "{{ s | replace: seq: 'a', sub: s }}", {"s": "a" * _BIG})


def _values() -> Iterator[Bomb]:
    nested = {f"k{i}": ["x" * 30_000] * 9 for i in range(100)}
    yield Bomb("value_shown", "{{ d }}", {"d": nested})
    yield Bomb(
        "value_compared", loop("{% if d == e %}x{% endif %}"), {"d": nested, "e": dict(nested)}
    )
    yield Bomb(
        "value_contains", loop("{% if l contains d %}x{% endif %}"), {"l": [nested], "d": nested}
    )
    deep = [[[["x" * 10] * 200]] for _ in range(4)]
    yield Bomb("value_flattened", loop("{{ l | join }}"), {"l": deep})
    yield Bomb(
        "value_repeated",
        "{% assign l = l | concat: l %}" * 9 + "{{ l }}",
        {"l": [{"a": "x" * 3_000}] * 9},
    )
    yield Bomb("control_characters", "{{ l }}" * 9, {"l": ["\x00" * 30_000] * 9})
    yield Bomb("escaped_values", "<p>{{ s }}</p>" * 400, {"s": "<" * _BIG})
    yield Bomb(
        "items_of_an_object",
        loop("{% for p in d limit: 1 %}{% endfor %}"),
        {"d": {str(i): i for i in NUMBERS}},
    )


def _reading() -> Iterator[Bomb]:
    yield Bomb("lex_blanks_output", "{{" + " " * 65_500 + "}}")
    yield Bomb("lex_open_outputs", "{{" * 32_000)
    yield Bomb("lex_open_tags", "{%" * 32_000)
    yield Bomb("lex_open_raws", "{% raw %}" * 7_200)
    yield Bomb("lex_open_docs", "{% doc %}" * 7_200)
    yield Bomb("lex_open_outputs_in_comment", "{% comment %}" + "{{" * 32_000)
    yield Bomb("lex_open_tags_in_comment", "{% comment %}" + "{% " * 20_000 + "%}")
    yield Bomb("lex_blank_raws", ("{%" + " " * 998) * 65)
    yield Bomb("lex_parens", "{% if " + "(" * 65_400 + " %}x{% endif %}")
    yield Bomb("lex_many_parens", ("{{ " + "(" * 440 + " }}") * 145)
    yield Bomb("parse_index_path", "{{ a" + "[0]" * 21_800 + " }}", {"a": "x"})
    yield Bomb("parse_if_nest", blocks("if", "a", 3_000), {"a": "x"})
    yield Bomb("parse_unclosed_comments", "{% comment %}" * 5_000)
    yield Bomb("parse_liquid_nest", "{% " + "liquid " * 9_000 + "%}")
    yield Bomb("parse_liquid_lines", "{% liquid\n" + "assign a = 1\n" * 5_000 + "%}")
    yield Bomb("parse_number", "{{ " + "9" * 60_000 + " }}")
    yield Bomb("parse_inline_comment", "{% # " + "\n" * 60_000 + "x %}")


def _reading_at_the_limits() -> Iterator[Bomb]:
    """Yield as much as the limits allow."""
    yield Bomb("limit_outputs", "{{ a|b:c,d|e:f,1}}" * 480 + "z" * 50_000)
    yield Bomb("limit_filters", ("{{ a" + "|size" * 198 + " }}") * 11, {"a": "x"})
    yield Bomb("limit_parens", ("{{ " + "((((((((((((((((" + "a" * 900 + " }}") * 12)
    yield Bomb("limit_brackets", ("{{ a" + "['b" * 16 + "'c" * 440 + " }}") * 12)
    yield Bomb(
        "limit_operators",
        ("{% if " + " or ".join(["a == 1"] * 20) + " %}x{% endif %}") * 50,
        {"a": 2},
    )
    yield Bomb("limit_nesting", blocks("if", "a", 18) * 13, {"a": "x"})
    yield Bomb("limit_cycle", ("{% cycle " + "1," * 480 + "1 %}") * 11)
    yield Bomb(
        "limit_case", ("{% case a %}{% when " + "1," * 450 + "1 %}x{% endcase %}") * 12, {"a": 1}
    )
    yield Bomb("limit_inline_comments", ("{% # " + ("\n" * 98 + "#") * 10 + " %}") * 11)
    yield Bomb("limit_liquid", "{% liquid\n" + "assign a = 'b'\n" * 480 + "%}")
    yield Bomb("limit_paths", ("{{ a" + ".b" * 490 + " }}") * 12, {"a": {}})
    yield Bomb("limit_quotes", ("{{ a | replace: '" + '"' * 900 + "' }}") * 12, {"a": "x"})
