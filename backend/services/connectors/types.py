"""What a form and a callback need to know of each connector type."""

from __future__ import annotations

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
