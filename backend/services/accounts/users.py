"""People and their log-ins: register, log in, refresh, log out, and who a token belongs to.

A log-in is a row in `sessions`. Its access tokens live for minutes and are refused as soon as the
row is revoked; its refresh tokens are used once, and a second use revokes the row.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Final
from uuid import UUID

import redis.asyncio
import structlog
from sqlalchemy.exc import IntegrityError
from sqlmodel.ext.asyncio.session import AsyncSession

from backend.crypto import Vault
from backend.errors import (
    EmailTaken,
    InvalidCredentials,
    InvalidToken,
    RegistrationClosed,
    TokenExpired,
)
from backend.models import AuthSession, RefreshToken, User
from backend.models.base import utc_now
from backend.models.session import Database
from backend.names import check_name
from backend.process.advisory_locks import AdvisoryLock, wait_for_lock
from backend.services.access import audit
from backend.services.access.access import SYSTEM, Actor, UserPrincipal
from backend.services.accounts.invitations import accept_invitation, check_invitation
from backend.services.accounts.passwords import (
    check_new_password,
    costs,
    hash_password,
    verify_password,
)
from backend.services.accounts.projects import create_project
from backend.services.accounts.tokens import (
    COOKIE_PREFIX,
    REFRESH_PREFIX,
    AccessClaims,
    new_opaque_token,
    read_access_token,
    sign_access_token,
    token_hash,
)
from backend.services.limits.logins import LoginAttempts
from backend.settings import Settings

log = structlog.get_logger()

# How exact the list of sessions is; a write for every request would be expensive.
_SEEN_EVERY: Final = timedelta(seconds=60)


@dataclass(frozen=True, slots=True)
class Client:
    """Where a log-in comes from, as the list of sessions and the audit log show it."""

    address: str = ""
    user_agent: str = ""


@dataclass(frozen=True, slots=True)
class SignedIn:
    user: User
    auth_session: AuthSession

    @property
    def principal(self) -> UserPrincipal:
        return _principal(self.user, self.auth_session)


@dataclass(frozen=True, slots=True)
class TokenPair:
    access_token: str
    refresh_token: str


class RefreshTokenReused(InvalidToken):
    """Somebody has a copy of the token.

    The edge revokes the session in a transaction of its own.
    """

    def __init__(self, session_id: UUID) -> None:
        super().__init__(
            "The refresh token was used before; the log-in has been ended, log in again."
        )
        self.session_id = session_id


async def register_user(
    session: AsyncSession,
    *,
    settings: Settings,
    vault: Vault,
    email: str,
    password: str,
    name: str = "",
    invitation: str | None = None,
    client: Client | None = None,
) -> SignedIn:
    """Make a user, logged in, with a first project or the one invited to.

    The first user administers.

    `email` is valid. Raises ValidationFailed, RegistrationClosed, EmailTaken, and InvalidLink for
    the invitation.
    """
    check_name(name)
    check_new_password(password)
    password_hash = await hash_password(
        password, cost=settings.bcrypt_cost
    )  # before the first query: it takes a while
    is_first = await _is_first_user(session)
    if not is_first:
        _check_open(settings, invitation)
    if invitation is not None:
        await check_invitation(session, token=invitation, email=email)
    now = utc_now()
    user = User(
        email=email.strip().lower(),
        password_hash=password_hash,
        name=name.strip(),
        is_platform_admin=is_first,
        last_login_at=now,
    )
    try:
        async with session.begin_nested():
            session.add(user)
    except IntegrityError as exc:
        # It tells that there is an account, as the limit on registrations allows: hiding it would
        # need a mail server, which a small install has none of, and would leave people without a
        # word who forgot that they registered.
        raise EmailTaken from exc
    signed_in = await _open_session(session, user, settings, client or Client())
    audit.record(session, signed_in.principal.actor, "user.registered", subject_id=user.id)
    if invitation is not None:
        await accept_invitation(session, signed_in.principal, token=invitation)
    else:
        owner = user.name or user.email.partition("@")[0]
        await create_project(
            session,
            signed_in.principal,
            vault=vault,
            plan=settings.default_plan,
            name=f"{owner[:200]}'s project",
        )
    log.info("user.registered", user_id=str(user.id), is_platform_admin=is_first)
    return signed_in


async def make_admin(
    session: AsyncSession, *, settings: Settings, vault: Vault, email: str, password: str
) -> bool:
    """Make the server's administrator, as its operator asks; False: the account was there, and now
    administers.

    Its password stays as it was then. `email` is valid. Raises ValidationFailed.
    """
    user = await User.find_by_email(session, email)
    if user is not None:
        user.is_platform_admin = user.is_active = True
        user.updated_at = utc_now()
        audit.record(
            session, SYSTEM, "user.updated", subject_id=user.id, after={"is_platform_admin": True}
        )
        return False
    check_new_password(password)
    user = User(
        email=email.strip().lower(),
        password_hash=await hash_password(password, cost=settings.bcrypt_cost),
        is_platform_admin=True,
        email_confirmed_at=utc_now(),
    )
    session.add(user)
    await session.flush()
    operator = UserPrincipal(
        user_id=user.id, session_id=user.id, email=user.email, is_platform_admin=True
    )
    audit.record(session, SYSTEM, "user.registered", subject_id=user.id)
    name = f"{user.email.partition('@')[0][:200]}'s project"
    await create_project(session, operator, vault=vault, plan=settings.default_plan, name=name)
    return True


def _check_open(settings: Settings, invitation: str | None) -> None:
    if settings.registration == "closed":
        raise RegistrationClosed(
            "Registration is closed on this server; ask its operator for an account."
        )
    if settings.registration == "invite" and invitation is None:
        raise RegistrationClosed(
            "Registration on this server needs an invitation; ask a project's owner for one."
        )


async def _is_first_user(session: AsyncSession) -> bool:
    """Two first registrations at once: the second waits here until the first has committed."""
    if await User.count(session) > 0:
        return False
    await wait_for_lock(await session.connection(), AdvisoryLock.FIRST_USER)
    return await User.count(session) == 0


async def log_in(
    database: Database,
    client_redis: redis.asyncio.Redis,
    *,
    settings: Settings,
    email: str,
    password: str,
    client: Client,
) -> SignedIn:
    """Opens its own sessions: no connection is held while the password is checked.

    Raises InvalidCredentials, whatever was wrong, and RateLimitExceeded.
    """
    attempts = LoginAttempts(client_redis, settings, email=email, address=client.address)
    await attempts.take()
    async with database.session() as session:
        user = await User.find_by_email(session, email)
    known = user.password_hash if user is not None else None
    is_right = await verify_password(password, known, cost=settings.bcrypt_cost)
    if user is None or not is_right or not user.is_active:
        log.info("user.login_refused", address=client.address)
        # Written for an unknown account as well: the answer takes as long.
        async with database.transaction() as session:
            audit.record_auth(
                session,
                "user.login_failed",
                user_id=user.id if user is not None else None,
                address=client.address,
            )
        raise InvalidCredentials
    await attempts.give_back()
    has_cost = costs(user.password_hash, settings.bcrypt_cost)
    rehashed = None if has_cost else await hash_password(password, cost=settings.bcrypt_cost)
    async with database.transaction() as session:
        current = await User.find(session, user.id)
        if current is None or not current.is_active:
            raise InvalidCredentials
        if rehashed is not None and current.password_hash == user.password_hash:
            current.password_hash = rehashed
        current.last_login_at = utc_now()
        signed_in = await _open_session(session, current, settings, client)
        audit.record(session, signed_in.principal.actor, "user.logged_in", subject_id=current.id)
    return signed_in


async def _open_session(
    session: AsyncSession, user: User, settings: Settings, client: Client
) -> SignedIn:
    now = utc_now()
    auth_session = AuthSession(
        user_id=user.id,
        user_agent=client.user_agent[:255],
        address=client.address[:64],
        last_seen_at=now,
        expires_at=now + timedelta(seconds=settings.jwt_refresh_expires_in),
    )
    session.add(auth_session)
    await session.flush()
    return SignedIn(user, auth_session)


async def issue_tokens(session: AsyncSession, signed_in: SignedIn, settings: Settings) -> TokenPair:
    """Return a new access and a new refresh token of this log-in."""
    auth_session = signed_in.auth_session
    refresh_token = new_opaque_token(REFRESH_PREFIX)
    await _remember(session, auth_session, refresh_token)
    access_token = sign_access_token(
        settings.require_jwt_secret(),
        AccessClaims(signed_in.user.id, auth_session.id),
        now=utc_now(),
        life_s=settings.jwt_expires_in,
    )
    return TokenPair(access_token, refresh_token)


async def issue_cookie(session: AsyncSession, signed_in: SignedIn) -> str:
    """Return the value of the dashboard's cookie: it is good until the log-in ends."""
    value = new_opaque_token(COOKIE_PREFIX)
    await _remember(session, signed_in.auth_session, value)
    return value


async def _remember(session: AsyncSession, auth_session: AuthSession, token: str) -> None:
    session.add(
        RefreshToken(
            token_hash=token_hash(token),
            session_id=auth_session.id,
            expires_at=auth_session.expires_at,
        )
    )
    await session.flush()


async def refresh(
    session: AsyncSession, *, refresh_token: str, settings: Settings
) -> tuple[SignedIn, TokenPair]:
    """Use up a refresh token for a new pair.

    Raises InvalidToken, TokenExpired, RefreshTokenReused.
    """
    if not refresh_token.startswith(REFRESH_PREFIX):
        raise InvalidToken("The refresh token is not valid; log in again.")
    stored = await RefreshToken.find_for_update(session, token_hash(refresh_token))
    if stored is None:
        raise InvalidToken("The refresh token is not valid; log in again.")
    if stored.used_at is not None:
        log.warning("session.refresh_token_reused", session_id=str(stored.session_id))
        raise RefreshTokenReused(stored.session_id)
    now = utc_now()
    if stored.expires_at <= now:
        raise TokenExpired("The refresh token has expired; log in again.")
    signed_in = await _live_session(session, stored.session_id)
    stored.used_at = now
    signed_in.auth_session.last_seen_at = now
    signed_in.auth_session.expires_at = now + timedelta(seconds=settings.jwt_refresh_expires_in)
    return signed_in, await issue_tokens(session, signed_in, settings)


async def log_out(
    session: AsyncSession,
    session_id: UUID,
    actor: Actor,
    *,
    action: str = "user.logged_out",
) -> None:
    """End a log-in: its access tokens, refresh tokens and cookie are refused from the commit on."""
    auth_session = await AuthSession.find(session, session_id)
    if auth_session is not None and auth_session.revoked_at is None:
        auth_session.revoke(session)
        audit.record(session, actor, action, subject_id=auth_session.user_id)
        await session.flush()


async def authenticate_access(
    session: AsyncSession, token: str, settings: Settings
) -> UserPrincipal:
    """Return whose access token this is. Raises TokenExpired and InvalidToken."""
    claims = read_access_token(settings.require_jwt_secret(), token)
    signed_in = await _live_session(session, claims.session_id)
    if signed_in.user.id != claims.user_id:
        raise InvalidToken
    return signed_in.principal


async def authenticate_cookie(session: AsyncSession, cookie_value: str) -> UserPrincipal:
    """Return whose dashboard cookie this is. Raises InvalidToken and TokenExpired."""
    if not cookie_value.startswith(COOKIE_PREFIX):
        raise InvalidToken
    stored = await session.get(RefreshToken, token_hash(cookie_value))
    if stored is None:
        raise InvalidToken
    if stored.expires_at <= utc_now():
        raise TokenExpired("You have been logged out after a while; log in again.")
    return (await _live_session(session, stored.session_id)).principal


async def get_user(session: AsyncSession, principal: UserPrincipal) -> User:
    """Raises InvalidToken when the account is gone."""
    user = await User.find(session, principal.user_id)
    if user is None:
        raise InvalidToken
    return user


async def _live_session(session: AsyncSession, session_id: UUID) -> SignedIn:
    auth_session = await AuthSession.find(session, session_id)
    if (
        auth_session is None
        or auth_session.revoked_at is not None
        or auth_session.expires_at <= utc_now()
    ):
        raise InvalidToken("The log-in has ended; log in again.")
    user = await User.find(session, auth_session.user_id)
    if user is None or not user.is_active:
        raise InvalidToken("The account is not active; ask the server's operator.")
    now = utc_now()
    if now - auth_session.last_seen_at > _SEEN_EVERY:
        auth_session.last_seen_at = now  # kept where the caller's session commits
    return SignedIn(user, auth_session)


def _principal(user: User, auth_session: AuthSession) -> UserPrincipal:
    return UserPrincipal(
        user_id=user.id,
        session_id=auth_session.id,
        email=user.email,
        is_platform_admin=user.is_platform_admin,
        address=auth_session.address,
        is_confirmed=user.email_confirmed_at is not None,
    )
