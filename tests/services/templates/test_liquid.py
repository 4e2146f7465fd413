"""Templates render as Liquid says, quickly, and cannot starve the process."""

from __future__ import annotations

import time

import pytest

from backend.services.templates.liquid.engine import (
    CompiledTemplate,
    Meter,
    TemplateRenderError,
    TemplateSyntaxError,
    compile_template,
    variables_of,
)

VALUES: dict[str, object] = {
    "name": "Ann <b>&\"'</b>",
    "code": 12345,
    "rate": 1.5,
    "ok": True,
    "no": False,
    "items": ["a", "<b>", 3],
    "user": {"name": "x"},
    "nothing": "",
    "first-name": "Bo",
}
PLAIN = [
    "Hello {{name}}, code {{ code }}",
    "{{name}}",
    "{{ rate }}/{{ok}}/{{no}}/{{items}}/{{user}}/{{nothing}}",
    "  {{- name -}}  tail",
    "no variables",
    "{{first-name}} {{first-name}}",
    "a { b } {{code}} }} %}",
    "",
]


@pytest.mark.parametrize("html", [False, True])
@pytest.mark.parametrize("text", PLAIN)
def test_the_fast_path_gives_exactly_what_liquid_gives(text: str, html: bool) -> None:
    template = CompiledTemplate(text, html=html)
    assert template.is_plain
    rendered = template.render(VALUES)
    assert type(rendered) is str
    assert rendered == template._render_liquid(VALUES)


@pytest.mark.parametrize(
    "text",
    [
        "{{ name | upcase }}",
        "{% if ok %}yes{% endif %}",
        "{{ user.name }}",
        "{{ 'literal' }}",
        "{{ items[0] }}",
        "{% comment %}x{% endcomment %}",
    ],
)
def test_everything_else_goes_through_liquid(text: str) -> None:
    assert not CompiledTemplate(text, html=False).is_plain


def test_html_values_are_escaped_and_text_values_are_not() -> None:
    values = {"name": "<script>"}
    assert compile_template("Hi {{name}}", html=True).render(values) == "Hi &lt;script&gt;"
    assert compile_template("Hi {{name}}").render(values) == "Hi <script>"
    assert (
        compile_template("<b>{{name | upcase}}</b>", html=True).render(values)
        == "<b>&lt;SCRIPT&gt;</b>"
    )


def test_variables_are_found_in_order_of_first_appearance_without_local_names() -> None:
    text = (
        "{{ b }}{% if a %}{{ c | default: d }}{% endif %}{% for x in xs %}{{ x.y }}{{ forloop.index"
        " }}{% endfor %}{% assign z = q %}{{ z }}{{ user.name }}{{ b }}"
    )
    assert variables_of(text) == ["b", "a", "c", "d", "xs", "q", "user"]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("Hello {{ name", 1),
        ("a\nb\n{% if %}x{% endif %}", 3),
        ("a\n{% if x %}never closed", 2),
        ("a\n{{ x | shout }}", 2),
        ("{% include 'other' %}", 1),
        ("x\n\n\n{% render 'other' %}", 4),
        ("{{ a b }}", 1),
    ],
)
def test_a_syntax_error_names_its_line(text: str, line: int) -> None:
    with pytest.raises(TemplateSyntaxError) as caught:
        compile_template(text)
    assert caught.value.line == line
    assert caught.value.reason


@pytest.mark.parametrize(
    "text",
    [
        "{% assign s = 'aaaaaaaaaaaaaaaa' %}" + "{% assign s = s | append: s %}" * 40 + "{{ s }}",
        "{{ 'a' " + "| replace: 'a', 'aaaaaaaaaa' " * 30 + "}}",
        "{{ (1..many) | join: ',' }}",
        "{% for i in (1..many) %}x{% endfor %}",
        "{% for i in (1..100) %}{% for j in (1..100) %}x{% endfor %}{% endfor %}",
        "{% for i in (1..1500) %}x{% endfor %}" * 4,
        "{% assign x = 99999999 %}" + "{% assign x = x | times: x %}" * 30 + "{{ x }}",
        "{% for i in (1..1000) %}{{ big | upcase }}{% endfor %}",
        "{{ big }}" * 40,
        (
            "{% for i in (1..1000) %}{% capture c %}{{ c }}{{ big }}{% endcapture %}{% endfor %}{{"
            " c }}"
        ),
    ],
)
def test_no_template_renders_without_limits(text: str) -> None:
    started = time.perf_counter()
    with pytest.raises(TemplateRenderError):
        compile_template(text).render({"big": "x" * 30_000, "c": "", "many": 1_000_000})
    assert time.perf_counter() - started < 1.0


@pytest.mark.parametrize(
    ("text", "line", "reason"),
    [
        ("{{ (1..10000000000) | join: ',' }}", 1, "a range's ends may be up to 1000000000"),
        (
            "a\n{% for i in (1..1000000) %}x{% endfor %}",
            2,
            "the range (1..1000000) has more than 2000 items",
        ),
        ("\n" + "{{ a }}" * 501, 2, "a text may have 500 outputs and tags"),
        ("{% liquid\n" + "echo a\n" * 501 + "%}", 2, "a text may have 500 outputs and tags"),
        (
            "a\n\n{{ a " + "x" * 1_000 + " }}",
            3,
            "'{{' is not closed by '}}' within 1000 characters",
        ),
        (
            "{{ a" + ".bcd" * 240 + " }}\n" + ("{{ a" + ".bcd" * 240 + " }}") * 12,
            2,
            "12000 characters together",
        ),
        ("\n{{ a" + "[0]" * 17 + " }}", 2, "an output or tag may have 16 brackets"),
        (
            "\n{% if a " + "or a " * 41 + "%}{% endif %}",
            2,
            "an output or tag may have 40 operators",
        ),
        ("\n{{ a" + " " * 101 + "| size }}", 2, "an output or tag may have 100 blanks in a row"),
        ("{% if a %}\n" * 21 + "{% endif %}" * 21, 21, "tags may be nested 20 deep"),
        ("x\n{% raw %}{{ a }}", 2, "'raw' is not closed by 'endraw'"),
        ("{{ 1 }}\n{{ 99999999999999999999 }}", 2, "a number is larger than 1000000000000000000"),
        ("\n\n{{ a | replace: seq: 'b' }}", 3, "the filter 'replace' has no argument named 'seq'"),
    ],
)
def test_what_is_known_to_be_wrong_is_refused_with_its_line(
    text: str, line: int, reason: str
) -> None:
    with pytest.raises(TemplateSyntaxError) as caught:
        compile_template(text)
    assert caught.value.line == line
    assert reason in caught.value.reason


def test_ordinary_templates_use_little_of_their_fuel() -> None:
    """They are the measure for a project's buckets and a rendering's limit."""
    rows = [{"name": f"Item {n}", "qty": n, "price": 1.5 * n} for n in range(333)]
    order = (
        "{% for r in rows %}{{ r.name }}: {% if r.qty > 9 %}{{ r.price | round: 1 }}{% endif %}{%"
        " endfor %}"
    )
    html = (
        "<table>"
        + "<tr><td>{{ user.name | escape }}</td></tr>"
        + "<p>Lorem ipsum dolor sit amet.</p>" * 600
    )
    for text, values, most in (
        (
            "Your code is {{code}}. It ends in {{minutes}} minutes.",
            {"code": "123456", "minutes": 5},
            10,
        ),
        (order, {"rows": rows[:20]}, 500),
        (order, {"rows": rows}, 8_000),
        (html, {"user": {"name": "Ann"}}, 500),
    ):
        meter = Meter()
        compile_template(text).render(values, meter)
        assert 0 < meter.fuel <= most


def test_an_undefined_name_is_an_error_unless_the_template_asks() -> None:
    values: dict[str, object] = {"user": {}}
    with pytest.raises(TemplateRenderError, match=r"user\.name is undefined"):
        compile_template("{{ user.name }}").render(values)
    with pytest.raises(TemplateRenderError, match="'name' is undefined"):
        compile_template("{{ name }}").render(values)
    assert compile_template("{{ user.name | default: 'you' }}").render(values) == "you"
    assert compile_template("{% if user.name %}a{% else %}b{% endif %}").render(values) == "b"


def test_a_template_is_parsed_once() -> None:
    assert compile_template("Hi {{name}} again") is compile_template("Hi {{name}} again")
    assert compile_template("Hi {{name}} again") is not compile_template(
        "Hi {{name}} again", html=True
    )


def test_rendering_is_cheap_enough_for_the_send_path() -> None:
    text, values = (
        "Hello {{name}}, welcome to {{company}}! Your code is: {{code}}",
        {"name": "A", "company": "B", "code": 1},
    )
    rounds = 2_000
    best_us = min(_render_us(text, values, rounds) for _ in range(5))
    assert best_us < 60


def _render_us(text: str, values: dict[str, object], rounds: int) -> float:
    started = time.perf_counter()
    for _ in range(rounds):
        compile_template(text).render(values)
    return (time.perf_counter() - started) / rounds * 1e6
