"""The editor's preview shows something for every state of an unfinished template."""

from __future__ import annotations

import pytest

from backend.errors import InvalidConnectorType
from backend.services.templates.content import TemplateContent
from backend.services.templates.preview import preview


def test_values_not_given_are_shown_as_their_names_and_listed() -> None:
    shown = preview(
        TemplateContent("Hi {{name}}, {{code}}"),
        connector_type="telegram",
        variables={"name": "Ann", "x": 1},
    )
    assert shown.text == "Hi Ann, {{code}}"
    assert (shown.variables, shown.missing, shown.unknown) == (["name", "code"], ["code"], ["x"])
    assert shown.problems == []


def test_a_missing_object_shows_the_path_that_was_asked_for() -> None:
    content = TemplateContent(
        "{{ user.address.city }} {% for i in items %}{{ i.n }}{% endfor %}{% if ok %}!{% endif %}"
    )
    shown = preview(content, connector_type="telegram")
    assert shown.problems == []
    assert shown.text.startswith("{{user.address.city}} ")


def test_an_unfinished_template_reports_its_problem_instead_of_raising() -> None:
    shown = preview(TemplateContent("Hi {{ na"), connector_type="telegram")
    assert shown.text == ""
    assert [problem.field for problem in shown.problems] == ["content"]


def test_sms_shows_its_segments_and_others_do_not() -> None:
    sms = preview(TemplateContent("x" * 161), connector_type="twilio").sms
    assert sms is not None
    assert (sms.segments, sms.encoding) == (2, "GSM-7")
    assert preview(TemplateContent("x"), connector_type="smtp").sms is None


def test_the_channel_follows_the_connector_it_is_sent_with() -> None:
    content = TemplateContent(
        "text {{a}}", subject="S {{a}}", html="<b>{{a}}</b>", variants={"sms": {"content": "sms"}}
    )
    mail = preview(content, connector_type="smtp", variables={"a": "<"})
    assert (mail.channel, mail.subject, mail.html) == ("email", "S <", "<b>&lt;</b>")
    assert preview(content, connector_type="smtp", send_with="twilio").text == "sms"
    assert (
        preview(content, connector_type="smtp", send_with="sandbox", variables={"a": "1"}).subject
        == "S 1"
    )


def test_html_placeholders_survive_escaping() -> None:
    shown = preview(TemplateContent("t", html="<p>{{ name }}</p>"), connector_type="smtp")
    assert shown.html == "<p>{{name}}</p>"


def test_an_unknown_type_is_an_error() -> None:
    with pytest.raises(InvalidConnectorType, match="pigeon"):
        preview(TemplateContent("x"), connector_type="pigeon")
