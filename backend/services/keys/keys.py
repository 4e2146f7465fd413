"""API keys. The text of a key exists in the answer that made it; the database has its HMAC."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, Literal
from uuid import UUID

from sqlmodel.ext.asyncio.session import AsyncSession

from backend.crypto import Vault, keyed_hash, random_token
from backend.errors import FieldError, KeyNotFound, TooManyKeys, ValidationFailed
from backend.models import ApiKey, Project, SendTokenSecret
from backend.models.base import utc_now
from backend.models.session import Change, announce
from backend.names import check_name
from backend.services.access import audit
from backend.services.access.access import Access, Action, Mode
from backend.services.keys.origins import InvalidOrigin, is_local, normalised_origin
from backend.services.keys.send_tokens import signing_secret
from backend.services.limits.rate_limit import Demand
from backend.services.lists.filters import EVERYTHING, Selection, select_wanted
from backend.services.lists.paging import Page, PageRequest, fetch_page

if TYPE_CHECKING:
    from backend.services.limits.rate_limit import RateLimiter

Kind = Literal["secret", "publishable"]

SCOPES: Final = (
    "messages:send",
    "messages:read",
    "contacts:check",
    "connector:info",
    "stats:read",
    "webhooks:manage",
)
LONGEST_OVERLAP_S: Final = 7 * 24 * 3600
# A key that is in a web page must not read anything.
PUBLISHABLE_SCOPES: Final = ("messages:send",)
_PREFIX: Final = {"secret": "sk", "publishable": "pk"}
MOST_RATE_LIMIT: Final = 1_000_000_000
_AUDITED: Final = (
    "name",
    "kind",
    "mode",
    "hint",
    "scopes",
    "allowed_origins",
    "rate_limit",
    "is_active",
)


@dataclass(frozen=True, slots=True)
class NewKey:
    """`scopes` None: all that the kind may have. `rate_limit` is messages an hour."""

    name: str
    kind: Kind = "secret"
    mode: Mode = "live"
    scopes: tuple[str, ...] | None = None
    allowed_origins: tuple[str, ...] = ()
    rate_limit: int | None = None
    expires_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class KeyUse:
    """What a key has done.

    Counts and `last_used_at` are some seconds old; `remaining` None: no limit, or not known.
    """

    total: int
    failed: int
    rate_limit: int | None
    remaining: int | None
    last_used_at: datetime | None
    created_at: datetime


async def create_key(
    session: AsyncSession,
    access: Access,
    *,
    pepper: str,
    vault: Vault,
    new: NewKey,
    most_keys: int = 0,
) -> tuple[ApiKey, str]:
    """Return the row and the key's text, which cannot be had again.

    `most_keys`: how many a project may have, 0: any number. Raises TooManyKeys and
    ValidationFailed.
    """
    access.require(Action.MANAGE_KEYS)
    check_name(new.name)
    if most_keys:
        await _check_room(session, access.project_id, most_keys)
    granted = SCOPES if new.kind == "secret" else PUBLISHABLE_SCOPES
    text = _new_text(new.kind, new.mode)
    key = ApiKey(
        project_id=access.project_id,
        name=new.name,
        kind=new.kind,
        mode=new.mode,
        key_hash=keyed_hash(pepper, text),
        hint=_hint(text),
        scopes=_checked_scopes(new.kind, granted if new.scopes is None else new.scopes),
        allowed_origins=_checked_origins(new.kind, new.mode, new.allowed_origins),
        rate_limit=_checked_rate_limit(new.rate_limit),
        expires_at=_checked_expiry(new.expires_at),
    )
    session.add(key)
    await session.flush()
    _keep_signing_secret(session, vault, key, text)
    audit.record(
        session,
        access.actor,
        "key.created",
        project_id=access.project_id,
        subject_id=key.id,
        after=_audited(key),
    )
    await session.flush()
    announce(session, Change("key", key.id))
    return key, text


async def list_keys(session: AsyncSession, access: Access) -> list[ApiKey]:
    """Newest first."""
    access.require(Action.VIEW_KEYS)
    return await ApiKey.list_for_project(session, access.project_id)


async def page_of_keys(
    session: AsyncSession, access: Access, *, page: PageRequest, selection: Selection = EVERYTHING
) -> Page[ApiKey]:
    """Newest first."""
    access.require(Action.VIEW_KEYS)
    return await fetch_page(
        session, select_wanted(ApiKey, access.project_id, selection), ApiKey.id, page
    )


async def get_key(session: AsyncSession, access: Access, *, key_id: UUID) -> ApiKey:
    """Raises KeyNotFound."""
    access.require(Action.VIEW_KEYS)
    key = await ApiKey.find(session, access.project_id, key_id)
    if key is None:
        raise KeyNotFound
    return key


async def update_key(
    session: AsyncSession, access: Access, *, key_id: UUID, changes: Mapping[str, Any]
) -> ApiKey:
    """Apply `changes`: any of name, scopes, allowed_origins, rate_limit, expires_at, is_active."""
    access.require(Action.MANAGE_KEYS)
    key = await get_key(session, access, key_id=key_id)
    before = _audited(key)
    checked = dict(changes)
    if "name" in checked:
        check_name(checked["name"])
    if "scopes" in checked:
        checked["scopes"] = _checked_scopes(key.kind, checked["scopes"])
    if "allowed_origins" in checked:
        checked["allowed_origins"] = _checked_origins(
            key.kind, key.mode, checked["allowed_origins"]
        )
    if "expires_at" in checked:
        checked["expires_at"] = _checked_expiry(checked["expires_at"])
    if "rate_limit" in checked:
        checked["rate_limit"] = _checked_rate_limit(checked["rate_limit"])
    for field, value in checked.items():
        setattr(key, field, value)
    key.updated_at = utc_now()
    audit.record(
        session,
        access.actor,
        "key.updated",
        project_id=access.project_id,
        subject_id=key.id,
        before=before,
        after=_audited(key),
    )
    await session.flush()
    announce(session, Change("key", key.id))
    return key


async def regenerate_key(
    session: AsyncSession,
    access: Access,
    *,
    key_id: UUID,
    pepper: str,
    vault: Vault,
    overlap_s: int,
) -> tuple[ApiKey, str]:
    """Give the key another text; the one it had works for `overlap_s` more, an earlier one not any
    more.

    Returns what create_key returns. Everything else about the key stays. Raises KeyNotFound.
    """
    access.require(Action.MANAGE_KEYS)
    key = await get_key(session, access, key_id=key_id)
    # Locked: of two at the same time the second replaces the first's text, and keeps it for the
    # overlap.
    await session.refresh(key, with_for_update=True)
    before = _audited(key)
    text = _new_text(key.kind, key.mode)
    key.previous_hash = key.key_hash if overlap_s else None
    key.previous_expires_at = utc_now() + timedelta(seconds=overlap_s) if overlap_s else None
    key.key_hash = keyed_hash(pepper, text)
    key.hint = _hint(text)
    key.updated_at = utc_now()
    await SendTokenSecret.drop_except(
        session, key.id, *([key.previous_hash] if key.previous_hash else [])
    )
    _keep_signing_secret(session, vault, key, text)
    audit.record(
        session,
        access.actor,
        "key.regenerated",
        project_id=access.project_id,
        subject_id=key.id,
        before=before,
        after={**_audited(key), "overlap_s": overlap_s},
    )
    await session.flush()
    announce(session, Change("key", key.id))
    return key, text


async def use_of_key(
    rate_limiter: RateLimiter, key: ApiKey, project: Project, *, limit: int | None
) -> KeyUse:
    """Return what the key has done, and what its `limit` of messages a window leaves it.

    Asks Redis.
    """
    remaining = None
    if limit is not None:
        allowance = await rate_limiter.look(Demand(key.id, limit, project.id, None))
        remaining = allowance.buckets[0].remaining if allowance is not None else None
    return KeyUse(
        total=key.total_requests,
        failed=key.failed_requests,
        rate_limit=limit,
        remaining=remaining,
        last_used_at=key.last_used_at,
        created_at=key.created_at,
    )


async def revoke_key(session: AsyncSession, access: Access, *, key_id: UUID) -> None:
    """The key is refused from the commit on; the row stays, because messages name it."""
    access.require(Action.MANAGE_KEYS)
    key = await get_key(session, access, key_id=key_id)
    key.deleted_at = utc_now()
    key.is_active = False
    await SendTokenSecret.drop_except(session, key.id)
    audit.record(
        session,
        access.actor,
        "key.revoked",
        project_id=access.project_id,
        subject_id=key.id,
        before=_audited(key),
    )
    await session.flush()
    announce(session, Change("key", key.id))


async def _check_room(session: AsyncSession, project_id: UUID, most_keys: int) -> None:
    # Locked, so that of two keys made at the same time the second sees the first.
    await Project.lock(session, project_id)
    if await ApiKey.count_for_project(session, project_id) >= most_keys:
        raise TooManyKeys(
            f"The project has {most_keys} API keys, as many as it may have; delete one, or raise"
            " MAX_KEYS_PER_PROJECT."
        )


def _keep_signing_secret(session: AsyncSession, vault: Vault, key: ApiKey, text: str) -> None:
    """What the key's send tokens are checked with: derived from its text, which is known now and
    never again.
    """
    if key.kind != "secret":
        return
    kid, secret = signing_secret(text)
    session.add(
        SendTokenSecret(
            kid=kid,
            key_id=key.id,
            project_id=key.project_id,
            key_hash=key.key_hash,
            secret_encrypted=vault.encrypt(secret.hex(), context=kid),
        )
    )


def _new_text(kind: str, mode: str) -> str:
    return f"{_PREFIX[kind]}_{mode}_{random_token(32)}"


def _hint(text: str) -> str:
    return f"{text[:12]}...{text[-4:]}"


def _audited(key: ApiKey) -> dict[str, Any]:
    values = {field: getattr(key, field) for field in _AUDITED}
    return {
        **values,
        "expires_at": key.expires_at.isoformat() if key.expires_at is not None else None,
    }


def _checked_scopes(kind: str, scopes: tuple[str, ...] | list[str]) -> list[str]:
    known = SCOPES if kind == "secret" else PUBLISHABLE_SCOPES
    may_have = f"it may have: {', '.join(known)}."
    errors = [
        _wrong(f"scopes[{place}]", f"A {kind} key cannot have the scope '{scope[:64]}'; {may_have}")
        for place, scope in enumerate(scopes)
        if scope not in known
    ]
    if errors:
        raise ValidationFailed(errors=errors)
    return [scope for scope in known if scope in scopes]


def _checked_origins(kind: str, mode: str, origins: tuple[str, ...] | list[str]) -> list[str]:
    checked, errors = [], []
    for place, text in enumerate(origins):
        field = f"allowedOrigins[{place}]"
        try:
            origin = normalised_origin(text)
        except InvalidOrigin as exc:
            errors.append(_wrong(field, str(exc)))
            continue
        if kind == "publishable" and mode == "live" and is_local(origin):
            message = (
                f"A live key refuses pages of '{origin}'; make a test key for development, it takes"
                " them all."
            )
            errors.append(_wrong(field, message))
        checked.append(origin)
    if errors:
        raise ValidationFailed(errors=errors)
    return list(dict.fromkeys(checked))


def _checked_rate_limit(rate_limit: int | None) -> int | None:
    if rate_limit is not None and not 1 <= rate_limit <= MOST_RATE_LIMIT:
        message = (
            f"The rate limit must be between 1 and {MOST_RATE_LIMIT:,} messages an hour, or empty."
        )
        raise ValidationFailed(errors=[_wrong("rateLimit", message)])
    return rate_limit


def _checked_expiry(expires_at: datetime | None) -> datetime | None:
    if expires_at is not None and expires_at <= utc_now():
        message = (
            f"expiresAt {expires_at.isoformat()} has passed; name an instant to come, or null for"
            " no expiry."
        )
        raise ValidationFailed(errors=[_wrong("expiresAt", message)])
    return expires_at


def _wrong(field: str, message: str) -> FieldError:
    return FieldError(field, "VALIDATION_ERROR", message)
