"""The same call in three languages, filled with the project's values and coloured for the page."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

Language = Literal["javascript", "python", "curl", "json"]

_STRING: Final = r'"(?:[^"\\\n]|\\.)*"|\'(?:[^\'\\\n]|\\.)*\''
_KEYWORDS: Final = {
    "javascript": r"\b(?:const|await|import|from|return|new)\b",
    "python": r"\b(?:import|from|with|as|print|None|True|False)\b",
    "curl": r"\bcurl\b|(?<=\s)-[A-Za-z]\b|(?<=\s)--[a-z-]+",
    "json": r"\"[^\"\n]*\"(?=\s*:)|\b(?:true|false|null)\b",
}
_COMMENT: Final = {
    "javascript": r"//[^\n]*",
    "python": r"\#[^\n]*",
    "curl": r"(?m:^\#[^\n]*)",
    "json": r"(?!)",
}


def language_of(text: str) -> Language:
    """Return the language that a page's choice names; JavaScript for what no page offers."""
    match text:
        case "python" | "curl":
            return text
        case _:
            return "javascript"


@dataclass
class Piece:
    """A run of code and the CSS class of its colour."""

    text: str
    css: str = ""


def pieces(code: str, language: Language) -> list[Piece]:
    """Split `code` into coloured runs; the runs joined are the code again."""
    # In JSON a key is a string too, so keywords go first there.
    first = f"(?P<k>{_KEYWORDS[language]})|(?P<s>{_STRING})"
    other = f"(?P<c>{_COMMENT[language]})|(?P<s>{_STRING})|(?P<k>{_KEYWORDS[language]})"
    result: list[Piece] = []
    end = 0
    for match in re.finditer(first if language == "json" else other, code):
        if match.start() > end:
            result.append(Piece(code[end : match.start()]))
        result.append(Piece(match.group(), f"tk-{match.lastgroup}"))
        end = match.end()
    if end < len(code):
        result.append(Piece(code[end:]))
    return result


def send_call(language: str, *, base_url: str, key: str, body: Mapping[str, Any]) -> str:
    """Return code that sends `body` (the JSON of POST /messages) with `key`."""
    url = f"{base_url}/api/v1/messages"
    if language == "python":
        return _python(url, key, body)
    if language == "curl":
        return _curl(url, key, body)
    return _javascript(url, key, body)


def _javascript(url: str, key: str, body: Mapping[str, Any]) -> str:
    return (
        f"const response = await fetch({json.dumps(url)}, {{\n"
        '  method: "POST",\n'
        "  headers: {\n"
        f'    "Authorization": {json.dumps("Bearer " + key)},\n'
        '    "Content-Type": "application/json"\n'
        "  },\n"
        f"  body: JSON.stringify({_literal(body, indent=2, bare_keys=True)})\n"
        "})\n"
        "const { messageId, status } = await response.json()"
    )


def _python(url: str, key: str, body: Mapping[str, Any]) -> str:
    return (
        "import httpx\n\n"
        "response = httpx.post(\n"
        f"    {json.dumps(url)},\n"
        f'    headers={{"Authorization": {json.dumps("Bearer " + key)}}},\n'
        f"    json={_literal(body, indent=4, bare_keys=False)},\n"
        ")\n"
        "response.raise_for_status()\n"
        'print(response.json()["messageId"])'
    )


def _curl(url: str, key: str, body: Mapping[str, Any]) -> str:
    text = json.dumps(body, indent=2, ensure_ascii=False)
    return (
        f"curl {shlex.quote(url)} \\\n"
        f"  -H {shlex.quote('Authorization: Bearer ' + key)} \\\n"
        "  -H 'Content-Type: application/json' \\\n"
        f"  -d {shlex.quote(text)}"
    )


def _literal(body: Mapping[str, Any], *, indent: int, bare_keys: bool) -> str:
    text = json.dumps(body, indent=2, ensure_ascii=False)
    if bare_keys:
        text = re.sub(r'(?m)^(\s*)"([A-Za-z_]\w*)":', r"\1\2:", text)
    return text.replace("\n", "\n" + " " * indent)
