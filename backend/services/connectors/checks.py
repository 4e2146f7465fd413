"""Asks a provider whether credentials work. No transaction is open while it is asked."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import structlog

from backend.crypto import Vault
from backend.errors import (
    AppError,
    ConnectorFailed,
    FieldError,
    InvalidConnectorCredentials,
    ThirdPartyError,
)
from backend.models import Connector
from backend.provider_types import provider_of
from backend.providers.frame.errors import SendError, Unauthorized
from backend.providers.frame.provider import Health, Provider, ProviderContext
from backend.services.connectors.credentials import check_credentials, open_provider

log = structlog.get_logger(__name__)


async def ask_provider(connector: Connector, *, vault: Vault, context: ProviderContext) -> Health:
    """Return what the provider says to the stored credentials; a refusal or an outage is a Health
    that says so.

    Raises ConnectorFailed when the fault is the adapter's own.
    """
    try:
        return await _validate(
            connector.type, lambda: open_provider(connector, vault=vault, context=context)
        )
    except SendError as exc:
        return Health(connected=False, message=exc.reason)
    except ConnectorFailed:
        raise
    except AppError as exc:
        return Health(connected=False, message=exc.message)


async def verify_credentials(
    connector_type: str, values: Mapping[str, Any], *, context: ProviderContext
) -> None:
    """Ask the provider before anything is stored.

    Raises what check_credentials raises, InvalidConnectorCredentials when the provider refuses
    them, ThirdPartyError when it cannot be asked, ConnectorFailed when the fault is the adapter's
    own.
    """
    adapter = provider_of(connector_type)
    credentials = check_credentials(connector_type, values)
    try:
        health = await _validate(connector_type, lambda: adapter(credentials, context))
    except Unauthorized as exc:
        raise _refused(exc.reason) from exc
    except SendError as exc:
        raise ThirdPartyError(
            f"{adapter.title} could not be asked about the credentials: {exc.reason} Try again, or"
            " create the connector without verify=true."
        ) from exc
    if not health.connected:
        raise _refused(health.message)


async def _validate(connector_type: str, open_it: Callable[[], Provider[Any]]) -> Health:
    """Open the provider, ask it and close it; opening is the adapter's own work too."""
    provider: Provider[Any] | None = None
    try:
        provider = open_it()
        return await provider.validate()
    except (SendError, AppError):
        raise
    except Exception as exc:
        # An adapter may be a stranger's: it must not look like our own fault, and its words may
        # hold secrets.
        log.exception("connector.failed", type=connector_type, error=type(exc).__name__)
        title = provider_of(connector_type).title
        raise ConnectorFailed(
            f"The {title} connector failed by itself; the server's log says how."
        ) from exc
    finally:
        if provider is not None:
            await _close(provider)


async def _close(provider: Provider[Any]) -> None:
    try:
        await provider.aclose()
    except Exception:  # what it said to the credentials counts all the same
        log.exception("connector.not_closed", type=provider.type)


def _refused(reason: str) -> InvalidConnectorCredentials:
    error = FieldError("credentials", InvalidConnectorCredentials.code, reason)
    return InvalidConnectorCredentials(reason, errors=[error])
