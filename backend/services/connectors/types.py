"""What a form and a callback need to know of each connector type."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from backend.provider_types import provider_of
from backend.providers.frame.registry import describe, provider_types


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


def is_built_in(connector_type: str) -> bool:
    """Tell whether this type comes with the server and needs no account."""
    provider = provider_types().get(connector_type)
    return provider is not None and provider.is_built_in


def sender_of(connector_type: str, visible: Mapping[str, Any]) -> str:
    """Return who sends, from a connector's visible credentials; "" where they don't say."""
    provider = provider_types().get(connector_type)
    if provider is None:
        return ""
    named = (str(visible[name]) for name in provider.sender_fields if visible.get(name))
    return next(named, provider.sender)


def icons() -> dict[str, str]:
    """Return the icon of each type."""
    return {name: provider.icon for name, provider in provider_types().items()}
