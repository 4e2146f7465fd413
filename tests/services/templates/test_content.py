"""What may be stored as a template, and what its variables are."""

from __future__ import annotations

from typing import Any

import pytest

from backend.errors import ValidationFailed
from backend.services.templates.content import TemplateContent, check_content, detect_variables


def refusal(content: TemplateContent, declared: list[str] | None = None) -> ValidationFailed:
    with pytest.raises(ValidationFailed) as caught:
        check_content(content, declared)
    return caught.value


def test_variables_left_out_are_detected_in_all_texts() -> None:
    content = TemplateContent(
        "{{b}} {{a}}",
        subject="{{s}} {{a}}",
        html="<p>{{h}}</p>",
        variants={
            "whatsapp": {"name": "n", "language": "en", "parameters": ["w", "a"]},
            "email": {"subject": "{{es}}", "html": "{{eh}}"},
            "sms": {"content": "{{m}}"},
        },
    )
    assert detect_variables(content) == ["b", "a", "s", "h", "es", "eh", "m", "w"]
    assert check_content(content, None) == detect_variables(content)


def test_declaring_more_than_is_used_is_fine_and_keeps_the_order() -> None:
    assert check_content(TemplateContent("{{b}}"), ["z", "b"]) == ["z", "b"]


def test_using_what_is_not_declared_names_variable_and_field() -> None:
    error = refusal(TemplateContent("{{a}} {{b}}", subject="{{c}}"), ["a"])
    assert {e.message for e in error.errors} == {
        "'content' uses the variable 'b', which is not declared; add it to \"variables\".",
        "'subject' uses the variable 'c', which is not declared; add it to \"variables\".",
    }


@pytest.mark.parametrize(
    ("content", "field", "line"),
    [
        (TemplateContent("a\n{{ x"), "content", 2),
        (TemplateContent("a", subject="{% if %}"), "subject", 1),
        (
            TemplateContent("a", variants={"sms": {"content": "\n\n{{ x | nope }}"}}),
            "variants.sms.content",
            3,
        ),
    ],
)
def test_a_liquid_error_names_field_and_line(
    content: TemplateContent, field: str, line: int
) -> None:
    error = refusal(content)
    assert [e.field for e in error.errors] == [field]
    assert f"line {line}" in error.message
    assert error.error_code == "VALIDATION_ERROR"


@pytest.mark.parametrize("content", ["", "  \n"])
def test_a_template_needs_content(content: str) -> None:
    assert refusal(TemplateContent(content)).error_code == "MISSING_REQUIRED_FIELD"


def test_sizes_are_bounded() -> None:
    assert check_content(TemplateContent("x" * 65_536), None) == []
    assert "65537" in refusal(TemplateContent("x" * 65_537)).message
    assert "999" in refusal(TemplateContent("x", subject="x" * 999)).message
    assert "101" in refusal(TemplateContent("".join(f"{{{{v{i}}}}}" for i in range(101)))).message


@pytest.mark.parametrize("declared", [["a b"], ["1a"], [""], ["a", "a"], ["x" * 65], ["{{a}}"]])
def test_a_declared_name_must_be_a_name_and_unique(declared: list[str]) -> None:
    assert refusal(TemplateContent("x"), declared).status == 400


def test_a_parameter_of_a_provider_template_is_a_variable_name() -> None:
    variants: dict[str, Any] = {
        "whatsapp": {"name": "n", "language": "en", "parameters": ["{{ a }}"]}
    }
    assert [e.field for e in refusal(TemplateContent("x", variants=variants)).errors] == [
        "variants.whatsapp.parameters"
    ]
