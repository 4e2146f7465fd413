"""Every regular expression of the backend takes time in proportion to its text, whatever that is.

Patterns of pydantic's fields are not among them: its engine never goes back.
"""

from __future__ import annotations

import importlib
import pkgutil
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

import backend

_CHARS: Final = 30_000
# In proportion to the text a match takes milliseconds; a square of it, five seconds and more.
_PATIENCE_S: Final = 1.0
# What expressions repeat, look for or stop at; then something that fits none of them.
_PIECES: Final = (
    " ", "\t", "\n", "\r", "a", "A", "0", ".", "-", "_", "@", "/", ":", ";", "=", "'", '"',
    "\\", "{", "}", "<", "[",
    "a.", ".a", "a@", "0.", "1,", "www.", "\\u", "é", "\u3002", "a\u3002", "; ", "\n ", "e1", "{{",
    "a b", "stk_",
)  # fmt: skip
_ENDS: Final = ("\0", " x")


def _compiled() -> Iterator[tuple[str, re.Pattern[Any]]]:
    for module in pkgutil.walk_packages(backend.__path__, "backend."):
        if ".migrations." not in module.name:
            for name, value in vars(importlib.import_module(module.name)).items():
                if isinstance(value, re.Pattern):
                    yield f"{module.name}.{name}", value


EXPRESSIONS: Final = dict(_compiled())
_SOURCE: Final = "\n".join(path.read_text() for path in Path(backend.__path__[0]).rglob("*.py"))


def _methods(name: str) -> set[str]:
    """Return how the expression is used: a search begins anywhere, a full match only where the text
    does.
    """
    return set(
        re.findall(
            rf"\b{name.rpartition('.')[2]}\.(search|match|fullmatch|sub|finditer|split)\(", _SOURCE
        )
    )


def test_the_walk_finds_expressions_and_their_use() -> None:
    assert _methods("backend.services.policy.grants._LINK") == {"search"}
    assert _methods("backend.api.resources.csv_lines._FORMULA") == {"sub"}
    assert len(EXPRESSIONS) > 15


@pytest.mark.parametrize("name", EXPRESSIONS)
def test_an_expression_takes_no_square_of_time(name: str) -> None:
    expression, methods = EXPRESSIONS[name], _methods(name) or {"search"}
    for piece in _PIECES:
        for end in _ENDS:
            text: Any = piece * (_CHARS // len(piece)) + end
            if isinstance(expression.pattern, bytes):
                text = text.encode()
            for method in methods:
                # This thread's own time: others may be using the processor.
                began = time.thread_time()
                if method == "sub":
                    expression.sub(text[:0], text)
                elif method == "finditer":
                    list(expression.finditer(text))
                else:
                    getattr(expression, method)(text)
                assert time.thread_time() - began < _PATIENCE_S, (piece, end, method)
