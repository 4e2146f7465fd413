"""`messagejs create-admin`: the operator creates an administrator of the server."""

from __future__ import annotations

import asyncio
from typing import Final

from pydantic import TypeAdapter, ValidationError
from sqlalchemy.exc import OperationalError, ProgrammingError

from backend.api.inputs.bodies import Email
from backend.crypto import Vault
from backend.errors import ValidationFailed
from backend.models.session import Database
from backend.runtime.errors import CannotStart
from backend.services.accounts.users import make_admin
from backend.settings import Settings

_address: Final[TypeAdapter[str]] = TypeAdapter(Email)


class NoAdministrator(CannotStart):
    """The administrator could not be created as asked."""


def create_admin(settings: Settings, *, email: str, password: str) -> bool:
    """Return whether the account is new. An existing one becomes an administrator and keeps its
    password.

    Raises NoAdministrator, which says what to change.
    """
    try:
        address = _address.validate_python(email)
    except ValidationError as exc:
        raise NoAdministrator(
            f"'{email[:80]}' is not an e-mail address; write it like ada@example.com."
        ) from exc
    try:
        return asyncio.run(_create(settings, address, password))
    except ValidationFailed as exc:
        raise NoAdministrator(exc.message) from exc
    except ProgrammingError as exc:
        raise NoAdministrator(
            "The database has no tables yet; run 'messagejs migrate', then this again."
        ) from exc
    except OperationalError as exc:
        raise NoAdministrator(
            f"The database cannot be used: {exc.orig}. Check DATABASE_URL and the server."
        ) from exc


async def _create(settings: Settings, email: str, password: str) -> bool:
    database = Database(settings.require_database_url(), pool_size=2)
    try:
        async with database.transaction() as session:
            vault = Vault(*settings.encryption_keys())
            return await make_admin(
                session, settings=settings, vault=vault, email=email, password=password
            )
    finally:
        await database.close()
