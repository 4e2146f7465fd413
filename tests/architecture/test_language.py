"""The language of the repository: nouns for names, present-day words in prose.

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
PLACES: Final = (
    *("backend", "workers", "messagejs_app", "sdk", "bench", "tests", "docs"),
    *("README.md", "CONTRIBUTING.md", "CHANGELOG.md"),
)
# A name is the field's noun for the thing; these take the place of one.
PRONOUNS: Final = frozenset(
    {"one", "ones", "own", "told", "found", "made", "wanted", "it", "deeds", "desk", "judge"}
)
_AFTER_NO: Final = "longer|more|less|other|such|need|reason|better|worse|way|point|use|doubt|one"
# Words and phrases that no native writer uses for this today, and what to write instead.
WORDS: Final = {
    r"anew|afresh": "again",
    r"mend(s|ed|ing)?": "fix",
    r"dear(er|est)?": "expensive",
    r"[Ww]hoever": "the noun: 'the user who ...'",
    r"thereby|therein|thereof|whence|hence|hitherto|lest|nought|naught": "plain words",
    # "There is no ..." is fine, and so are these.
    rf"(?<!here )(?:is|are|was|were|be) no (?!(?:{_AFTER_NO})\b)\w+": "isn't a ...",
    r"(?:is|are|was|were|be) away(?! from)": "down",
    r"(?:Redis|Postgres|[Dd]atabase|[Ss]erver|[Pp]rovider) away": "down",
    r"(?:is|are|was|were) let be": "left alone",
    r"(?:knows|known) of": "about",
    r"nothing of (?:it|them)": "nothing about",
    r"for ever": "forever",
    r"all the same": "anyway, still",
    r"stands? (?:in|under|before|beside) (?=(?:the|an?|its|this|every\w*) )": "is in ...",
    r"behaviour|licence|cancelled|labelled": "American spelling",
    r"(?:recogn|organ|normal|initial|serial)is(?:e|ed|es|ing)": "American spelling",
    r"nobody (may|must|shall)": "say who may",
    r"Who (is|has|may|can|was|does) [^?]*\.": "the noun: 'A member ...'",
    r"[Ss]teps? \d": "the verb; the layout has no numbers",
    r"in vain": "for nothing, without effect",
    r"once more": "again",
    r"goes their way|go their ways": "are delivered",
    r"of (his|her) own accord": "by itself",
    r"befits?|beholds?|ere|shan't|must needs": "plain words",
}
# From Python 3.12 on, the text of an f-string is a separate token.
_PROSE: Final = {tokenize.COMMENT, tokenize.STRING, getattr(tokenize, "FSTRING_MIDDLE", -1)}
_PATTERNS: Final = {re.compile(rf"\b(?:{word})\b"): instead for word, instead in WORDS.items()}
# Most files have none of the words, so their tokens need not be read.
_ANY_PATTERN: Final = re.compile(rf"\b(?:{'|'.join(WORDS)})\b")


def files(places: tuple[str, ...] = PLACES) -> Iterator[Path]:
    """Yield the files to check; migrations, which never change, are left out."""
    for place in places:
        path = (ROOT / place).resolve()
        for file in [path] if path.is_file() else sorted(path.rglob("*")):
            is_text = file.suffix in {".py", ".md"} and "__pycache__" not in file.parts
            if is_text and "versions" not in file.parts and file != Path(__file__).resolve():
                yield file


def bound_names(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Yield the line of everything that the code binds, and its name."""
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
    name, source = path.relative_to(ROOT), path.read_text()
    if path.suffix == ".py":
        for line, bound in bound_names(ast.parse(source)):
            if bound.strip("_").lower() in PRONOUNS:
                yield f"{name}:{line}: the name '{bound}' says nothing; use the noun"
    if not _ANY_PATTERN.search(source):
        return
    for line, text in prose(path):
        for pattern, instead in _PATTERNS.items():
            if match := pattern.search(text):
                yield f"{name}:{line}: '{match[0]}': {instead}"


def test_names_are_nouns_and_prose_is_present_day_english() -> None:
    assert [problem for path in files() for problem in problems(path)] == []


if __name__ == "__main__":
    chosen = tuple(sys.argv[1:]) or PLACES
    for path in files(chosen):
        for problem in problems(path):
            sys.stdout.write(problem + "\n")
