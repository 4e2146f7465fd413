"""No text is read as code: whatever stands in it, it arrives in the browser as those characters, in
no time.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest
import reflex as rx
from reflex_base.event import Event
from reflex_base.vars.base import LiteralVar

from messagejs_app.events import complain, go_to, say, sign_in

_APP = Path(__file__).parents[2] / "messagejs_app"
# Unguarded, each of these loops forever or raises in Reflex. In a process of its own: a test that
# hangs ends there.
_SCRIPT = r"""
import messagejs_app
import reflex as rx
from reflex_base.event import Event
from reflex_base.vars.base import LiteralVar
from messagejs_app.events import complain, go_to, say

class Tab(rx.State):
    @rx.event
    async def take(self, text: str) -> None: ...

real = f"{rx.Var('x')}"  # the mark of a Var that exists in this process
OPEN, CLOSE = "<reflex.Var>", "</reflex.Var>"
inner = ["x", "-", "", "123", "-123", "²", "1" * 5000, "1.5", "x" + OPEN, CLOSE, "\n", "٣"]
cases = [OPEN + one + CLOSE for one in inner]
cases += [OPEN, CLOSE, OPEN + OPEN, CLOSE + OPEN, OPEN * 20_000, (OPEN + "x" + CLOSE) * 5000, OPEN + "x"]
cases += [f"a{one}b" for one in cases]
for text in cases:
    for value in (text, [text], {text: text}, {"a": [text, {"b": text}]}):
        assert LiteralVar.create(value)._decode() == value, text[:60]
    for event in Event.from_event_type([say(text), complain(text)]):
        assert event.payload["value"]["text"] == text
    (event,) = Event.from_event_type(go_to(f"/messages?q={text}"))
    assert event.name == "_redirect"
    (event,) = Event.from_event_type(Tab.take(text))
    assert event.payload == {"text": text}, text[:60]
    mixed = LiteralVar.create(real + text)
    assert str(mixed).startswith("(x+"), str(mixed)[:60]
print("done", len(cases))
"""


def test_a_text_with_a_made_up_mark_is_that_text() -> None:
    done = subprocess.run(
        [sys.executable, "-c", _SCRIPT], capture_output=True, text=True, timeout=100, check=False
    )
    assert done.stdout.startswith("done 38"), done.stderr[-3000:]


class _Shown(rx.State):
    name: str = ""


def test_a_text_that_names_a_real_var_is_still_code() -> None:
    name = _Shown.name
    assert str(LiteralVar.create(f"Hi {name}!")) == f'("Hi "+{name!s}+"!")'


def test_what_a_handler_asks_of_the_browser_names_no_script() -> None:
    events = Event.from_event_type([go_to("/keys?new=1"), say("a"), complain("b"), sign_in()])
    assert [(event.name, event.payload) for event in events] == [
        ("_redirect", {"path": "/keys?new=1", "external": False, "popup": False, "replace": False}),
        (
            "_set_value",
            {"ref": "ref_command", "value": {"do": "toast", "tone": "success", "text": "a"}},
        ),
        (
            "_set_value",
            {
                "ref": "ref_command",
                "value": {"do": "toast", "tone": "error", "text": "b", "duration_ms": 60_000},
            },
        ),
        ("_set_value", {"ref": "ref_command", "value": {"do": "sign-in"}}),
    ]


@pytest.mark.parametrize(
    "path", ["//evil.example", "https://evil.example", "/\\evil", "javascript:x", "", "keys"]
)
def test_a_handler_leads_to_a_page_of_ours_only(path: str) -> None:
    (event,) = Event.from_event_type(go_to(path))
    assert event.payload["path"] == "/"


# Reflex's own: each makes a Var of its text, or has the browser evaluate one.
_BANNED = {
    "call_script",
    "run_script",
    "call_function",
    "redirect",
    "download",
    "console_log",
    "window_alert",
    "toast",
}
_FOR_VIEWS = {"open_page", "sign_out"}


def _modules() -> dict[str, ast.Module]:
    return {
        str(path.relative_to(_APP)): ast.parse(path.read_text())
        for path in sorted(_APP.rglob("*.py"))
    }


def test_nothing_but_events_py_calls_what_reads_texts_as_code() -> None:
    used = {
        (name, ast.unparse(node))
        for name, module in _modules().items()
        for node in ast.walk(module)
        if (isinstance(node, ast.Attribute) and node.attr in _BANNED)
        or (isinstance(node, ast.ImportFrom) and _BANNED & {alias.name for alias in node.names})
    }
    # Two are not calls: the toaster itself, and the library that it brings.
    assert used == {
        ("events.py", "rx.redirect"),
        ("theme.py", "rx.toast"),
        ("components/html.py", "rx.toast"),
    }


def test_no_handler_uses_what_is_for_views() -> None:
    used = {
        (name, function.name)
        for name, module in _modules().items()
        for function in ast.walk(module)
        if isinstance(function, ast.AsyncFunctionDef)
        for node in ast.walk(function)
        if isinstance(node, ast.Name) and node.id in _FOR_VIEWS
    }
    assert used == set()
