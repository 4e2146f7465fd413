"""What the documents name is there: files, folders, links and anchors."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).parents[2]
DOCUMENTS: Final = sorted(
    path.relative_to(ROOT)
    for path in (
        *ROOT.glob("*.md"),
        *(ROOT / "docs").rglob("*.md"),
    )
    if path.name != "CHANGELOG.md"  # it speaks of what was
)
_TOP: Final = "backend|workers|messagejs_app|tests|docs|sdk|bench|deploy|assets"
# A path in backquotes, with a placeholder or without.
_PATH: Final = re.compile(rf"`((?:{_TOP})/[\w./<>*-]*)`")
_LINK: Final = re.compile(r"\]\(([^)\s]+)\)")
# Decisions tell how it was when they were taken; their links hold, their paths need not.
_LIVING: Final = [path for path in DOCUMENTS if "decisions" not in path.parts]


def _is_there(path: str) -> bool:
    pattern = re.sub(r"<\w+>", "*", path).rstrip("/")
    return any(ROOT.glob(pattern))


@pytest.mark.parametrize("document", _LIVING, ids=str)
def test_the_paths_that_a_document_names_exist(document: Path) -> None:
    paths = _PATH.findall((ROOT / document).read_text())
    assert [path for path in paths if not _is_there(path)] == []


def test_the_walk_through_the_code_names_its_files() -> None:
    paths = _PATH.findall((ROOT / "docs" / "architecture.md").read_text())
    assert len([path for path in paths if path.endswith(".py")]) > 30


@pytest.mark.parametrize("document", DOCUMENTS, ids=str)
def test_the_links_of_a_document_lead_somewhere(document: Path) -> None:
    broken = []
    for link in _LINK.findall((ROOT / document).read_text()):
        if "://" in link or link.startswith("mailto:"):
            continue
        name, _, anchor = link.partition("#")
        target = (ROOT / document).parent / name if name else ROOT / document
        if not target.exists() or (anchor and anchor not in _anchors(target)):
            broken.append(link)
    assert broken == []


def _anchors(document: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", document.read_text(), re.MULTILINE)
    return {
        re.sub(r"[^\w -]", "", heading.replace("`", "")).strip().lower().replace(" ", "-")
        for heading in headings
    }


def test_every_decision_is_in_the_index() -> None:
    folder = ROOT / "docs" / "decisions"
    index = (folder / "README.md").read_text()
    numbers = [path.name[:4] for path in sorted(folder.glob("0*.md"))]
    assert len(set(numbers)) == len(numbers)
    assert re.findall(r"^\| \[(\d{4})\]", index, re.MULTILINE) == numbers
