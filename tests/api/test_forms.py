"""The dashboard's log-in forms: a cookie and a redirect, for pages of this server only."""

from __future__ import annotations

from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from backend.api.resources.forms import safe_next
from backend.ids import new_id
from tests.api.accounts import PASSWORD, Account, Api

SAME_ORIGIN = {"Origin": "http://messagejs.local"}
ME = "/api/v1/auth/me"


async def submit(
    api: Api, path: str, form: dict[str, str], headers: dict[str, str] | None = None
) -> httpx.Response:
    async with api.from_address("198.51.100.9") as client:
        return await client.post(
            path, data=form, headers=SAME_ORIGIN if headers is None else headers
        )


def cookie_of(response: httpx.Response) -> str:
    return response.headers["set-cookie"].partition(";")[0].partition("=")[2]


async def test_logging_in_sets_the_cookie_and_goes_on(api: Api, ada: Account) -> None:
    form = {"email": ada.email, "password": PASSWORD, "next": "/messages?status=failed"}
    response = await submit(api, "/auth/login", form)
    assert (response.status_code, response.headers["location"]) == (303, "/messages?status=failed")
    attributes = response.headers["set-cookie"].lower()
    assert attributes.startswith("mjs_session=cs_")
    assert "httponly" in attributes
    assert "samesite=lax" in attributes
    assert "secure" not in attributes
    me = await api.client.get(ME, headers={"Cookie": f"mjs_session={cookie_of(response)}"})
    assert me.json()["user"]["email"] == ada.email


async def test_over_https_the_cookie_is_secure(api: Api, ada: Account) -> None:
    form = {"email": ada.email, "password": PASSWORD}
    response = await submit(api, "/auth/login", form, {"Origin": "https://messagejs.local"})
    assert "secure" in response.headers["set-cookie"].lower()


async def test_a_wrong_password_goes_back_to_the_page_without_the_password(
    api: Api, ada: Account
) -> None:
    response = await submit(
        api, "/auth/login", {"email": ada.email, "password": "wrong password", "next": "/keys"}
    )
    location = urlsplit(response.headers["location"])
    assert (response.status_code, location.path) == (303, "/login")
    assert parse_qs(location.query) == {
        "error": ["INVALID_CREDENTIALS"],
        "email": [ada.email],
        "next": ["/keys"],
    }
    assert "set-cookie" not in response.headers


async def test_registering_by_form_logs_in(api: Api) -> None:
    form = {"email": f"{new_id()}@example.com", "password": PASSWORD, "name": "Mary"}
    response = await submit(api, "/auth/register", form)
    assert (response.status_code, response.headers["location"]) == (303, "/")
    me = await api.client.get(ME, headers={"Cookie": f"mjs_session={cookie_of(response)}"})
    assert me.json()["user"]["name"] == "Mary"


@pytest.mark.parametrize(
    ("form", "code"),
    [
        ({"email": "nobody", "password": PASSWORD}, "INVALID_EMAIL"),
        ({"email": "new@example.com", "password": "short"}, "VALIDATION_ERROR"),
        ({"email": ""}, "INVALID_EMAIL"),
    ],
)
async def test_a_wrong_registration_goes_back_with_its_code(
    api: Api, form: dict[str, str], code: str
) -> None:
    response = await submit(api, "/auth/register", form)
    location = urlsplit(response.headers["location"])
    assert (response.status_code, location.path) == (303, "/register")
    assert parse_qs(location.query)["error"] == [code]


async def test_logging_out_ends_the_cookie(api: Api, ada: Account) -> None:
    login = await submit(api, "/auth/login", {"email": ada.email, "password": PASSWORD})
    headers = {"Cookie": f"mjs_session={cookie_of(login)}"}
    response = await submit(api, "/auth/logout", {}, {**SAME_ORIGIN, **headers})
    assert (response.status_code, response.headers["location"]) == (303, "/login")
    assert 'mjs_session=""' in response.headers["set-cookie"]
    assert (await api.client.get(ME, headers=headers)).status_code == 401


@pytest.mark.parametrize(
    "headers",
    [{}, {"Origin": "https://evil.example"}, {"Origin": "null"}, {"Sec-Fetch-Site": "cross-site"}],
)
async def test_forms_of_other_sites_are_refused(
    api: Api, ada: Account, headers: dict[str, str]
) -> None:
    response = await submit(api, "/auth/login", {"email": ada.email, "password": PASSWORD}, headers)
    assert (response.status_code, response.json()["code"]) == (403, "ORIGIN_NOT_ALLOWED")
    assert "set-cookie" not in response.headers


async def test_a_cookie_alone_changes_nothing_for_another_site(api: Api, ada: Account) -> None:
    login = await submit(api, "/auth/login", {"email": ada.email, "password": PASSWORD})
    cookie = {"Cookie": f"mjs_session={cookie_of(login)}"}
    body = {"name": "Made by another site"}
    refused = await api.client.post(
        "/api/v1/projects", json=body, headers={**cookie, "Origin": "https://evil.example"}
    )
    assert (refused.status_code, refused.json()["code"]) == (403, "ORIGIN_NOT_ALLOWED")
    ours = await api.client.post("/api/v1/projects", json=body, headers={**cookie, **SAME_ORIGIN})
    assert ours.status_code == 201


async def test_a_cookie_is_not_a_refresh_token(api: Api, ada: Account) -> None:
    login = await submit(api, "/auth/login", {"email": ada.email, "password": PASSWORD})
    response = await api.client.post(
        "/api/v1/auth/refresh", json={"refreshToken": cookie_of(login)}
    )
    assert response.status_code == 401


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("/messages", "/messages"),
        ("/messages?status=failed#top", "/messages?status=failed#top"),
        ("", "/"),
        ("https://evil.example", "/"),
        ("//evil.example", "/"),
        ("/\\evil.example", "/"),
        ("/\t/evil.example", "/"),
        ("/\r\nSet-Cookie: a=b", "/"),
        ("javascript:alert(1)", "/"),
        ("/%2fevil.example/..%2flogin", "/"),
        ("/%2Fevil.example", "/"),
        ("/%252fevil.example/..%252flogin", "/"),
        ("/%5cevil.example", "/"),
        ("/%09/evil.example", "/"),
        ("/.//evil.example", "/"),
        ("/login/..//evil.example", "/"),
        ("/messages//evil.example", "/"),
        ("/messages\n", "/"),
        ("/ /evil.example", "/"),
        ("/messages?q=\\", "/"),
        ("/\u2044evil.example", "/"),
        ("/templates/tpl_01-Aa?next=//evil.example", "/templates/tpl_01-Aa?next=//evil.example"),
        ("/login/", "/login/"),
    ],
)
def test_a_redirect_never_leads_away(target: str, expected: str) -> None:
    assert safe_next(target) == expected
