"""How JSON bodies are read: parsed, and checked for their size and for what cannot be stored.

Routes made by `api_router` do this by themselves; those that read their bodies directly ask
`needs_check` first.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Coroutine
from typing import Any, Final

from fastapi import Request, Response
from fastapi.routing import APIRoute

from backend.api.frame.validation import malformed_body
from backend.errors import FieldError, MalformedBody, ValidationFailed
from backend.json_values import MOST_DEPTH, MOST_FIELDS, Flaw, find_excess, find_flaw

# Every send is checked, so this must be quick: with every digit replaced by 0, a search finds
# numbers that are too large.
_DIGITS_ALIKE: Final = bytes.maketrans(b"123456789E-", b"000000000e+")
_LARGE: Final = (b"0" * 19, b"0e000", b"0e+000")
_ODD: Final = (b"\\u0000", b"NaN", b"Infinity")
_LONGEST_INT_CHARS: Final = 40


def needs_check(body: bytes) -> bool:
    """Whether anything in the body might be too large, or impossible to store. Cheap."""
    alike = body.translate(_DIGITS_ALIKE)
    return (
        _LARGE[0] in alike
        or _LARGE[1] in alike
        or _LARGE[2] in alike
        or _ODD[0] in body
        or _ODD[1] in body
        or _ODD[2] in body
        or body.count(b"[") + body.count(b"{") > MOST_DEPTH
        or (len(body) > MOST_FIELDS and body.count(b",") + body.count(b":") > MOST_FIELDS)
    )


def read_json(body: bytes) -> Any:
    """Return the parsed body. Raises MalformedBody."""
    try:
        return json.loads(body.decode(), parse_int=_whole)
    except json.JSONDecodeError as exc:
        raise malformed_body(exc) from exc
    except UnicodeDecodeError as exc:
        raise MalformedBody("The body is not valid JSON in UTF-8.") from exc
    except RecursionError as exc:
        raise MalformedBody(
            f"The body is nested too deeply; send at most {MOST_DEPTH} levels."
        ) from exc


def _whole(digits: str) -> int:
    """Cut the number: Python refuses thousands of digits and is slow with hundreds, and whatever is
    cut is too large anyway.
    """
    return int(digits[:_LONGEST_INT_CHARS])


def check_values(value: object) -> None:
    """Raises ValidationFailed, naming the field that cannot be stored or is too large."""
    _refuse(find_flaw(value))


def check_size(value: object) -> None:
    """Raises ValidationFailed, naming the field that is too large."""
    _refuse(find_excess(value))


def _refuse(flaw: Flaw | None) -> None:
    if flaw is not None:
        raise ValidationFailed(
            errors=[FieldError(flaw.path or "body", "VALIDATION_ERROR", flaw.message)]
        )


class _CheckedRequest(Request):
    async def json(self) -> Any:
        value = read_json(await self.body())
        check_values(value)
        return value


class CheckedRoute(APIRoute):
    """A route that checks its JSON body."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def checked(request: Request) -> Response:
            return await handle(_CheckedRequest(request.scope, request.receive))

        return checked
