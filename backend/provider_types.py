"""The provider of a connector type, or the error that lists the types there are."""

from __future__ import annotations

from typing import Any, Final

from backend.errors import FieldError, InvalidConnectorType
from backend.providers.frame.provider import Provider
from backend.providers.frame.registry import UnknownProvider, get_provider, provider_types

# The built-in type: test messages go through it, and a project begins with one.
SANDBOX: Final = "sandbox"
# What our own mail goes through.
SMTP: Final = "smtp"


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
