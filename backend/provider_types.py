"""Look up a connector type's provider; the error for an unknown type lists the installed ones."""

from __future__ import annotations

from typing import Any

from backend.errors import FieldError, InvalidConnectorType
from backend.providers.frame.provider import Provider
from backend.providers.frame.registry import UnknownProvider, describe, get_provider, provider_types


def provider_of(connector_type: str, *, field: str = "type") -> type[Provider[Any]]:
    """Return the provider of a connector type; raises InvalidConnectorType.

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
    """Tell whether this type's provider sends callbacks; False if it is no longer installed."""
    provider = provider_types().get(connector_type)
    return provider is not None and provider.callback_type is not None


def callback_help(connector_type: str) -> str:
    """Return a sentence that says where to enter the callback URL at the provider."""
    return provider_of(connector_type).callback_help


def describe_connector_types() -> list[dict[str, Any]]:
    """Return what a form shows of every type: title, capabilities, credential fields, ..."""
    return [describe(type_) for type_ in provider_types()]
