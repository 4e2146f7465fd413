"""The language of the house: nouns for names, present-day words in prose.

Run it over some files alone: `python -m tests.architecture.test_language backend/ledger`.
"""

from __future__ import annotations

import ast
import io
import re
import sys
import tokenize
from collections.abc import Iterator
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
PLACES: Final = ("backend", "workers", "messagejs_app", "sdk", "bench", "tests", "docs")
# A name is the field's noun for the thing; these stand for one that was not looked for.
PRONOUNS: Final = frozenset(
    {"one", "ones", "own", "told", "found", "made", "wanted", "it", "deeds", "desk", "judge"}
)
# Words and phrases that no native writer of today uses for this, and what stands for them.
WORDS: Final = {
    r"anew": "again",
    r"mend(s|ed|ing)?": "fix",
    r"dear(er|est)?": "expensive",
    r"whoever": "who, or the noun",
    r"thereby|therein|thereof|whence|hence|hitherto|lest|nought|naught": "plain words",
    r"is no (member|longer a member|dead letter|page|event|key|user|outage)": "isn't a ...",
    r"nobody (may|must|shall)": "say who may",
    r"Who (is|has|may|can|was|does) [^?]*\.": "the noun: 'A member ...'",
    r"[Ss]teps? \d": "the verb; the layout has no numbers",
    r"in vain": "for nothing, without effect",
    r"once more": "again",
    r"goes their way|go their ways": "are delivered",
    r"of (his|her) own accord": "by itself",
    r"befits?|beholds?|ere|shan't|must needs": "plain words",
}
# From Python 3.12 on, the text of an f-string is a token of its own.
_PROSE: Final = {tokenize.COMMENT, tokenize.STRING, getattr(tokenize, "FSTRING_MIDDLE", -1)}
_PATTERNS: Final = {re.compile(rf"\b(?:{word})\b"): instead for word, instead in WORDS.items()}


def files(places: tuple[str, ...] = PLACES) -> Iterator[Path]:
    """Yield the files to read: what is written once and never changed (migrations) is left out."""
    for place in places:
        path = (ROOT / place).resolve()
        for file in [path] if path.is_file() else sorted(path.rglob("*")):
            is_text = file.suffix in {".py", ".md"} and "__pycache__" not in file.parts
            if is_text and "versions" not in file.parts and file != Path(__file__).resolve():
                yield file


def bound_names(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Yield the line and the name of whatever the code binds."""
    for node in ast.walk(tree):
        match node:
            case ast.Name(id=name, ctx=ast.Store()) | ast.arg(arg=name):
                yield node.lineno, name
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                yield node.lineno, name
            case ast.ClassDef(name=name):
                yield node.lineno, name


def prose(path: Path) -> Iterator[tuple[int, str]]:
    """Yield comments and strings with their first lines; all lines of a Markdown file."""
    text = path.read_text()
    if path.suffix == ".md":
        yield from enumerate(text.splitlines(), 1)
        return
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type in _PROSE:
            for offset, line in enumerate(token.string.splitlines()):
                yield token.start[0] + offset, line


def problems(path: Path) -> Iterator[str]:
    name = path.relative_to(ROOT)
    if path.suffix == ".py":
        for line, bound in bound_names(ast.parse(path.read_text())):
            if bound.strip("_").lower() in PRONOUNS:
                yield f"{name}:{line}: the name '{bound}' says nothing; use the noun"
    for line, text in prose(path):
        for pattern, instead in _PATTERNS.items():
            if match := pattern.search(text):
                yield f"{name}:{line}: '{match[0]}': {instead}"


def test_names_are_nouns_and_words_are_of_today() -> None:
    assert [problem for path in files() for problem in problems(path)] == []


if __name__ == "__main__":
    chosen = tuple(sys.argv[1:]) or PLACES
    for path in files(chosen):
        for problem in problems(path):
            sys.stdout.write(problem + "\n")
