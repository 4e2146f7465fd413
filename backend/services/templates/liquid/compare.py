"""Liquid's comparisons and look-ups, paid for. python-liquid defines what they mean."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence, Sized
from itertools import islice
from typing import Any, Final

from liquid.builtin.expressions.logical import _contains, _eq, _le, _lt
from liquid.builtin.expressions.primitive import Blank
from liquid.token import Token
from liquid.undefined import is_undefined

from backend.services.templates.liquid.limits import CHARS_SHIFT
from backend.services.templates.liquid.run import Run

_CONTAINERS: Final = (list, tuple, dict)
_PROPERTY: Final = re.compile(r"[\u0080-\uFFFFa-zA-Z_][\u0080-\uFFFFa-zA-Z0-9_-]*")
_SPECIAL: Final = frozenset(("size", "first", "last"))


def is_truthy(value: Any) -> bool:
    return not (value is None or value is False or is_undefined(value))


def equal(run: Run, left: Any, right: Any) -> bool:
    run.spend(1)
    if isinstance(left, str):
        if isinstance(right, str):
            # If their lengths differ, so do they; bytes are compared at memory speed.
            if len(left) != len(right):
                return False
            run.spend(len(left) >> (CHARS_SHIFT + 4))
            return left == right
        if isinstance(right, Blank):
            run.weigh(left)
    elif isinstance(left, _CONTAINERS):
        if isinstance(right, _CONTAINERS) and len(left) == len(right):
            run.weigh(left)
    elif isinstance(left, Blank):
        run.weigh(right)
    return _eq(left, right)


def less(run: Run, token: Token, left: Any, right: Any) -> bool:
    _pay_for_order(run, left, right)
    return _lt(token, left, right)


def at_most(run: Run, left: Any, right: Any) -> bool:
    _pay_for_order(run, left, right)
    return _le(left, right)


def _pay_for_order(run: Run, left: Any, right: Any) -> None:
    run.spend(1)
    if isinstance(left, str) and isinstance(right, str):
        run.spend(min(len(left), len(right)) >> CHARS_SHIFT)
    elif (
        isinstance(left, _CONTAINERS) and isinstance(right, _CONTAINERS) and len(left) == len(right)
    ):
        run.weigh(left)
    elif isinstance(left, Blank) or isinstance(right, Blank):
        run.weigh(right if isinstance(left, Blank) else left)


def contains(run: Run, token: Token, left: Any, right: Any) -> bool:
    run.spend(1)
    if not is_truthy(left) or not is_truthy(right):
        return False
    weight = run.weigh(right)
    if isinstance(left, str):
        run.weigh(left)
        sought = right if isinstance(right, str) else str(right)
        run.spend(search_price(len(left), len(sought)))
    elif isinstance(left, list | tuple | range):
        run.spend(len(left) >> 2)
        if isinstance(right, str):
            run.spend(len(left) * (weight >> CHARS_SHIFT) >> 4)
        elif isinstance(right, _CONTAINERS):
            run.spend(len(left) * weight >> CHARS_SHIFT)
    return _contains(token, left, right)


def search_price(length: int, sought: int) -> int:
    """Return what a search for one text in another may take.

    CPython compares at every position of short texts, which costs the product of the lengths, and
    searches longer ones in linear time.
    """
    if length < sought:
        return 0
    if length < 2_500 or sought < 100:
        return length * sought >> 11
    return (length + sought) >> 5


def item_of(run: Run, value: Any, key: Any) -> Any:
    """Return what `key` names in `value`; raises KeyError, IndexError or TypeError if nothing."""
    if type(value) is dict and type(key) is str and key not in _SPECIAL:
        return value[key]
    if is_undefined(key):
        key = None
    if isinstance(value, str):
        if isinstance(key, int):
            raise TypeError("string object is not subscriptable")
        # The preview's placeholder for a value records what is looked up in it.
        run.spend((len(value) + (len(key) if isinstance(key, str) else 0)) >> CHARS_SHIFT)
    if isinstance(key, str) and key in _SPECIAL:
        return _special(value, key)
    return value[key]


def _special(value: Any, key: str) -> Any:
    try:
        return value[key]
    except (KeyError, IndexError, TypeError):
        if key == "size" and isinstance(value, Sized):
            return len(value)
        if key == "first" and isinstance(value, Mapping) and value:
            return next(islice(value.items(), 1))
        if key != "size" and isinstance(value, Sequence) and not isinstance(value, str):
            return value[0 if key == "first" else -1]
        raise


def path_text(segments: Sequence[Any]) -> str:
    """Return a variable as messages name it: user.name, or user['first name']."""
    first, *others = segments
    names = (segment for segment in others if isinstance(segment, str))
    return str(first) + "".join(
        f".{name}" if _PROPERTY.fullmatch(name) else f"[{name!r}]" for name in names
    )
