"""Accounts and log-ins for API clients. The dashboard's own forms are in forms.py."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from backend.api.dependencies import PlatformDep, ReadSessionDep, SessionDep
from backend.api.openapi import error_responses
from backend.api.schemas.auth import (
    CurrentUserBody,
    LoggedIn,
    LoggedInUser,
    LoginBody,
    Me,
    RefreshBody,
    RegisterBody,
    Registered,
    RegisteredUser,
)
from backend.api.security import CurrentUser, client_of
from backend.services.accounts import users

router = APIRouter(prefix="/api/v1/auth", tags=["Auth"])


@router.post(
    "/register",
    status_code=201,
    summary="Register a user",
    description="Makes the account, a first project with a Sandbox connector, and logs in. "
    "The first user of a server is its administrator.",
    responses=error_responses(400, 403, 409),
)
async def register(body: RegisterBody, request: Request, platform: PlatformDep, session: SessionDep) -> Registered:
    signed_in = await users.register_user(
        session,
        settings=platform.settings,
        vault=platform.vault,
        email=body.email,
        password=body.password,
        name=body.name,
        client=client_of(request, platform.settings.trusted_proxies),
    )
    pair = await users.issue_tokens(session, signed_in, platform.settings)
    return Registered(user=RegisteredUser.of(signed_in.user), token=pair.access_token, refresh_token=pair.refresh_token)


@router.post("/login", summary="Log in", responses=error_responses(400, 401, 429))
async def login(body: LoginBody, request: Request, platform: PlatformDep) -> LoggedIn:
    signed_in = await users.log_in(
        platform.database,
        platform.redis,
        settings=platform.settings,
        email=body.email,
        password=body.password,
        client=client_of(request, platform.settings.trusted_proxies),
    )
    async with platform.database.transaction() as session:
        pair = await users.issue_tokens(session, signed_in, platform.settings)
    return LoggedIn(user=LoggedInUser.of(signed_in.user), token=pair.access_token, refresh_token=pair.refresh_token)


@router.post(
    "/refresh",
    summary="Get a new access token",
    description="Each refresh token is good for one call and comes back renewed. "
    "Using one twice ends the log-in: somebody else has a copy.",
    responses=error_responses(400, 401),
)
async def refresh(body: RefreshBody, platform: PlatformDep) -> LoggedIn:
    try:
        async with platform.database.transaction() as session:
            signed_in, pair = await users.refresh(session, refresh_token=body.refresh_token, settings=platform.settings)
    except users.RefreshTokenReused as exc:
        # That transaction is rolled back; ending the log-in must not be.
        async with platform.database.transaction() as session:
            await users.log_out(session, exc.session_id)
        raise
    return LoggedIn(user=LoggedInUser.of(signed_in.user), token=pair.access_token, refresh_token=pair.refresh_token)


@router.post(
    "/logout",
    status_code=204,
    summary="Log out",
    description="Ends this log-in: its access and refresh tokens are refused from now on.",
    responses=error_responses(401),
)
async def logout(user: CurrentUser, session: SessionDep) -> Response:
    await users.log_out(session, user.session_id)
    return Response(status_code=204)


@router.get("/me", summary="Get the current user", responses=error_responses(401))
async def me(user: CurrentUser, session: ReadSessionDep) -> Me:
    return Me(user=CurrentUserBody.of(await users.get_user(session, user)))
