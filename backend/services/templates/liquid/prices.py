"""What each filter costs, paid before it is called. The filters themselves are python-liquid's.

A price is what the call takes at worst, in units of fuel; the numbers were measured with the worst
values for each filter. A filter that isn't listed here has no price and doesn't exist.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, Final

from markupsafe import Markup, escape

from backend.services.templates.liquid.compare import search_price
from backend.services.templates.liquid.limits import CHARS_SHIFT, DATE_CHARS, TemplateRenderError
from backend.services.templates.liquid.run import Run

Price = Callable[[Run, Any, Sequence[Any]], None]

# How deep python-liquid flattens lists.
_FLATTEN_LEVELS: Final = 5
# A width makes strftime write that many characters.
_DATE_WIDTH: Final = re.compile(r"%[^a-zA-Z%]*\d{3}")
_DATE_PRICE: Final = 200


def price_of(name: str) -> Price:
    """Return the price of a filter; raises KeyError for an unknown filter."""
    return _PRICES[name]


def _free(_run: Run, _value: Any, _arguments: Sequence[Any]) -> None:
    """Charge nothing: the base price of every filter covers it."""


def _text(run: Run, value: Any, arguments: Sequence[Any], *, factor: int = 1) -> None:
    weight = run.weigh(value)
    for argument in arguments:
        weight += run.weigh(argument)
    run.spend(weight * (factor - 1) >> CHARS_SHIFT)


def _as_text(run: Run, value: Any) -> str:
    run.weigh(value)
    if isinstance(value, str):
        return value
    text = "" if value is None else str(value)
    run.spend(len(text) >> CHARS_SHIFT)
    return text


def _search(run: Run, value: Any, arguments: Sequence[Any], *, is_backward: bool = False) -> None:
    """Charge a search for the first argument in the value, then writing the others."""
    text = _as_text(run, value)
    sought = _as_text(run, arguments[0]) if arguments else ""
    if is_backward:
        # Python searches backward by trying every position.
        run.spend(len(text) * len(sought) >> 10)
    else:
        run.spend(search_price(len(text), len(sought)))
    for argument in arguments[1:]:
        run.weigh(argument)


def _replace(run: Run, value: Any, arguments: Sequence[Any]) -> None:
    _search(run, value, arguments)
    text = _as_text(run, value)
    sought, by = (*(_as_text(run, argument) for argument in arguments), "", "")[:2]
    if isinstance(value, Markup):
        sought, by = escape(sought), escape(by)
        run.spend(search_price(len(text), len(sought)))
    count = str(text).count(str(sought)) if sought else len(text) + 1
    run.spend(count * len(by) >> CHARS_SHIFT)


def _split(run: Run, value: Any, arguments: Sequence[Any]) -> None:
    _search(run, value, arguments)
    text = _as_text(run, value)
    separator = str(arguments[0]) if arguments and isinstance(arguments[0], str) else ""
    if separator == " ":
        pieces = len(text) // 2
    elif separator:
        run.spend(search_price(len(text), len(separator)))
        pieces = str(text).count(separator)
    else:
        pieces = len(text)
    run.spend(pieces >> 2)


def _slice(run: Run, value: Any, arguments: Sequence[Any]) -> None:
    if isinstance(value, list | tuple | range):
        run.spend(len(value) >> 2)
        value = None
    _text(run, value, arguments)


def _strip_html(run: Run, value: Any, _arguments: Sequence[Any]) -> None:
    """Python's HTML parser reads to the end of the text at every unclosed "<"."""
    text = _as_text(run, value)
    brackets = text.count("<")
    run.spend(8 + (13 * len(text) >> 6) + 2 * brackets + (len(text) * brackets >> 9))


def _date(run: Run, value: Any, arguments: Sequence[Any]) -> None:
    run.spend(_DATE_PRICE)
    texts = [text for text in (value, *arguments) if isinstance(text, str)]
    if sum(map(len, texts)) > DATE_CHARS:
        raise TemplateRenderError(f"a date and its format may have {DATE_CHARS} characters")
    if any(isinstance(text, str) and _DATE_WIDTH.search(text) for text in arguments):
        raise TemplateRenderError("a width in a date's format may have two digits")
    run.weigh(value)


def _flat(run: Run, value: Any) -> list[Any]:
    """Return the elements that a filter of lists goes through, each paid for."""
    if isinstance(value, range):
        run.spend(len(value))
        return list(value)
    if not isinstance(value, list | tuple):
        run.spend(1)
        return [value]
    return list(_flattened(run, value, _FLATTEN_LEVELS))


def _flattened(run: Run, items: Sequence[Any], level: int) -> Iterator[Any]:
    run.spend(len(items) + 1)
    for item in items:
        if level and isinstance(item, list | tuple):
            yield from _flattened(run, item, level - 1)
        else:
            yield item


def _items(run: Run, value: Any, arguments: Sequence[Any]) -> None:
    _flat(run, value)
    for argument in arguments:
        if isinstance(argument, list | tuple | dict):
            run.spend(len(argument) >> 2)
        else:
            run.weigh(argument)


def _join(run: Run, value: Any, arguments: Sequence[Any]) -> None:
    count = len(_flat(run, value))
    run.weigh(value)
    separator = _as_text(run, arguments[0]) if arguments else " "
    run.spend(count * len(separator) >> CHARS_SHIFT)


def _keyed(run: Run, value: Any, arguments: Sequence[Any]) -> list[Any]:
    """Charge a look-up of the first argument in each element; texts are searched for it."""
    elements = _flat(run, value)
    if not arguments:
        return elements
    key = arguments[0]
    weight = run.weigh(key)
    if isinstance(key, list | tuple | dict):
        # It is turned into a text for each element.
        run.spend(len(elements) * weight >> (CHARS_SHIFT - 2))
    if isinstance(key, str):
        for element in elements:
            if isinstance(element, str):
                # Besides the search, the error that Python raises first.
                run.spend(
                    2
                    + search_price(len(element), len(key))
                    + (len(element) + len(key) >> CHARS_SHIFT)
                )
    if len(arguments) > 1:
        sought = arguments[1]
        weight = run.weigh(sought)
        per_element = weight >> (10 if isinstance(sought, str) else CHARS_SHIFT)
        run.spend(len(elements) * per_element)
    return elements


def _sort(run: Run, value: Any, arguments: Sequence[Any], *, factor: int = 1) -> None:
    count = len(_keyed(run, value, arguments))
    weight = run.weigh(value)
    rounds = count.bit_length()
    run.spend((count * rounds >> 3) + (weight * rounds >> 10))
    run.spend(weight * (factor - 1) >> CHARS_SHIFT)


def _unique(run: Run, value: Any, arguments: Sequence[Any]) -> None:
    """Charge the comparison of each element with all before it."""
    count = len(_keyed(run, value, arguments))
    weight = run.weigh(value)
    run.spend((count * count >> 6) + (count * weight >> 10))


def _sum(run: Run, value: Any, arguments: Sequence[Any]) -> None:
    _keyed(run, value, arguments)
    run.spend(run.weigh(value) * 16 >> CHARS_SHIFT)


def _find(run: Run, value: Any, arguments: Sequence[Any]) -> None:
    _keyed(run, value, arguments)


def _factor(factor: int) -> Price:
    return partial(_text, factor=factor)


_PRICES: Final[dict[str, Price]] = {
    **dict.fromkeys(("default", "first", "last", "size"), _free),
    **dict.fromkeys(
        (
            "append", "capitalize", "downcase", "escape", "lstrip", "prepend", "rstrip", "safe",
            "strip", "truncate",
            "upcase",
        ),
        _text,
    ),
    **dict.fromkeys(
        ("base64_decode", "base64_encode", "base64_url_safe_decode", "base64_url_safe_encode",
        "truncatewords"),
        _factor(2),
    ),
    # They read numbers from texts.
    **dict.fromkeys(
        ("abs", "at_least", "at_most", "ceil", "divided_by", "floor", "minus", "modulo", "plus",
        "round", "times"),
        _factor(4),
    ),
    **dict.fromkeys(("escapejs", "newline_to_br", "squish", "strip_newlines", "url_encode"),
    _factor(8)),
    "url_decode": _factor(16),
    "escape_once": _factor(24),
    "strip_html": _strip_html,
    "date": _date,
    **dict.fromkeys(("remove", "remove_first", "replace_first"), _search),
    **dict.fromkeys(("remove_last", "replace_last"), partial(_search, is_backward=True)),
    "replace": _replace,
    "split": _split,
    "slice": _slice,
    **dict.fromkeys(("concat", "reverse"), _items),
    "join": _join,
    **dict.fromkeys(("compact", "find", "find_index", "has", "map", "reject", "where"), _find),
    "sort": _sort,
    "sort_natural": partial(_sort, factor=8),
    "sum": _sum,
    "uniq": _unique,
}  # fmt: skip
