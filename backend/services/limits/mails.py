"""How many mails someone may have this server send: links to an account, and invitations."""

from __future__ import annotations

from typing import Final

import redis.asyncio

from backend.errors import RateLimitExceeded
from backend.services.access.access import UserPrincipal
from backend.services.limits.fixed_windows import FixedWindow, count_tries
from backend.services.limits.subjects import hash_of_email, network_of
from backend.settings import Settings

_WINDOW_S: Final = 3600
_MAILS_PER_ACCOUNT: Final = 5
_MAILS_PER_ADDRESS: Final = 30
_INVITATIONS_PER_USER: Final = 100
_INVITATIONS_UNCONFIRMED: Final = 10


async def count_mail(client: redis.asyncio.Redis, *, email: str, address: str) -> None:
    """Count one mail that someone asks for, whether the account exists or not.

    Raises RateLimitExceeded.
    """
    allowance = await count_tries(
        client,
        FixedWindow(f"limit:mail:account:{hash_of_email(email)}", _MAILS_PER_ACCOUNT, _WINDOW_S),
        FixedWindow(f"limit:mail:address:{network_of(address)}", _MAILS_PER_ADDRESS, _WINDOW_S),
    )
    allowance.require("Too many mails from here")


async def count_invitation(
    client: redis.asyncio.Redis, settings: Settings, inviter: UserPrincipal
) -> None:
    """Count one invitation. Where mail is sent, a user without a confirmed address may send few.

    Raises RateLimitExceeded.
    """
    is_confirmed = inviter.is_confirmed or not settings.mail_enabled
    limit = _INVITATIONS_PER_USER if is_confirmed else _INVITATIONS_UNCONFIRMED
    window = FixedWindow(f"limit:invite:{inviter.user_id}", limit, _WINDOW_S)
    allowance = await count_tries(client, window)
    try:
        allowance.require("Too many invitations from here")
    except RateLimitExceeded as exc:
        if is_confirmed:
            raise
        message = (
            f"{exc.message} Confirm your e-mail address to send {_INVITATIONS_PER_USER} an hour."
        )
        raise RateLimitExceeded(message, headers=exc.headers) from exc
