"""Registering, which the API and the dashboard's form do alike but for what they answer."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import Request
from sqlmodel.ext.asyncio.session import AsyncSession

from backend.api.frame.proxies import client_of
from backend.api.resources.auth.bodies import RegisterBody
from backend.platform import Platform
from backend.services.accounts import recovery, users
from backend.services.limits.logins import count_registration


@asynccontextmanager
async def registered(
    platform: Platform, request: Request, body: RegisterBody
) -> AsyncIterator[tuple[AsyncSession, users.SignedIn]]:
    """Make the account; yield it and the open transaction, to issue what logs it in.

    The link that confirms the address is mailed after the commit.

    Raises RateLimitExceeded, and what `users.register_user` raises.
    """
    client = client_of(request, platform.settings.trusted_proxies)
    await count_registration(
        platform.redis, client.address, platform.settings.registrations_per_address
    )
    async with platform.database.transaction() as session:
        signed_in = await users.register_user(
            session,
            settings=platform.settings,
            vault=platform.vault,
            email=body.email,
            password=body.password,
            name=body.name,
            invitation=body.invitation,
            client=client,
        )
        yield session, signed_in
    platform.mail.later(
        recovery.send_confirmation_link(
            platform.database, platform.mail, platform.settings, signed_in.user.id
        )
    )
