"""Asks a provider whether credentials work. No transaction is open while it is asked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from backend.crypto import Vault
from backend.errors import AppError, FieldError, InvalidConnectorCredentials, ThirdPartyError
from backend.models import Connector
from backend.providers._base import Health, Provider, ProviderContext
from backend.providers._errors import SendError, Unauthorized
from backend.services.connectors.credentials import check_credentials, open_provider
from backend.services.connectors.types import provider_of


async def ask_provider(connector: Connector, *, vault: Vault, context: ProviderContext) -> Health:
    """Return what the provider says to the stored credentials; a refusal or an outage is a Health that says so."""
    try:
        return await _validate(open_provider(connector, vault=vault, context=context))
    except SendError as exc:
        return Health(connected=False, message=exc.reason)
    except AppError as exc:
        return Health(connected=False, message=exc.message)


async def verify_credentials(connector_type: str, values: Mapping[str, Any], *, context: ProviderContext) -> None:
    """Ask the provider before anything is stored.

    Raises what check_credentials raises, InvalidConnectorCredentials when the provider refuses them,
    ThirdPartyError when it cannot be asked.
    """
    provider = provider_of(connector_type)(check_credentials(connector_type, values), context)
    try:
        health = await _validate(provider)
    except Unauthorized as exc:
        raise _refused(exc.reason) from exc
    except SendError as exc:
        raise ThirdPartyError(
            f"{provider.title} could not be asked about the credentials: {exc.reason} Try again, or create the "
            "connector without verify=true."
        ) from exc
    if not health.connected:
        raise _refused(health.message)


async def _validate(provider: Provider[Any]) -> Health:
    try:
        return await provider.validate()
    finally:
        await provider.aclose()


def _refused(reason: str) -> InvalidConnectorCredentials:
    error = FieldError("credentials", InvalidConnectorCredentials.code, reason)
    return InvalidConnectorCredentials(reason, errors=[error])
