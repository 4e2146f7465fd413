"""A template becomes what its channel sends; wrong variables are named, all of them."""

from __future__ import annotations

from typing import Any

import pytest

from backend.errors import ValidationFailed
from backend.ids import new_id
from backend.services.templates.render import TemplateSource, render_template


def source(content: str = "Hello {{name}}", **changes: Any) -> TemplateSource:
    fields: dict[str, Any] = {
        "id": new_id(),
        "project_id": new_id(),
        "name": "otp",
        "connector_type": "sandbox",
        "content": content,
        "subject": None,
        "html": None,
        "variables": ("name",),
        "variants": {},
        "version": 1,
        "on_uncertain": "hold",
        "access": "secret_only",
        "is_active": True,
    }
    return TemplateSource(**{**fields, **changes})


def refusal(
    template: TemplateSource, variables: dict[str, Any] | None, connector_type: str = "sandbox"
) -> ValidationFailed:
    with pytest.raises(ValidationFailed) as caught:
        render_template(template, connector_type, variables)
    return caught.value


def test_a_missing_variable_is_named_with_its_remedy() -> None:
    error = refusal(source("{{name}} {{code}}", variables=("name", "code")), {"name": "A"})
    assert error.error_code == "MISSING_REQUIRED_FIELD"
    assert error.message == "Template 'otp' needs the variable 'code'; add it to \"variables\"."
    assert [e.field for e in error.errors] == ["variables.code"]


def test_missing_and_unknown_variables_are_reported_together() -> None:
    error = refusal(source(), {"nmae": "A"})
    assert {(e.field, e.code) for e in error.errors} == {
        ("variables.name", "MISSING_REQUIRED_FIELD"),
        ("variables.nmae", "UNKNOWN_VARIABLE"),
    }
    assert error.error_code == "VALIDATION_ERROR"


def test_null_counts_as_missing_and_an_empty_string_does_not() -> None:
    assert refusal(source(), {"name": None}).error_code == "MISSING_REQUIRED_FIELD"
    assert render_template(source(), "sandbox", {"name": ""}).text == "Hello "
    assert refusal(source(), None).error_code == "MISSING_REQUIRED_FIELD"


@pytest.mark.parametrize(
    "value",
    [
        "x" * 32_769,
        float("nan"),
        float("inf"),
        10**30,
        list(range(1_001)),
        [[[[[["deep"]]]]]],
        {"a": {"b": float("nan")}},
        {"a": "x" * 32_769},
        object(),
    ],
)
def test_a_value_out_of_bounds_is_refused_by_name(value: Any) -> None:
    error = refusal(source(), {"name": value})
    assert [e.field for e in error.errors] == ["variables.name"]
    assert "'name'" in error.message


def test_lists_and_objects_are_values_too() -> None:
    template = source(
        "{% for i in items %}{{i.n}}x{{i.q}} {% endfor %}{{who.name}} {{ok}} {{n}}",
        variables=("items", "who", "ok", "n"),
    )
    variables = {
        "items": [{"n": "tea", "q": 2}, {"n": "pie", "q": None}],
        "who": {"name": "Ann"},
        "ok": True,
        "n": 1.5,
    }
    assert render_template(template, "sandbox", variables).text == "teax2 piex Ann true 1.5"


def test_a_variable_that_cannot_be_rendered_is_a_400_that_names_the_template() -> None:
    error = refusal(source("{{ name.first }}"), {"name": "plain"})
    assert error.status == 400
    assert "Template 'otp'" in error.message
    assert "name.first" in error.message


def test_mail_has_subject_html_and_text_and_falls_back_to_the_templates_name() -> None:
    plain = render_template(source(connector_type="smtp"), "smtp", {"name": "<A>"})
    assert (plain.subject, plain.html, plain.text) == ("otp", None, "Hello <A>")
    full = source(subject="For {{name}}", html="<p>{{name}}</p>")
    rendered = render_template(full, "smtp", {"name": "<A>"})
    assert (rendered.subject, rendered.html) == ("For <A>", "<p>&lt;A&gt;</p>")
    variant = source(
        subject="s",
        html="<i></i>",
        variants={"email": {"subject": "V {{name}}", "html": "<b>{{name}}</b>"}},
    )
    assert render_template(variant, "smtp", {"name": "A"}).subject == "V A"
    assert render_template(variant, "smtp", {"name": "A"}).html == "<b>A</b>"


def test_subject_and_html_stay_out_of_other_channels() -> None:
    rendered = render_template(source(subject="s", html="<p></p>"), "telegram", {"name": "A"})
    assert (rendered.subject, rendered.html, rendered.provider_template) == (None, None, None)


def test_a_subject_cannot_smuggle_in_a_header() -> None:
    error = refusal(source(subject="Hi {{name}}"), {"name": "a\r\nBcc: x@example.com"}, "smtp")
    assert [e.field for e in error.errors] == ["subject"]


def test_a_whatsapp_variant_becomes_a_provider_template_with_rendered_parameters() -> None:
    template = source(
        "Hello {{name}}: {{code}}",
        variables=("name", "code"),
        variants={
            "whatsapp": {"name": "otp_v2", "language": "en_US", "parameters": ["code", "name"]}
        },
    )
    rendered = render_template(template, "whatsapp", {"name": "Ann", "code": 123})
    assert rendered.text == "Hello Ann: 123"
    assert rendered.provider_template == {
        "name": "otp_v2",
        "language": "en_US",
        "parameters": ["123", "Ann"],
    }
    assert (
        render_template(template, "telegram", {"name": "Ann", "code": 1}).provider_template is None
    )


def test_an_sms_variant_replaces_the_content() -> None:
    template = source(variants={"sms": {"content": "{{name}}!"}})
    assert render_template(template, "twilio", {"name": "A"}).text == "A!"
    assert render_template(template, "telegram", {"name": "A"}).text == "Hello A"


def test_the_sandbox_plays_the_templates_own_channel() -> None:
    template = source(connector_type="smtp", subject="S")
    assert render_template(template, "sandbox", {"name": "A"}).subject == "S"
    sms = source(connector_type="twilio", variants={"sms": {"content": "short"}})
    assert render_template(sms, "sandbox", {"name": "A"}).text == "short"


def test_a_text_over_the_providers_limit_names_length_and_limit() -> None:
    error = refusal(source(connector_type="telegram"), {"name": "x" * 5_000}, "telegram")
    assert "5006" in error.message  # "Hello " and 5,000 characters
    assert "4096" in error.message
    assert error.status == 400


def test_an_empty_text_is_refused_before_a_provider_does() -> None:
    assert "empty text" in refusal(source("{{name}}"), {"name": " "}).message
