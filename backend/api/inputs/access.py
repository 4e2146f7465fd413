"""From a request to who asks: an access token or the dashboard's cookie is a user, a key a
project.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Annotated, Final
from uuid import UUID

from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from sqlmodel.ext.asyncio.session import AsyncSession
from starlette.requests import HTTPConnection

from backend import ids
from backend.api.frame.proxies import client_of
from backend.api.inputs.dependencies import PlatformDep, decoded
from backend.errors import (
    FieldError,
    InvalidToken,
    KeyScope,
    MissingApiKey,
    NotFound,
    OriginNotAllowed,
    ProjectNotFound,
    ValidationFailed,
)
from backend.platform import Platform
from backend.services.access.access import (
    Access,
    Action,
    Mode,
    UserPrincipal,
    access_of_key,
    access_of_user,
)
from backend.services.accounts.users import authenticate_access, authenticate_cookie
from backend.services.catalog.catalog import CatalogKey
from backend.services.keys.origins import is_local, origin_host
from backend.services.limits.logins import count_dashboard_call
from backend.services.policy.sender import Sender

SESSION_COOKIE: Final = "mjs_session"
KEY_PREFIXES: Final = ("sk_", "pk_")
_SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS"})
# Only to put the scheme into the OpenAPI document: the header is read by bearer_token.
_documented_bearer = HTTPBearer(
    auto_error=False,
    scheme_name="bearer",
    description="An access token (dashboard API) or an API key",
)
_Documented = Annotated[HTTPAuthorizationCredentials | None, Depends(_documented_bearer)]


def bearer_token(connection: HTTPConnection) -> str:
    """Return the token of `Authorization: Bearer <token>`, "" when there is none."""
    scheme, _, token = connection.headers.get("authorization", "").strip().partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


def require_same_origin(request: HTTPConnection) -> None:
    """Refuse what another site's page made the browser send. Raises OriginNotAllowed."""
    if request.headers.get("sec-fetch-site") in {"same-origin", "none"}:
        return
    origin = request.headers.get("origin", "")
    host = origin_host(origin)
    if host and host == request.headers.get("host", "").lower():
        return
    raise OriginNotAllowed(
        "This may only be called from a page of this server, not from"
        f" '{origin[:80] or 'an unknown origin'}'."
    )


async def _user(request: Request, platform: PlatformDep, _documented: _Documented) -> UserPrincipal:
    return await _authenticated_user(request, platform)


async def _authenticated_user(request: Request, platform: Platform) -> UserPrincipal:
    token = bearer_token(request)
    cookie = request.cookies.get(SESSION_COOKIE)
    if token.startswith(KEY_PREFIXES):
        raise InvalidToken("An API key cannot call this; log in and send the access token instead.")
    if not token and cookie is None:
        raise InvalidToken(
            "Authentication is required; send 'Authorization: Bearer <access token>'."
        )
    # A session of its own, ended here: a route must never hold two connections at once.
    # It commits: the log-in was seen.
    async with platform.database.transaction() as session:
        if token:
            principal = await authenticate_access(session, token, platform.settings)
        else:
            if request.method not in _SAFE_METHODS:
                require_same_origin(request)
            principal = await authenticate_cookie(session, cookie or "")
    request.state.caller = principal.user_id
    principal = replace(
        principal, address=client_of(request, platform.settings.trusted_proxies).address
    )
    await _count_call(request, platform, principal)
    return principal


async def _count_call(request: Request, platform: Platform, principal: UserPrincipal) -> None:
    limit = platform.settings.dashboard_rate_limit_per_minute
    if not limit:
        return
    headers = await count_dashboard_call(platform.redis, principal.user_id, limit)
    request.state.headers.extend(
        (name.lower().encode(), value.encode()) for name, value in headers.items()
    )


@dataclass(frozen=True, slots=True)
class Requester:
    """Who sent a request, a person or an API key: the one door to Access for either."""

    _principal: UserPrincipal | CatalogKey
    _address: str = ""
    _origin: str | None = None

    @property
    def user_id(self) -> UUID | None:
        """None for a key."""
        return self._principal.user_id if isinstance(self._principal, UserPrincipal) else None

    async def access(self, session: AsyncSession, project_id: str | None, action: Action) -> Access:
        """Return the access to the project that a person names, or to a key's own.

        Raises ValidationFailed, ProjectNotFound, Forbidden, KeyScope or OriginNotAllowed.
        """
        if isinstance(self._principal, UserPrincipal):
            return await access_of_user(
                session, self._principal, _named_project(project_id), action
            )
        access = self.key_access(self._principal, action)
        if project_id and decoded(ids.PROJECT, project_id, ProjectNotFound) != access.project_id:
            raise ProjectNotFound
        return access

    async def access_to(
        self,
        session: AsyncSession,
        find_project: Callable[[AsyncSession], Awaitable[UUID]],
        action: Action,
        hidden: type[NotFound],
    ) -> Access:
        """Return the access to the project of one thing, which `find_project` looks up.

        To someone who isn't a member the thing doesn't exist: raises `hidden`. Raises Forbidden,
        KeyScope or OriginNotAllowed otherwise.
        """
        if not isinstance(self._principal, UserPrincipal):
            return self.key_access(self._principal, action)
        try:
            return await access_of_user(
                session, self._principal, await find_project(session), action
            )
        except ProjectNotFound as exc:
            raise hidden from exc

    def sender(self, access: Access, mode: Mode | None = None) -> Sender:
        """Return who sends: a person chooses the mode, a key has its own. Raises KeyScope."""
        if isinstance(self._principal, UserPrincipal):
            return Sender(access, access.mode_sent(mode))
        access.mode_sent(mode)
        return Sender.of_key(self._principal, access=access)

    def key_access(self, key: CatalogKey, action: Action) -> Access:
        """Raises KeyScope or OriginNotAllowed.

        A publishable key stands in a web page: it sends templates, and touches nothing that was
        sent.
        """
        check_origin(key, self._origin)
        access = access_of_key(key, self._address)
        access.require(action)
        if key.kind == "publishable":
            raise KeyScope(
                f"Publishable key '{key.name}' only sends; use a secret key on a server."
            )
        return access


def _named_project(project_id: str | None) -> UUID:
    if not project_id:
        message = 'The parameter "projectId" is missing; add it, or use an API key of the project.'
        raise ValidationFailed(errors=[FieldError("projectId", "MISSING_REQUIRED_FIELD", message)])
    return decoded(ids.PROJECT, project_id, ProjectNotFound)


async def _requester(
    request: Request, platform: PlatformDep, _documented: _Documented
) -> Requester:
    token = bearer_token(request)
    if token.startswith(KEY_PREFIXES):
        key = await _authenticated_key(request, platform)
        address = client_of(request, platform.settings.trusted_proxies).address
        return Requester(key, address, request.headers.get("origin"))
    if not token and SESSION_COOKIE not in request.cookies:
        raise MissingApiKey(
            "Authentication is required; send 'Authorization: Bearer <API key or access token>'."
        )
    return Requester(await _authenticated_user(request, platform))


async def _sending_key(request: Request, platform: PlatformDep, _documented: _Documented) -> Sender:
    key = await _authenticated_key(request, platform)
    requester = Requester(key, "", request.headers.get("origin"))
    return requester.sender(requester.key_access(key, Action.SEND_MESSAGES))


async def _authenticated_key(request: Request, platform: Platform) -> CatalogKey:
    key = await platform.catalog.key(bearer_token(request), only_reads=_only_reads(request))
    request.state.caller = key.id
    return key


def _only_reads(request: Request) -> bool:
    return request.method in {"GET", "HEAD"}


# A secret key that may send, and no person.
SendingKey = Annotated[Sender, Depends(_sending_key)]
# A person, by access token or cookie.
CurrentUser = Annotated[UserPrincipal, Depends(_user)]
# A person or a key; what either may do, its Access says.
CurrentRequester = Annotated[Requester, Depends(_requester)]


def check_origin(key: CatalogKey, origin: str | None) -> None:
    """Check the Origin header against the key's own list. Raises OriginNotAllowed.

    A publishable key needs an exact match; live ones refuse the developer's machine, test ones take
    it. A secret key belongs on a server, which sends no Origin: it is held to its list if it has
    one.
    """
    if key.kind != "publishable" and (origin is None or not key.allowed_origins):
        return
    if origin is None:
        raise OriginNotAllowed(
            f"Publishable key '{key.name}' works in web pages only, and the request has no Origin"
            " header; use a secret key on a server."
        )
    is_own_machine = key.kind == "publishable" and is_local(origin)
    if is_own_machine and key.mode == "test":
        return
    if is_own_machine:
        raise OriginNotAllowed(
            f"A live key refuses '{origin[:80]}'; use a test key (pk_test_...) for development."
        )
    if origin.lower() not in key.allowed_origins:
        raise OriginNotAllowed(
            f"'{origin[:80]}' may not use key '{key.name}'; add it to the key's allowedOrigins."
        )
