"""What a JSON value from outside may be: what Postgres, orjson and JSON can hold, and no larger
than anyone needs.

Checked at every door, so that no query and no answer fails on it later.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any, Final

MOST_DEPTH: Final = 64
MOST_FIELDS: Final = 1000
MOST_VALUES: Final = 50_000
# What 64 bits hold, with a sign or without one.
_LEAST_INT: Final = -(1 << 63)
_MOST_INT: Final = (1 << 64) - 1
_SHOWN_CHARS: Final = 64
_LONGEST_PATH_CHARS: Final = 100
_CONTAINERS: Final = (dict, list, tuple)


@dataclass(frozen=True, slots=True)
class Flaw:
    """What is wrong with the value at `path` ("metadata.items[3]"; "" is the whole), as a
    sentence.
    """

    path: str
    message: str


@dataclass(slots=True)
class _Place:
    """An object or a list within another one; paths are only written out for a flaw."""

    value: Mapping[Any, Any] | Sequence[Any]
    parent: _Place | None
    name: str | int
    depth: int

    def path(self) -> str:
        parts = [self.name]
        place = self.parent
        while place is not None:
            parts.append(place.name)
            place = place.parent
        return written_path(reversed(parts))


def find_flaw(value: object, name: str = "") -> Flaw | None:
    """Return a flaw of a parsed JSON value, None where all of it can be stored and written
    again.
    """
    return _find(value, name, is_storage_asked=True)


def find_excess(value: object, name: str = "") -> Flaw | None:
    """Return how a parsed JSON value is larger than it may be, whatever is in it."""
    return _find(value, name, is_storage_asked=False)


def _find(value: object, name: str, *, is_storage_asked: bool) -> Flaw | None:
    top = _Place({name: value}, None, "", 0)
    waiting, count = [top], 0
    while waiting:
        place = waiting.pop()
        if place is not top and (problem := _excess(place)) is not None:
            return _flaw(place.path(), problem)
        count += len(place.value)
        if count > MOST_VALUES:
            return Flaw(
                name,
                f"There are more than {MOST_VALUES:,} values in one request; send it in parts.",
            )
        for key, inner in (
            place.value.items() if isinstance(place.value, Mapping) else enumerate(place.value)
        ):
            problem = _problem(key, inner) if is_storage_asked else None
            if problem is not None:
                return _flaw(_Place((), place, key, 0).path(), problem)
            if isinstance(inner, _CONTAINERS):
                waiting.append(_Place(inner, place, key, place.depth + 1))
    return None


def _flaw(path: str, problem: str) -> Flaw:
    return Flaw(path, f"'{path}' {problem}" if path else f"The body {problem}")


def written_path(parts: Iterable[str | int]) -> str:
    """Return where a value stands, as errors write it: a.b[2]. Long names and paths are cut."""
    path = ""
    for part in parts:
        if len(path) > _LONGEST_PATH_CHARS:
            return path + "..."
        if isinstance(part, int):
            path += f"[{part}]"
        elif part:
            path += f".{_shown(part)}" if path else _shown(part)
    return path


def _excess(place: _Place) -> str | None:
    if place.depth > MOST_DEPTH:
        return f"is nested more than {MOST_DEPTH} deep; flatten it."
    if isinstance(place.value, Mapping) and len(place.value) > MOST_FIELDS:
        return f"has {len(place.value)} fields; an object may have {MOST_FIELDS}."
    return None


def _problem(key: str | int, value: object) -> str | None:
    if isinstance(key, str) and (problem := _text_problem(key)) is not None:
        return f"has a name that {problem}"
    if isinstance(value, str):
        return _text_problem(value)
    if isinstance(value, int) and not _LEAST_INT <= value <= _MOST_INT:
        return "is a whole number of more than 64 bits; send it as a string."
    if isinstance(value, float) and not isfinite(value):
        return "is not a finite number; send null or a string."
    return None


def _text_problem(text: str) -> str | None:
    if "\0" in text:
        return "contains a NUL character (\\u0000), which cannot be stored; remove it."
    if not text.isascii() and not _is_unicode(text):
        return "contains half of a surrogate pair, which is no character; remove it."
    return None


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _shown(name: str) -> str:
    """Return a name as an error shows it: whatever is in it, short and plain."""
    plain = name[:_SHOWN_CHARS].replace("\0", "").encode(errors="replace").decode()
    return plain + "..." if len(name) > _SHOWN_CHARS else plain
