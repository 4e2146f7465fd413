"""The tests mirror the tree, and what they share stands in fixtures and modules of its own."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
TESTS = ROOT / "tests"
ROOMS = ROOT / "backend" / "services"
MAX_FILE_LINES = 400


def _imported_modules(path: Path) -> Iterator[str]:
    """Yield the dotted name of everything that a file imports, wherever in it."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module or ''}.{alias.name}" for alias in node.names)


def _rooms_in(folder: Path, pattern: str) -> set[str]:
    """Return the folders in `folder` that hold a file of this pattern."""
    return {path.parent.name for path in folder.glob(f"*/{pattern}")}


def test_no_test_imports_from_a_test_module() -> None:
    """Else its fixtures run twice, and a test that moves breaks another."""
    imports = [
        f"{path.relative_to(ROOT)}: {module}"
        for path in sorted(TESTS.rglob("*.py"))
        for module in _imported_modules(path)
        if module.startswith("tests.")
        and any(part.startswith("test_") for part in module.split(".")[:-1])
    ]
    assert imports == []


def test_every_room_of_services_has_tests_below_http() -> None:
    rooms = {path.parent.name for path in ROOMS.glob("*/*.py") if path.name != "__init__.py"}
    assert len(rooms) > 10
    assert rooms - _rooms_in(TESTS / "services", "test_*.py") == set()


def test_every_folder_of_services_tests_is_a_room() -> None:
    rooms = {path.parent.name for path in ROOMS.glob("*/__init__.py")}
    assert _rooms_in(TESTS / "services", "*.py") - rooms == set()


def test_a_test_file_is_short_enough_to_keep_one_promise() -> None:
    lengths = {
        str(path.relative_to(ROOT)): len(path.read_text().splitlines())
        for path in TESTS.rglob("*.py")
    }
    assert {name: lines for name, lines in lengths.items() if lines > MAX_FILE_LINES} == {}
