"""Look up a connector type's provider; the error for an unknown type lists the installed ones.

Nothing above this module names a type: what differs between types, the provider's class declares.
"""

from __future__ import annotations

from typing import Any, Final

from backend.errors import FieldError, InvalidConnectorType
from backend.providers.frame.provider import Provider
from backend.providers.frame.registry import UnknownProvider, describe, get_provider, provider_types
from backend.providers.sandbox import SandboxProvider

# Every project has a sandbox from the start, and test keys reach nothing else.
SANDBOX: Final = SandboxProvider.type


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


def sender_fields(connector_type: str) -> tuple[str, ...]:
    """Return the credential fields (JSON names) that name the sender, the best first."""
    provider = provider_types().get(connector_type)
    return provider.sender_fields if provider is not None else ()


def icons() -> dict[str, str]:
    """Return the Lucide icon of every installed type."""
    return {type_: provider.icon for type_, provider in provider_types().items()}


def default_urls() -> dict[str, str]:
    """Return where the API of every installed type is, unless the settings say otherwise."""
    return {type_: provider.base_url for type_, provider in provider_types().items()}


def describe_connector_types() -> list[dict[str, Any]]:
    """Return what a form shows of every type: title, capabilities, credential fields, ..."""
    return [describe(type_) for type_ in provider_types()]
