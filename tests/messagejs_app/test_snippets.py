"""The examples a page offers to copy are right as they stand."""

from __future__ import annotations

import ast
import json
import shlex
from typing import Any, cast

import pytest

from messagejs_app.snippets import Language, pieces, send_call

_BODY: dict[str, Any] = {
    "templateId": "tpl_01",
    "to": "o'neil@example.com",
    "variables": {"name": 'Ada "the first"', "note": "it's 5 % of $HOME\nand a line"},
}


def _call(language: str) -> str:
    return send_call(language, base_url="https://msg.example.com", key="sk_test_x", body=_BODY)


def test_curl_sends_the_body_whatever_is_in_it() -> None:
    words = shlex.split(_call("curl"))
    assert words[:2] == ["curl", "https://msg.example.com/api/v1/messages"]
    assert "Authorization: Bearer sk_test_x" in words
    assert json.loads(words[words.index("-d") + 1]) == _BODY


def test_python_is_python_and_sends_the_body() -> None:
    tree = ast.parse(_call("python"))
    [call] = [
        node
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "httpx.post"
    ]
    assert (
        ast.literal_eval(next(keyword.value for keyword in call.keywords if keyword.arg == "json"))
        == _BODY
    )


def test_javascript_writes_names_bare_and_texts_quoted() -> None:
    code = _call("javascript")
    assert 'templateId: "tpl_01"' in code
    assert r'name: "Ada \"the first\""' in code


@pytest.mark.parametrize("language", ["javascript", "python", "curl"])
def test_colouring_changes_no_character(language: str) -> None:
    code = _call(language)
    assert "".join(piece.text for piece in pieces(code, cast("Language", language))) == code


def test_in_json_names_and_texts_have_colours_of_their_own() -> None:
    colours = {
        piece.text: piece.css for piece in pieces('{"status": "queued", "tries": null}', "json")
    }
    assert (colours['"status"'], colours['"queued"'], colours["null"]) == ("tk-k", "tk-s", "tk-k")
