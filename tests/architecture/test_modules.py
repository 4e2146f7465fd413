"""Rules that no linter knows: every module says what it is for, and is short enough to be one."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGES = ("backend", "workers", "messagejs_app")
MAX_FILE_LINES = 400
FORBIDDEN_NAMES = {"utils", "util", "helpers", "helper", "common", "manager", "misc", "stuff"}


def _modules() -> Iterator[Path]:
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            if path.read_text().strip():  # an empty `__init__.py` needs no docstring
                yield path


MODULES = list(_modules())


def _name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def test_there_are_modules_to_check() -> None:
    assert len(MODULES) > 100


def test_a_module_says_what_it_is_for_first() -> None:
    without = {}
    for path in MODULES:
        first = (ast.get_docstring(ast.parse(path.read_text())) or "").partition("\n")[0]
        if len(first.split()) < 3:
            without[_name(path)] = first
    assert without == {}


def test_a_module_is_short_enough_to_be_one_thing() -> None:
    lengths = {_name(path): len(path.read_text().splitlines()) for path in MODULES}
    assert {name: lines for name, lines in lengths.items() if lines > MAX_FILE_LINES} == {}


def test_a_module_is_named_for_what_is_in_it() -> None:
    vague = {_name(path) for path in MODULES if path.stem.strip("_") in FORBIDDEN_NAMES}
    assert vague == set()


def test_every_folder_of_code_is_a_package() -> None:
    """import-linter skips folders without `__init__.py`: their imports would go unchecked."""
    folders = {path.parent for path in MODULES}
    assert [
        str(folder.relative_to(ROOT))
        for folder in sorted(folders)
        if not (folder / "__init__.py").exists()
    ] == []


def test_the_environment_is_read_in_the_settings_only() -> None:
    """Services get values.

    The runtime sets variables for its children; logs look at the terminal's.
    """
    readers = {
        _name(path)
        for path in MODULES
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute) and ast.unparse(node) in {"os.environ", "os.getenv"}
    }
    outside = {name for name in readers if not name.startswith("backend/runtime/")}
    assert outside <= {"backend/logs.py"}
