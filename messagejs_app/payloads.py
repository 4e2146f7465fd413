"""What a browser may send as an event: a known handler, its arguments in their types, a page's own
address.

Everything else is refused before Reflex sees it, and nothing of it is logged but why.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from inspect import Parameter, signature
from typing import Any, Final, get_args, get_origin

from reflex_base.constants.state import FIELD_MARKER
from reflex_base.registry import RegisteredEventHandler, RegistrationContext
from reflex_base.utils.form import FORM_DATA_ENTRIES_KEY

_ROOT: Final = "reflex___state____state"
HYDRATE: Final = f"{_ROOT}.hydrate_and_load"
ON_LOAD: Final = f"{_ROOT}.reflex___state____on_load_internal_state.on_load_internal"
UPDATE_VARS: Final = f"{_ROOT}.reflex___state____update_vars_internal_state.update_vars_internal"
PAGE_FAILED: Final = (
    f"{_ROOT}.reflex___state____frontend_event_exception_state.handle_frontend_exception"
)
# What Reflex's own frontend sends. Its other handlers are for the server, or let the browser set
# any field.
FRAMEWORK: Final = frozenset({HYDRATE, ON_LOAD, UPDATE_VARS, PAGE_FAILED})

_OURS: Final = "messagejs_app."
# An argument of one of these names holds what somebody writes: a template's text, a form.
_WRITTEN: Final = frozenset({"text", "data", "_data", "info", "component_stack"})
# More than any field takes, so that the field itself says how much it does.
_LONGEST_WRITTEN: Final = 200_000
_LONGEST: Final = 2_000
_LONGEST_STORED: Final = 300
_MOST_FIELDS: Final = 200
_ARGUMENTS: Final = "payload"


class Refused(Exception):
    """Says why, without a word of what was sent."""


class TooLong(Refused):
    """Somebody may have written it: who is signed in is told."""

    def __init__(self, longest: int) -> None:
        super().__init__("a text that is too long")
        self.longest = longest


def read_event(data: Any, *, storage: frozenset[str]) -> dict[str, Any]:
    """Return the event as Reflex may have it. `storage`: the browser's values that are taken over.

    Raises Refused.
    """
    if not isinstance(data, dict):
        raise Refused("not an object")
    name = data.get("name")
    registered = handler_of(name)
    payload = data.get(_ARGUMENTS) or {}
    if not isinstance(payload, dict):
        raise Refused("arguments that are no object")
    if name in {HYDRATE, UPDATE_VARS}:
        payload = _storage_payload(payload, storage, has_hashes=name == HYDRATE)
    else:
        payload = _arguments(payload, registered)
    return {"name": name, _ARGUMENTS: payload, "router_data": _router_data(data.get("router_data"))}


def handler_of(name: Any) -> RegisteredEventHandler:
    """Return the handler that a browser may call by this name. Raises Refused."""
    registered = (
        RegistrationContext.get().event_handlers.get(name) if isinstance(name, str) else None
    )
    if registered is None:
        raise Refused("no such event")
    if name in FRAMEWORK:
        return registered
    is_ours = registered.states[0].__module__.startswith(_OURS)
    if not is_ours or name.rpartition(".")[2] == "setvar":
        raise Refused("an event that is not for browsers")
    return registered


@cache
def _parameters(handler: Any) -> Mapping[str, tuple[Any, bool]]:
    """The handler's arguments: type, and whether each must be given."""
    hints = handler._type_hints or {}  # noqa: SLF001 (what Reflex itself would convert the arguments by)
    parameters = list(signature(handler.fn).parameters.values())[1:]
    return {
        parameter.name: (hints.get(parameter.name), parameter.default is Parameter.empty)
        for parameter in parameters
    }


def _arguments(payload: dict[str, Any], registered: RegisteredEventHandler) -> dict[str, Any]:
    parameters = _parameters(registered.handler)
    if not set(payload) <= set(parameters):
        raise Refused("an argument that the event does not take")
    if any(is_needed and name not in payload for name, (_, is_needed) in parameters.items()):
        raise Refused("an argument is missing")
    return {name: _fitting(name, value, parameters[name][0]) for name, value in payload.items()}


def _fitting(name: str, value: Any, hint: Any) -> Any:
    longest = _LONGEST_WRITTEN if name in _WRITTEN else _LONGEST
    if hint is str and isinstance(value, str):
        return _text(value, longest)
    if hint is bool and isinstance(value, bool):
        return value
    if get_origin(hint) is dict and isinstance(value, dict):
        return _form(value, only_text=get_args(hint)[1] is str)
    raise Refused("an argument of another type")


def _form(value: dict[str, Any], *, only_text: bool) -> dict[str, Any]:
    """A submitted form is flat: names, and texts, switches or numbers."""
    entries = value.get(FORM_DATA_ENTRIES_KEY)
    if entries is None:
        pairs = list(value.items())
    elif len(value) == 1 and isinstance(entries, list):
        pairs = entries
    else:
        raise Refused("a form of another shape")
    if len(pairs) > _MOST_FIELDS:
        raise Refused("a form with too many fields")
    return dict(_field(pair, only_text=only_text) for pair in pairs)


def _field(pair: Any, *, only_text: bool) -> tuple[str, Any]:
    match pair:
        case [str() as name, str() as value] | (str() as name, str() as value):
            return _text(name, _LONGEST), _text(value, _LONGEST_WRITTEN)
        case [str() as name, None | bool() | float() as value] if not only_text:
            return _text(name, _LONGEST), value
        case [str() as name, int() as value] if not only_text and abs(value) < 2**63:
            return _text(name, _LONGEST), value
    raise Refused("a form's field of another type")


def _text(value: str, longest: int) -> str:
    """Half of a surrogate pair and NUL cannot be stored; no keyboard writes them."""
    if len(value) > longest:
        raise TooLong(longest)
    if not value.isascii():
        value = value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return value.replace("\0", "")


def _storage_payload(
    payload: dict[str, Any], storage: frozenset[str], *, has_hashes: bool
) -> dict[str, Any]:
    given = payload.get("vars") or {}
    if not isinstance(given, dict) or len(given) > _MOST_FIELDS:
        raise Refused("stored values that are no object")
    kept = {
        name: _text(value, _LONGEST_STORED)
        for name, value in given.items()
        if name.removesuffix(FIELD_MARKER) in storage
        and isinstance(value, str)
        and len(value) <= _LONGEST_STORED
    }
    hashes = payload.get("hashes")
    if not has_hashes or hashes is None:
        return {"vars": kept}
    if not isinstance(hashes, list) or len(hashes) > _MOST_FIELDS:
        raise Refused("hashes that are no list")
    return {"vars": kept, "hashes": [_fitting("hash", item, str) for item in hashes]}


def _router_data(value: Any) -> dict[str, Any]:
    """The page that the browser shows: its path, and the same path with the query."""
    if not isinstance(value, dict):
        raise Refused("no page")
    path, address, query = value.get("pathname"), value.get("asPath"), value.get("query") or {}
    if not isinstance(path, str) or not isinstance(address, str) or not isinstance(query, dict):
        raise Refused("a page of another shape")
    path, address = _text(path, _LONGEST), _text(address, _LONGEST)
    if not path.startswith("/") or path.startswith("//") or not address.startswith(path):
        raise Refused("a page that has another address")
    if address[len(path) :][:1] not in {"", "?", "#"} or len(query) > _MOST_FIELDS:
        raise Refused("a page that has another address")
    parts = {_fitting("query", name, str): _query_value(part) for name, part in query.items()}
    return {"pathname": path, "asPath": address, "query": parts}


def _query_value(value: Any) -> str | list[str]:
    if isinstance(value, list) and len(value) <= _MOST_FIELDS:
        return [_fitting("query", item, str) for item in value]
    text: str = _fitting("query", value, str)
    return text
