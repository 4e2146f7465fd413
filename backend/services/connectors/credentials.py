"""A connector's credentials: checked by its provider's model, encrypted under its id, never shown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final
from uuid import UUID

import orjson
from pydantic import ValidationError
from pydantic_core import ErrorDetails

from backend import ids
from backend.crypto import DecryptionFailed, Vault
from backend.errors import FieldError, InvalidConnectorCredentials, ValidationFailed
from backend.models import Connector
from backend.provider_types import provider_of
from backend.providers.frame.provider import Credentials, Provider, ProviderContext
from backend.providers.frame.registry import (
    credentials_to_json,
    describe,
    destination_fields,
    parse_credentials,
    sent_secrets,
)

_MISSING: Final = "MISSING_REQUIRED_FIELD"
_AGAIN: Final = "SECRET_REQUIRED"


def check_credentials(connector_type: str, values: Mapping[str, Any]) -> Credentials:
    """Return the provider's credentials, empty form fields left out.

    Raises InvalidConnectorType; ValidationFailed when fields are missing;
    InvalidConnectorCredentials when values are wrong. Fields are named as in
    `credentials.accessToken`.
    """
    provider_of(connector_type)
    given = {name: value for name, value in values.items() if value is not None and value != ""}
    try:
        return parse_credentials(connector_type, given)
    except ValidationError as exc:
        problems = exc.errors(include_url=False, include_context=False, include_input=False)
        errors = [_field_error(connector_type, problem) for problem in problems]
        if all(error.code == _MISSING for error in errors):
            raise ValidationFailed(errors=errors) from None
        raise InvalidConnectorCredentials(errors[0].message, errors=errors) from None


def merge_credentials(
    connector_type: str, stored: Mapping[str, Any], changes: Mapping[str, Any]
) -> Credentials:
    """Return `stored` with `changes` put over it, checked.

    What is not sent stays: credentials are never returned, so nobody could send them back. An empty
    secret stays too (a form shows it empty); null clears a field, and so does an empty plain one.
    But a stored secret stays only with where it is sent: who may change the destination need not
    know the secret.

    Raises what check_credentials raises, and ValidationFailed for secrets that must be entered
    again.
    """
    secrets = secret_fields(connector_type)
    given = {
        name: value for name, value in changes.items() if not (name in secrets and value == "")
    }
    merged = check_credentials(connector_type, {**stored, **given})
    provider = provider_of(connector_type)
    before, after = _normal_form(connector_type, stored), _as_dict(merged)
    moved = sorted(
        name for name in destination_fields(provider) if before.get(name) != after.get(name)
    )
    kept = sorted(
        name
        for name in sent_secrets(provider)
        if stored.get(name) and name in after and name not in given
    )
    if moved and kept:
        raise ValidationFailed(errors=[_needed_again(connector_type, name, moved) for name in kept])
    return merged


def _normal_form(connector_type: str, stored: Mapping[str, Any]) -> Mapping[str, Any]:
    """What is stored may be older than a rule or a default of today."""
    try:
        return _as_dict(parse_credentials(connector_type, stored))
    except ValidationError:
        return stored


def _as_dict(credentials: Credentials) -> dict[str, Any]:
    values: dict[str, Any] = orjson.loads(credentials_to_json(credentials))
    return values


def _needed_again(connector_type: str, secret: str, moved: Sequence[str]) -> FieldError:
    labels = {field["name"]: field["label"] for field in describe(connector_type)["fields"]}
    changed = " and ".join(f"'{labels[name]}'" for name in moved)
    message = (
        f"Enter the {labels[secret].lower()} again: {changed} changed, which decides where it is"
        " sent."
    )
    return FieldError(f"credentials.{secret}", _AGAIN, message)


def secret_fields(connector_type: str) -> frozenset[str]:
    """Return the names (camelCase) of the fields that are secret."""
    return frozenset(
        field["name"] for field in describe(connector_type)["fields"] if field["type"] == "secret"
    )


def seal(vault: Vault, connector_id: UUID, credentials: Credentials) -> str:
    return vault.encrypt(credentials_to_json(credentials), context=str(connector_id))


def unseal(vault: Vault, connector: Connector) -> dict[str, Any]:
    """Return the stored fields, SECRETS REVEALED; raises InvalidConnectorCredentials."""
    try:
        text = vault.decrypt(connector.credentials_encrypted, context=str(connector.id))
    except DecryptionFailed as exc:
        raise InvalidConnectorCredentials(
            f"The credentials of connector '{connector.name}' cannot be decrypted with the server's"
            " ENCRYPTION_KEY; enter all of them again, or add the old key to"
            " ENCRYPTION_KEY_PREVIOUS."
        ) from exc
    values: dict[str, Any] = orjson.loads(text)
    return values


def visible_credentials(vault: Vault, connector: Connector) -> dict[str, Any]:
    """Return the fields that are not secret (host, port, sender), for the connector's own form."""
    secrets = secret_fields(connector.type)
    return {name: value for name, value in unseal(vault, connector).items() if name not in secrets}


def open_provider(connector: Connector, *, vault: Vault, context: ProviderContext) -> Provider[Any]:
    """Return the adapter with this connector's credentials; connects to nothing yet.

    Raises InvalidConnectorType and InvalidConnectorCredentials.
    """
    adapter = provider_of(connector.type)
    if adapter.callback_type is not None and context.public_url is not None:
        context = replace(context, callback_url=context.public_url + callback_path(connector.id))
    return adapter(check_credentials(connector.type, unseal(vault, connector)), context)


def callback_path(connector_id: UUID) -> str:
    """Return where the provider's callbacks for this connector arrive, below the server's public
    URL.
    """
    return f"/api/v1/callbacks/{ids.encode(ids.CONNECTOR, connector_id)}"


def _field_error(connector_type: str, problem: ErrorDetails) -> FieldError:
    field = ".".join(map(str, ("credentials", *problem["loc"])))
    name = field.removeprefix("credentials.")
    if problem["type"] == "missing":
        return FieldError(
            field,
            _MISSING,
            f"A {connector_type} connector needs '{name}'; add it to \"credentials\".",
        )
    code = InvalidConnectorCredentials.code
    if problem["type"] == "extra_forbidden":
        known = ", ".join(f["name"] for f in describe(connector_type)["fields"]) or "none"
        return FieldError(
            field,
            code,
            f"A {connector_type} connector has no field '{name[:64]}'; it has: {known}.",
        )
    message = problem["msg"].removeprefix("Value error, ").removesuffix(".")
    return FieldError(
        field,
        code,
        f"{name}: {message}." if problem["loc"] else f"{message[:1].upper()}{message[1:]}.",
    )
