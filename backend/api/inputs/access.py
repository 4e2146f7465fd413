"""Step 2: from a request to who is asking: an access token or the dashboard's cookie is a user, a
key a project.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Final

from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from starlette.requests import HTTPConnection

from backend.api.frame.proxies import client_of
from backend.api.inputs.dependencies import PlatformDep
from backend.errors import InvalidToken, KeyScope, MissingApiKey, OriginNotAllowed
from backend.platform import Platform
from backend.services.access.access import UserPrincipal
from backend.services.accounts.users import authenticate_access, authenticate_cookie
from backend.services.keys.origins import is_local, origin_host
from backend.services.limits.dashboard_calls import count_dashboard_call
from backend.services.routing.catalog import CatalogKey

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


async def _principal(
    request: Request, platform: PlatformDep, _documented: _Documented
) -> UserPrincipal | CatalogKey:
    token = bearer_token(request)
    if token.startswith(KEY_PREFIXES):
        return await _authenticated_key(request, platform)
    if not token and SESSION_COOKIE not in request.cookies:
        raise MissingApiKey(
            "Authentication is required; send 'Authorization: Bearer <API key or access token>'."
        )
    return await _authenticated_user(request, platform)


async def _key(request: Request, platform: PlatformDep, _documented: _Documented) -> CatalogKey:
    return await _authenticated_key(request, platform)


async def _authenticated_key(request: Request, platform: Platform) -> CatalogKey:
    key = await platform.catalog.key(bearer_token(request), only_reads=_only_reads(request))
    request.state.caller = key.id
    return key


def _only_reads(request: Request) -> bool:
    return request.method in {"GET", "HEAD"}


# A key and no person; the route checks its kind and scope.
CurrentKey = Annotated[CatalogKey, Depends(_key)]
# A person, by access token or cookie.
CurrentUser = Annotated[UserPrincipal, Depends(_user)]
# A person or a key; the route checks the person's role and the key's scope.
CurrentPrincipal = Annotated[UserPrincipal | CatalogKey, Depends(_principal)]


def require_scope(key: CatalogKey, scope: str) -> None:
    """Raises KeyScope."""
    if scope not in key.scopes:
        raise KeyScope(
            f"API key '{key.name}' lacks the scope '{scope}'; add it or use another key."
        )


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
