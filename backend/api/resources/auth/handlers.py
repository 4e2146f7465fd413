"""Accounts and log-ins for API clients. The dashboard's own forms are in forms.py."""

from __future__ import annotations

from fastapi import Request, Response

from backend.api.frame.proxies import client_of
from backend.api.inputs.access import CurrentUser
from backend.api.inputs.dependencies import PlatformDep, ReadSessionDep, SessionDep
from backend.api.openapi.document import error_responses
from backend.api.resources.auth.bodies import (
    ChangePasswordBody,
    ConfirmEmailBody,
    ConfirmPasswordResetBody,
    CurrentUserBody,
    LoggedIn,
    LoggedInUser,
    LoginBody,
    Me,
    PasswordResetBody,
    RefreshBody,
    RegisterBody,
    Registered,
    RegisteredUser,
    Requested,
)
from backend.api.resources.auth.registration import registered
from backend.api.resources.routers import api_router
from backend.services.access.access import Actor
from backend.services.accounts import recovery, users
from backend.services.limits.mails import count_mail

router = api_router(prefix="/api/v1/auth", tags=["Auth"])


@router.post(
    "/register",
    status_code=201,
    summary="Register a user",
    description=(
        "Makes the account, a first project with a Sandbox connector, and logs in. "
        "The first user of a server is its administrator."
    ),
    responses=error_responses(400, 403, 409, 429),
)
async def register(body: RegisterBody, request: Request, platform: PlatformDep) -> Registered:
    async with registered(platform, request, body) as (session, signed_in):
        pair = await users.issue_tokens(session, signed_in, platform.settings)
    return Registered(
        user=RegisteredUser.of(signed_in.user),
        token=pair.access_token,
        refresh_token=pair.refresh_token,
    )


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
    return LoggedIn(
        user=LoggedInUser.of(signed_in.user),
        token=pair.access_token,
        refresh_token=pair.refresh_token,
    )


# The name of reference 004.
@router.post(
    "/refresh-token", summary="Get a new access token (alias)", responses=error_responses(400, 401)
)
@router.post(
    "/refresh",
    summary="Get a new access token",
    description=(
        "Each refresh token is good for one call and comes back renewed. "
        "Using one twice ends the log-in: somebody else has a copy."
    ),
    responses=error_responses(400, 401),
)
async def refresh(request: Request, body: RefreshBody, platform: PlatformDep) -> LoggedIn:
    try:
        async with platform.database.transaction() as session:
            signed_in, pair = await users.refresh(
                session, refresh_token=body.refresh_token, settings=platform.settings
            )
    except users.RefreshTokenReused as exc:
        # That transaction is rolled back; ending the log-in must not be.
        async with platform.database.transaction() as session:
            address = client_of(request, platform.settings.trusted_proxies).address
            await users.log_out(
                session, exc.session_id, Actor(address=address), action="session.token_reused"
            )
        raise
    return LoggedIn(
        user=LoggedInUser.of(signed_in.user),
        token=pair.access_token,
        refresh_token=pair.refresh_token,
    )


@router.post(
    "/logout",
    status_code=204,
    summary="Log out",
    description="Ends this log-in: its access and refresh tokens are refused from now on.",
    responses=error_responses(401),
)
async def logout(user: CurrentUser, session: SessionDep) -> Response:
    await users.log_out(session, user.session_id, user.actor)
    return Response(status_code=204)


@router.get("/me", summary="Get the current user", responses=error_responses(401))
async def me(user: CurrentUser, session: ReadSessionDep) -> Me:
    return Me(user=CurrentUserBody.of(await users.get_user(session, user)))


@router.post(
    "/password",
    status_code=204,
    summary="Change the password",
    description="Ends every other log-in of yours.",
    responses=error_responses(400, 401, 429),
)
async def change_password(
    body: ChangePasswordBody, user: CurrentUser, platform: PlatformDep
) -> Response:
    await recovery.change_password(
        platform.database,
        platform.redis,
        platform.settings,
        user,
        current=body.current_password,
        new=body.new_password,
    )
    return Response(status_code=204)


@router.post(
    "/password-reset",
    status_code=202,
    summary="Ask for a new password",
    description=(
        "Mails a link that is good once, for an hour. The answer is the same for an unknown"
        " address."
    ),
    responses=error_responses(400, 429),
)
async def request_password_reset(
    body: PasswordResetBody, request: Request, platform: PlatformDep
) -> Requested:
    address = client_of(request, platform.settings.trusted_proxies).address
    await count_mail(platform.redis, email=body.email, address=address)
    platform.mail.later(
        recovery.send_reset_link(
            platform.database, platform.mail, platform.settings, email=body.email, address=address
        )
    )
    return Requested()


@router.post(
    "/password-reset/confirm",
    status_code=204,
    summary="Set a new password",
    description="Ends every log-in of the account.",
    responses=error_responses(400),
)
async def confirm_password_reset(
    body: ConfirmPasswordResetBody, request: Request, platform: PlatformDep
) -> Response:
    address = client_of(request, platform.settings.trusted_proxies).address
    await recovery.reset_password(
        platform.database,
        platform.settings,
        token=body.token,
        password=body.password,
        address=address,
    )
    return Response(status_code=204)


@router.post(
    "/email-confirmation",
    status_code=202,
    summary="Ask for another confirmation mail",
    description=(
        "Registering sends the first. Nothing is sent where the address is confirmed already."
    ),
    responses=error_responses(401, 429),
)
async def request_email_confirmation(user: CurrentUser, platform: PlatformDep) -> Requested:
    await count_mail(platform.redis, email=user.email, address=user.address)
    platform.mail.later(
        recovery.send_confirmation_link(
            platform.database, platform.mail, platform.settings, user.user_id
        )
    )
    return Requested()


@router.post(
    "/email-confirmation/confirm",
    status_code=204,
    summary="Confirm an e-mail address",
    responses=error_responses(400),
)
async def confirm_email(
    body: ConfirmEmailBody, request: Request, platform: PlatformDep, session: SessionDep
) -> Response:
    address = client_of(request, platform.settings.trusted_proxies).address
    await recovery.confirm_email(session, token=body.token, address=address)
    return Response(status_code=204)
