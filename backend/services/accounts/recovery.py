"""Links sent by mail: a forgotten password, and that an e-mail address is its user's own."""

from __future__ import annotations

from datetime import timedelta
from typing import Final, Literal
from uuid import UUID

import redis.asyncio
import structlog
from sqlmodel.ext.asyncio.session import AsyncSession

from backend.errors import InvalidCredentials, InvalidLink
from backend.models import AccountToken, AuthSession, User
from backend.models.base import utc_now
from backend.models.session import Database
from backend.services.access import audit
from backend.services.access.access import Actor, UserPrincipal
from backend.services.accounts.mail import Mail, PlatformMail
from backend.services.accounts.passwords import check_new_password, hash_password, verify_password
from backend.services.accounts.tokens import (
    CONFIRMATION_PREFIX,
    RESET_PREFIX,
    new_opaque_token,
    token_hash,
)
from backend.services.limits.logins import PasswordChecks
from backend.settings import Settings

log = structlog.get_logger()

Purpose = Literal["password_reset", "email_confirmation"]
_LIFE: Final[dict[Purpose, timedelta]] = {
    "password_reset": timedelta(hours=1),
    "email_confirmation": timedelta(days=7),
}
_PREFIX: Final[dict[Purpose, str]] = {
    "password_reset": RESET_PREFIX,
    "email_confirmation": CONFIRMATION_PREFIX,
}
_RESET_TEXT: Final = """Someone, probably you, asked for a new password for your MessageJS account.

Choose one here, within an hour:

{link}

If it was not you, there is nothing to do: your password stays as it is.
"""
_CONFIRM_TEXT: Final = """Please confirm that this is your e-mail address:

{link}

If you have no MessageJS account, ignore this mail.
"""


async def send_reset_link(
    database: Database, mail: PlatformMail, settings: Settings, *, email: str, address: str
) -> None:
    """Runs after the answer, which is the same for every address; an unknown one gets no mail."""
    async with database.transaction() as session:
        user = await User.find_by_email(session, email)
        if user is None or not user.is_active:
            log.info("user.reset_for_nobody", address=address)
            return
        token = await _new_token(session, user, "password_reset")
        audit.record_auth(session, "password.reset_requested", user_id=user.id, address=address)
    link = f"{settings.public_url}/reset-password?token={token}"
    text = _RESET_TEXT.format(link=link)
    await mail.send(Mail("password_reset", user.email, "Choose a new password", text, link))


async def send_confirmation_link(
    database: Database, mail: PlatformMail, settings: Settings, user_id: UUID
) -> None:
    """Runs after the answer; nothing happens where the address is confirmed already."""
    async with database.transaction() as session:
        user = await User.find(session, user_id)
        if user is None or user.email_confirmed_at is not None:
            return
        token = await _new_token(session, user, "email_confirmation")
    link = f"{settings.public_url}/confirm-email?token={token}"
    text = _CONFIRM_TEXT.format(link=link)
    await mail.send(
        Mail("email_confirmation", user.email, "Confirm your e-mail address", text, link)
    )


async def reset_password(
    database: Database, settings: Settings, *, token: str, password: str, address: str
) -> None:
    """Set a new password and end every log-in of the user.

    Raises InvalidLink and ValidationFailed.
    """
    check_new_password(password)
    # Looked at first: a made-up token must not cost a hash.
    async with database.session() as session:
        await _find_token(session, token, "password_reset")
    password_hash = await hash_password(password, cost=settings.bcrypt_cost)
    async with database.transaction() as session:
        user = await _use_token(session, token, "password_reset")
        user.password_hash = password_hash
        # Who reads the mail of this address has it.
        user.email_confirmed_at = user.email_confirmed_at or utc_now()
        await AuthSession.revoke_all(session, user.id)
        _record(session, "password.reset", user, address)


async def confirm_email(session: AsyncSession, *, token: str, address: str) -> User:
    """Raises InvalidLink."""
    user = await _use_token(session, token, "email_confirmation")
    user.email_confirmed_at = user.email_confirmed_at or utc_now()
    _record(session, "email.confirmed", user, address)
    await session.flush()
    return user


async def change_password(
    database: Database,
    client_redis: redis.asyncio.Redis,
    settings: Settings,
    principal: UserPrincipal,
    *,
    current: str,
    new: str,
) -> None:
    """End the user's other log-ins with the old password.

    Raises InvalidCredentials, RateLimitExceeded, ValidationFailed.

    Guesses are counted by log-in: a stolen access token finds no open door, and a stranger who is
    kept out at the log-in keeps nobody from changing the password.
    """
    check_new_password(new, "newPassword")
    checks = PasswordChecks(client_redis, settings, principal)
    await checks.take()
    async with database.session() as session:
        user = await User.find(session, principal.user_id)
    known = user.password_hash if user is not None else None
    if not await verify_password(current, known, cost=settings.bcrypt_cost):
        raise InvalidCredentials(
            "The current password is not right; 'Forgot password' sends a link for a new one."
        )
    await checks.give_back()
    password_hash = await hash_password(new, cost=settings.bcrypt_cost)
    async with database.transaction() as session:
        user = await User.find(session, principal.user_id)
        if user is None:
            raise InvalidCredentials
        user.password_hash = password_hash
        await AccountToken.use_up(session, user.id, "password_reset")
        await AuthSession.revoke_all(session, user.id, but=principal.session_id)
        audit.record(session, principal.actor, "password.changed", subject_id=user.id)


async def _new_token(session: AsyncSession, user: User, purpose: Purpose) -> str:
    token = new_opaque_token(_PREFIX[purpose])
    session.add(
        AccountToken(
            token_hash=token_hash(token),
            user_id=user.id,
            purpose=purpose,
            email=user.email,
            expires_at=utc_now() + _LIFE[purpose],
        )
    )
    await session.flush()
    return token


async def _find_token(session: AsyncSession, token: str, purpose: Purpose) -> AccountToken:
    stored = await AccountToken.find_for_update(session, token_hash(token))
    if (
        stored is None
        or stored.purpose != purpose
        or stored.used_at is not None
        or stored.expires_at <= utc_now()
    ):
        raise InvalidLink
    return stored


async def _use_token(session: AsyncSession, token: str, purpose: Purpose) -> User:
    stored = await _find_token(session, token, purpose)
    user = await User.find(session, stored.user_id)
    if user is None or not user.is_active or user.email != stored.email:
        raise InvalidLink
    await AccountToken.use_up(session, user.id, purpose)
    return user


def _record(session: AsyncSession, action: str, user: User, address: str) -> None:
    """Log what a link did: the person who has it reads the user's mail, and acts as the user."""
    actor = Actor(user_id=user.id, address=address)
    audit.record(session, actor, action, subject_id=user.id)
