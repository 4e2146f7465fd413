"""Find the providers and describe them: a file in this package or an entry point is enough."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import re
import types
from collections.abc import Callable, Iterator, Mapping
from enum import Enum
from functools import lru_cache
from importlib.metadata import entry_points
from typing import Any, Final, Literal, Union, get_args, get_origin

import orjson
import structlog
from pydantic import SecretStr
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

import backend.providers as package
from backend.providers import frame
from backend.providers.frame.provider import (
    Capability,
    Credentials,
    Pacing,
    Provider,
    RecipientKind,
    Retry,
)

log = structlog.get_logger(__name__)

ENTRY_POINT_GROUP: Final = "messagejs.providers"
_TYPE_NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,31}")
_ICON_NAME: Final = re.compile(r"[a-z][a-z0-9_]*")
_RECIPIENT_KINDS: Final[tuple[str, ...]] = get_args(RecipientKind)

AnyProvider = Provider[Any]


class UnknownProvider(KeyError):
    """No provider of this type is installed."""

    def __init__(self, provider_type: str, known: tuple[str, ...]) -> None:
        self.message = (
            f"There is no provider '{provider_type[:40]}'; use one of: {', '.join(known)}."
        )
        super().__init__(provider_type)

    def __str__(self) -> str:
        return self.message


@lru_cache(maxsize=1)
def provider_types() -> dict[str, type[AnyProvider]]:
    """Return every installed provider by type: the built-in ones first, each group by name."""
    by_type = {provider.type: provider for provider in _built_in()}
    for provider in _installed():
        if provider.type in by_type:
            log.warning(
                "provider.skipped", provider=provider.type, problem="a provider of this type exists"
            )
        else:
            by_type[provider.type] = provider
    return by_type


def get_provider(provider_type: str) -> type[AnyProvider]:
    """Return the provider of this type; raises UnknownProvider, which names the known ones."""
    known = provider_types()
    if provider_type not in known:
        raise UnknownProvider(provider_type, tuple(known))
    return known[provider_type]


def _built_in() -> Iterator[type[AnyProvider]]:
    """Yield the providers that the modules and packages beside `frame` define or export; a broken
    one is logged and left out.
    """
    for module_info in pkgutil.iter_modules(package.__path__):
        name = f"{package.__name__}.{module_info.name}"
        if name == frame.__name__:
            continue
        for value in vars(importlib.import_module(name)).values():
            if not inspect.isclass(value) or not issubclass(value, Provider):
                continue
            is_defined_here = value.__module__ == name or value.__module__.startswith(f"{name}.")
            # A base of several providers has no type of its own.
            if not is_defined_here or not hasattr(value, "type"):
                continue
            if problem := frame_problem(value):
                log.warning("provider.skipped", provider=name, problem=problem)
            else:
                yield value


def _installed() -> Iterator[type[AnyProvider]]:
    """Yield third parties' providers; a broken one is logged and left out."""
    for entry_point in sorted(entry_points(group=ENTRY_POINT_GROUP), key=lambda each: each.name):
        try:
            candidate = entry_point.load()
            problem = frame_problem(candidate)
        except Exception as exc:  # noqa: BLE001 (a third party's code may raise anything)
            problem = f"{type(exc).__name__}: {exc}"
        if problem is None:
            yield candidate
        else:
            log.warning("provider.skipped", entry_point=entry_point.name, problem=problem)


def frame_problem(candidate: object) -> str | None:
    """Return what keeps `candidate` from being a provider, None if nothing does."""
    if not (inspect.isclass(candidate) and issubclass(candidate, Provider)):
        return "it is not a subclass of Provider"
    if inspect.isabstract(candidate):
        return f"it lacks {', '.join(sorted(candidate.__abstractmethods__))}"
    wrong = [
        f"{name}{_HINTS.get(name, '')}"
        for name, is_right in _CHECKS.items()
        if not is_right(getattr(candidate, name, None))
    ]
    if not wrong and (unknown := _unknown_sender_fields(candidate)):
        return f"sender_fields names what isn't a plain credential field: {', '.join(unknown)}"
    return f"these attributes are missing or wrong: {', '.join(wrong)}" if wrong else None


def _is_name(value: Any) -> bool:
    return isinstance(value, str) and _TYPE_NAME.fullmatch(value) is not None


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value)


def _is_texts(value: Any) -> bool:
    return isinstance(value, tuple) and all(_is_text(text) for text in value)


def _is_capabilities(value: Any) -> bool:
    return isinstance(value, frozenset) and all(
        isinstance(capability, Capability) for capability in value
    )


_HINTS: Final = {
    "type": " (lower-case letters, digits and _)",
    "icon": " (a Lucide icon, such as 'message_circle')",
    "recipient_kind": f" (one of {', '.join(_RECIPIENT_KINDS)})",
}
_CHECKS: Final[Mapping[str, Callable[[Any], bool]]] = {
    "type": _is_name,
    "title": _is_text,
    "summary": _is_text,
    "icon": lambda v: isinstance(v, str) and _ICON_NAME.fullmatch(v) is not None,
    "channel": _is_name,
    "recipient_kind": lambda v: v in _RECIPIENT_KINDS,
    "recipient_example": _is_text,
    "sender_fields": _is_texts,
    "base_url": lambda v: isinstance(v, str),
    "capabilities": _is_capabilities,
    "pacing": lambda v: isinstance(v, Pacing),
    "retry": lambda v: isinstance(v, Retry),
    "has_circuit": lambda v: isinstance(v, bool),
    "text_limit": lambda v: v is None or (isinstance(v, int) and v > 0),
    "callback_type": lambda v: v is None or (isinstance(v, str) and "/" in v),
    "receipts_carry_our_id": lambda v: isinstance(v, bool),
    "callback_help": lambda v: isinstance(v, str),
    "can_be_asked": lambda v: isinstance(v, bool),
    "credentials_model": lambda v: inspect.isclass(v) and issubclass(v, Credentials),
}


def _unknown_sender_fields(provider: type[AnyProvider]) -> list[str]:
    shown = {
        info.alias or name
        for name, info in provider.credentials_model.model_fields.items()
        if _plain_type(info.annotation) is not SecretStr
    }
    return [name for name in provider.sender_fields if name not in shown]


def parse_credentials(provider_type: str, values: Mapping[str, Any]) -> Credentials:
    """Return checked credentials; raises UnknownProvider or pydantic's ValidationError.

    To show the latter, use `errors(include_input=False, include_url=False, include_context=False)`.
    """
    return get_provider(provider_type).credentials_model.model_validate(values)


def credentials_to_json(credentials: Credentials) -> str:
    """Return the JSON to encrypt, SECRETS REVEALED; `parse_credentials` reads it back."""
    values = credentials.model_dump(by_alias=True, exclude_none=True)
    revealed = {
        name: value.get_secret_value() if isinstance(value, SecretStr) else value
        for name, value in values.items()
    }
    return orjson.dumps(revealed).decode()


@lru_cache(maxsize=64)
def destination_fields(provider: type[AnyProvider]) -> frozenset[str]:
    """Return the plain fields (camelCase) that decide where secrets go, as all do by default."""
    return frozenset(
        info.alias or name
        for name, info in provider.credentials_model.model_fields.items()
        if _plain_type(info.annotation) is not SecretStr and _extra(info).get("destination", True)
    )


@lru_cache(maxsize=64)
def sent_secrets(provider: type[AnyProvider]) -> frozenset[str]:
    """Return the secrets (camelCase) that are sent to the provider, as all are by default."""
    return frozenset(
        info.alias or name
        for name, info in provider.credentials_model.model_fields.items()
        if _plain_type(info.annotation) is SecretStr and _extra(info).get("is_sent", True)
    )


@lru_cache(maxsize=64)
def _described(provider: type[AnyProvider]) -> dict[str, Any]:
    return {
        "type": provider.type,
        "title": provider.title,
        "summary": provider.summary,
        "recipientKind": provider.recipient_kind,
        "recipientExample": provider.recipient_example,
        "capabilities": sorted(capability.value for capability in provider.capabilities),
        "textLimit": provider.text_limit,
        "pacing": {
            "perSecond": provider.pacing.per_second,
            "perRecipientPerSecond": provider.pacing.per_recipient_per_second,
        },
        "fields": [
            _field(name, info) for name, info in provider.credentials_model.model_fields.items()
        ],
    }


def describe(provider_type: str) -> dict[str, Any]:
    """Return what the dashboard's form and the API show of a provider, as plain JSON values.

    `fields`: name (camelCase), label, type (text, secret, number, select, boolean), required,
    default, placeholder, help, options ([{value, label}], for select).
    """
    described: dict[str, Any] = orjson.loads(orjson.dumps(_described(get_provider(provider_type))))
    return described


def _field(name: str, info: FieldInfo) -> dict[str, Any]:
    extra = _extra(info)
    kind = _plain_type(info.annotation)
    options = _options(kind, extra.get("optionLabels"))
    # A random default (a webhook secret) isn't a value to show.
    default = None if info.default is PydanticUndefined or kind is SecretStr else info.default
    placeholder = extra.get("placeholder") or (str(info.examples[0]) if info.examples else "")
    return {
        "name": info.alias or name,
        "label": info.title or name.replace("_", " ").capitalize(),
        "type": "select" if options else _form_type(kind),
        "required": info.is_required(),
        "default": default.value if isinstance(default, Enum) else default,
        "placeholder": placeholder,
        "help": info.description or "",
        "options": options,
    }


def _extra(info: FieldInfo) -> dict[str, Any]:
    return dict(info.json_schema_extra) if isinstance(info.json_schema_extra, dict) else {}


def _plain_type(annotation: Any) -> Any:
    """Strip `Annotated[...]` and `| None`."""
    if hasattr(annotation, "__metadata__"):
        return _plain_type(annotation.__origin__)
    if get_origin(annotation) in {Union, types.UnionType}:
        return _plain_type(next(part for part in get_args(annotation) if part is not type(None)))
    return annotation


def _options(kind: Any, labels: Any) -> list[dict[str, Any]]:
    if get_origin(kind) is Literal:
        values = list(get_args(kind))
    elif inspect.isclass(kind) and issubclass(kind, Enum):
        values = [member.value for member in kind]
    else:
        return []
    names = labels if isinstance(labels, dict) else {}
    return [{"value": value, "label": names.get(value, str(value))} for value in values]


def _form_type(kind: Any) -> str:
    if kind is SecretStr:
        return "secret"
    if kind is bool:
        return "boolean"
    return "number" if kind in {int, float} else "text"
