"""The dashboard's log-in forms: plain HTML forms that end in a cookie and a redirect.

Not part of the versioned API: same origin only, and errors go back to the page as ?error=CODE.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final
from urllib.parse import parse_qsl, urlencode

import pydantic
from fastapi import Request, Response
from starlette.responses import RedirectResponse

from backend.api.frame.errors import to_app_error
from backend.api.frame.proxies import client_of
from backend.api.frame.validation import validation_error
from backend.api.inputs.access import SESSION_COOKIE, require_same_origin
from backend.api.inputs.dependencies import PlatformDep
from backend.api.resources.auth.bodies import LoginBody, RegisterBody
from backend.api.resources.auth.registration import registered
from backend.api.resources.routers import api_router
from backend.errors import AppError, InvalidToken, TokenExpired, UnsupportedMediaType
from backend.platform import Platform
from backend.services.accounts import users
from backend.services.accounts.local_paths import is_local_path

router = api_router(prefix="/auth", include_in_schema=False)

_HOME: Final = "/"


@router.post("/login")
async def log_in(request: Request, platform: PlatformDep) -> Response:
    require_same_origin(request)
    form = await _form(request)
    try:
        body = LoginBody.model_validate(
            {name: form.get(name, "") for name in ("email", "password")}
        )
        signed_in = await users.log_in(
            platform.database,
            platform.redis,
            settings=platform.settings,
            email=body.email,
            password=body.password,
            client=client_of(request, platform.settings.trusted_proxies),
        )
        async with platform.database.transaction() as session:
            cookie = await users.issue_cookie(session, signed_in)
    except Exception as exc:  # noqa: BLE001 (a form's every failure goes back to its page)
        return _back("/login", exc, form, "email", "next")
    return _welcome(request, platform, cookie, form)


@router.post("/register")
async def register(request: Request, platform: PlatformDep) -> Response:
    require_same_origin(request)
    form = await _form(request)
    try:
        fields = {name: form.get(name, "") for name in ("email", "password", "name")}
        body = RegisterBody.model_validate({**fields, "invitation": form.get("invitation") or None})
        async with registered(platform, request, body) as (session, signed_in):
            cookie = await users.issue_cookie(session, signed_in)
    except Exception as exc:  # noqa: BLE001 (a form's every failure goes back to its page)
        return _back("/register", exc, form, "email", "name", "next", "invitation")
    return _welcome(request, platform, cookie, form)


@router.post("/logout")
async def log_out(request: Request, platform: PlatformDep) -> Response:
    require_same_origin(request)
    cookie = request.cookies.get(SESSION_COOKIE)
    if cookie is not None:
        try:
            async with platform.database.transaction() as session:
                principal = await users.authenticate_cookie(session, cookie)
                await users.log_out(
                    session,
                    principal.session_id,
                    replace(
                        principal.actor,
                        address=client_of(request, platform.settings.trusted_proxies).address,
                    ),
                )
        except (InvalidToken, TokenExpired):
            pass  # it has ended already
    response = RedirectResponse("/login", status_code=303)
    response.delete_cookie(SESSION_COOKIE, httponly=True, samesite="lax", secure=_is_https(request))
    return response


async def _form(request: Request) -> dict[str, str]:
    content_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if content_type != "application/x-www-form-urlencoded":
        raise UnsupportedMediaType(
            "Send the form as 'Content-Type: application/x-www-form-urlencoded'."
        )
    text = (await request.body()).decode(errors="replace")
    return dict(parse_qsl(text, keep_blank_values=True))


def _welcome(request: Request, platform: Platform, cookie: str, form: dict[str, str]) -> Response:
    response = RedirectResponse(safe_next(form.get("next", "")), status_code=303)
    response.set_cookie(
        SESSION_COOKIE,
        cookie,
        max_age=platform.settings.jwt_refresh_expires_in,
        path="/",
        httponly=True,
        samesite="lax",
        secure=_is_https(request),
    )
    return response


def _back(page: str, exc: Exception, form: dict[str, str], *kept: str) -> Response:
    error = (
        validation_error(exc) if isinstance(exc, pydantic.ValidationError) else to_app_error(exc)
    )
    query = {"error": _page_code(error), **{name: form[name] for name in kept if form.get(name)}}
    response = RedirectResponse(f"{page}?{urlencode(query)}", status_code=303)
    for name, value in error.headers.items():
        response.headers[name] = value
    return response


def _page_code(error: AppError) -> str:
    """The page words the error itself; where several fields are wrong, by the first of them."""
    return error.errors[0].code if error.errors else error.error_code


def safe_next(target: str) -> str:
    """Return `target` if it is a path on this server, else the home page: a redirect must not lead
    away.
    """
    return target if is_local_path(target) else _HOME


def _is_https(request: Request) -> bool:
    """The Origin has been checked, and a browser knows better than a proxy's back end how it got
    here.
    """
    return request.headers.get("origin", "").startswith("https://") or request.url.scheme == "https"
