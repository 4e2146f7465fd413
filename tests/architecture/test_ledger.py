"""The ledger is the only writer of what happens to a message."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
TABLES: Final = (
    "messages", "send_queue", "attempts", "events", "dead_letters", "suppressions",
    "provider_refs",
)  # fmt: skip
MODELS: Final = {
    "Message", "SendQueueRow", "Attempt", "Event", "DeadLetter", "Suppression", "ProviderRef",
}  # fmt: skip
_WRITES: Final = re.compile(
    rf"\b(?:INSERT INTO|UPDATE|DELETE FROM)\s+({'|'.join(TABLES)})\b", re.IGNORECASE
)
_STATE: Final = re.compile(r"\b(?:q\.)?state\s*(?:=|<|>|<>|IN)\s*\(?\s*\d")
# Partitions are moved and dropped as tables, whatever is in them.
_ELSEWHERE: Final = {"backend/models/partitions.py"}


def _files() -> Iterator[Path]:
    for package in ("backend", "workers", "messagejs_app"):
        for path in sorted((ROOT / package).rglob("*.py")):
            if "versions" not in path.parts:
                yield path


def _strings(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def _orm_writes(tree: ast.AST) -> Iterator[str]:
    """Yield the models that are given to `session.add`, `insert`, `update` or `delete`."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        name = node.func.attr if isinstance(node.func, ast.Attribute) else ast.unparse(node.func)
        if name in {"add", "add_all", "insert", "update", "delete"}:
            for argument in node.args:
                created = argument.func if isinstance(argument, ast.Call) else argument
                if isinstance(created, ast.Name) and created.id in MODELS:
                    yield created.id


def test_nothing_but_the_ledger_writes_the_message_s_tables() -> None:
    writers: dict[str, set[str]] = {}
    for path in _files():
        name = str(path.relative_to(ROOT))
        if name.startswith("backend/ledger/") or name in _ELSEWHERE:
            continue
        tree = ast.parse(path.read_text())
        written = {match[1] for text in _strings(tree) for match in _WRITES.finditer(text)}
        if written := written | set(_orm_writes(tree)):
            writers[name] = written
    assert writers == {}


def test_events_are_written_in_one_place() -> None:
    writers = {
        path.name
        for path in (ROOT / "backend" / "ledger").glob("*.py")
        for text in _strings(ast.parse(path.read_text()))
        if re.search(r"\bINSERT INTO events\b", text)
    }
    assert writers == {"events.py"}


def test_states_of_the_queue_are_named() -> None:
    """0 says nothing; DUE does."""
    numbers = {}
    for path in _files():
        if path.name == "send_queue.py":
            continue
        strings = [
            match[0]
            for text in _strings(ast.parse(path.read_text()))
            if "send_queue" in text
            for match in _STATE.finditer(text)
        ]
        if strings:
            numbers[str(path.relative_to(ROOT))] = strings
    assert numbers == {}


def test_rows_that_a_statement_reads_have_their_columns_from_a_dataclass() -> None:
    lists = {}
    for path in sorted((ROOT / "backend").rglob("*.py")):
        if path.name != "recordset.py" and "versions" not in path.parts:
            count = path.read_text().count("json_to_recordset(")
            if count:
                lists[str(path.relative_to(ROOT))] = count
    assert lists == {}
