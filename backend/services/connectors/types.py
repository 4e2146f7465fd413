"""The connector types there are, and the error for those there are not."""

from __future__ import annotations

from typing import Any

from backend.errors import FieldError, InvalidConnectorType
from backend.providers.frame.provider import Provider
from backend.providers.frame.registry import UnknownProvider, describe, get_provider, provider_types


def provider_of(connector_type: str, *, field: str = "type") -> type[Provider[Any]]:
    """Return the adapter of a connector type; raises InvalidConnectorType, which lists the known
    ones.

    `field` is where the client wrote the type.
    """
    try:
        return get_provider(connector_type)
    except UnknownProvider as exc:
        known = ", ".join(provider_types())
        message = f"'{connector_type[:50]}' is not a connector type; use one of: {known}."
        raise InvalidConnectorType(
            message, errors=[FieldError(field, InvalidConnectorType.code, message)]
        ) from exc


def takes_callbacks(connector_type: str) -> bool:
    """Tell whether this type's provider reports to us; false for a type that is not installed any
    more.
    """
    provider = provider_types().get(connector_type)
    return provider is not None and provider.callback_type is not None


def callback_help(connector_type: str) -> str:
    """Return where the callback's URL is entered at the provider, in a sentence."""
    return provider_of(connector_type).callback_help


def describe_connector_types() -> list[dict[str, Any]]:
    """Return what a form needs of every type: title, capabilities, credential fields."""
    return [describe(type_) for type_ in provider_types()]
