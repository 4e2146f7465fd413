"""One name for one thing: no two classes of the product share a name."""

from __future__ import annotations

import ast
from collections import defaultdict
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
# The SDK is a product of its own: it has the API's words, as its users do.
PACKAGES: Final = ("backend", "workers", "messagejs_app")


def _classes() -> dict[str, list[str]]:
    places = defaultdict(list)
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            for node in ast.parse(path.read_text()).body:
                if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                    places[node.name].append(str(path.relative_to(ROOT)))
    return places


def test_no_two_classes_share_a_name() -> None:
    assert {name: paths for name, paths in _classes().items() if len(paths) > 1} == {}
