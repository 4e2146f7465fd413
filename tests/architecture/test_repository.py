"""The repository's papers agree with each other: what is imported is declared, what CI runs is
documented.
"""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())
OURS = {"backend", "workers", "messagejs_app", "messagejs", "tests", "bench"}
# Comes with another, always, as part of its interface; the others stand for themselves.
PARTS = {
    "reflex-base": "reflex",
    "psycopg-pool": "psycopg",
    "pydantic-core": "pydantic",
    "multidict": "aiohttp",
    "yarl": "aiohttp",
}


def _names(requirements: list[str]) -> set[str]:
    return {canonicalize_name(Requirement(text).name) for text in requirements}


DEPENDENCIES = _names(PROJECT["project"]["dependencies"])
TEST_EXTRA = _names(PROJECT["project"]["optional-dependencies"]["test"])


def _imported(folder: str) -> dict[str, Path]:
    """Return distribution -> a file that imports it."""
    distributions = packages_distributions()
    result: dict[str, Path] = {}
    for path in (ROOT / folder).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                modules = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                modules = [node.module]
            else:
                continue
            for top in (
                {module.partition(".")[0] for module in modules}
                - OURS
                - set(sys.stdlib_module_names)
            ):
                for distribution in distributions.get(top, [top]):
                    name = canonicalize_name(distribution)
                    result[PARTS.get(name, name)] = path.relative_to(ROOT)
    return result


@pytest.mark.parametrize("folder", ["backend", "workers", "messagejs_app"])
def test_what_the_product_imports_is_a_dependency(folder: str) -> None:
    """A package that comes along with another today need not tomorrow, nor without the test
    extra.
    """
    missing = {
        name: str(path) for name, path in _imported(folder).items() if name not in DEPENDENCIES
    }
    assert missing == {}


@pytest.mark.parametrize("folder", ["tests", "bench"])
def test_what_the_tests_import_is_in_their_extra(folder: str) -> None:
    missing = {
        name: str(path)
        for name, path in _imported(folder).items()
        if name not in DEPENDENCIES | TEST_EXTRA
    }
    assert missing == {}


@pytest.mark.parametrize("extra", ["dependencies", "test"])
def test_dependencies_are_in_order_and_have_a_lowest_version(extra: str) -> None:
    project = PROJECT["project"]
    requirements = (
        project["dependencies"]
        if extra == "dependencies"
        else project["optional-dependencies"][extra]
    )
    names = [Requirement(text).name for text in requirements]
    assert names == sorted(names)
    assert [text for text in requirements if ">=" not in text] == []


def _pins() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pins = [line.partition("==") for line in lines]
    return {canonicalize_name(name): version for name, _, version in pins}


def test_constraints_are_versions_and_nothing_else() -> None:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    assert [
        line for line in lines if not re.fullmatch(r"[A-Za-z0-9._-]+==[0-9A-Za-z.+!]+", line)
    ] == []
    assert lines == sorted(lines, key=str.lower)
    assert "messagejs" not in _pins()


def test_every_dependency_is_pinned_to_a_version_it_allows() -> None:
    pins = _pins()
    requirements = (
        PROJECT["project"]["dependencies"] + PROJECT["project"]["optional-dependencies"]["test"]
    )
    wrong = {
        text: pins.get(canonicalize_name(requirement.name))
        for text in requirements
        if not (requirement := Requirement(text)).specifier.contains(
            pins.get(canonicalize_name(requirement.name), "0")
        )
    }
    assert wrong == {}


def test_ci_runs_the_readmes_test_command() -> None:
    """Its install and its test half stand apart there, for the checks between them need the
    install.
    """
    readme = (ROOT / "README.md").read_text()
    command = (
        "python3 -m venv .venv && .venv/bin/pip install -c constraints.txt -e '.[test]' &&"
        " .venv/bin/pytest"
    )
    assert command in readme
    install, _, test = command.rpartition(" && ")
    lines = [line.strip() for line in (ROOT / ".ci" / "run").read_text().splitlines()]
    assert install in lines
    assert test in lines


def test_no_paper_names_a_registry_or_a_path_of_this_machine() -> None:
    papers = [
        ROOT / "README.md",
        ROOT / "CONTRIBUTING.md",
        ROOT / "constraints.txt",
        ROOT / "pyproject.toml",
    ]
    papers += [
        ROOT / ".ci" / "run",
        ROOT / ".pre-commit-config.yaml",
        *(ROOT / "docs").rglob("*.md"),
    ]
    pattern = re.compile(r"index-url|find-links|file://|/home/|/work/|/root/|/tmp/")
    assert {
        path.name: result for path in papers if (result := pattern.findall(path.read_text()))
    } == {}


def test_every_layer_of_the_house_is_in_the_import_contract() -> None:
    """A new top-level module of `backend` must be given its place."""
    contracts = PROJECT["tool"]["importlinter"]["contracts"]
    (layers,) = [
        contract["layers"] for contract in contracts if contract["name"] == "Imports go one way"
    ]
    placed = {module.strip() for layer in layers for module in layer.split("|")}
    top = {
        f"backend.{path.stem}"
        for path in (ROOT / "backend").iterdir()
        if (path.suffix == ".py" and path.stem != "__init__") or (path / "__init__.py").exists()
    }
    assert top <= placed
