from __future__ import annotations

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.testclient import TestClient, WebSocketDenialResponse
from starlette.types import ASGIApp
from starlette.websockets import WebSocket, WebSocketDisconnect

from messagejs_app.front import door, front

# What the pages do not do; if they did, it would lead nowhere else.
_REDIRECTS = {
    "/away": "https://elsewhere.example//evil.example",
    "/near": "//evil.example/login/",
    "/odd": "/%2fevil.example/../login/",
    "/shorter": "http:evil.example",
}


async def _pages(request: Request) -> Response:
    if request.url.path == "/login":
        return RedirectResponse(f"http://{request.headers['host']}/login/", 307)
    if request.url.path in _REDIRECTS:
        return RedirectResponse(_REDIRECTS[request.url.path], 307)
    return PlainTextResponse(f"pages saw origin {request.headers.get('origin')}")


async def _socket(websocket: WebSocket) -> None:
    await websocket.accept()
    await websocket.send_text("hello")
    await websocket.close()


async def _api(request: Request) -> Response:
    return PlainTextResponse("api")


@pytest.fixture
def client() -> TestClient:
    methods = ["GET", "POST"]
    pages: ASGIApp = Starlette(
        routes=[WebSocketRoute("/_event/", _socket), Route("/{path:path}", _pages, methods=methods)]
    )
    api: ASGIApp = Starlette(routes=[Route("/{path:path}", _api, methods=methods)])
    application = front(api, door(pages, allowed_origins=frozenset({"https://admin.example"})))
    return TestClient(application, base_url="http://desk.example:8000", follow_redirects=False)


@pytest.mark.parametrize(
    "path",
    [
        "/api",
        "/api/v1/messages",
        "/auth/login",
        "/docs",
        "/docs/x",
        "/sdk/messagejs.js",
        "/metrics",
        "/healthz",
        "/readyz",
    ],
)
def test_the_apis_paths_go_to_the_api(client: TestClient, path: str) -> None:
    assert client.get(path).text == "api"


@pytest.mark.parametrize(
    "path", ["/", "/messages", "/apinotes", "/documents", "/healthz/x", "/authors", "/ping"]
)
def test_everything_else_goes_to_the_pages(client: TestClient, path: str) -> None:
    assert client.get(path).text.startswith("pages")


def test_any_site_may_ask_the_api_which_has_rules_of_its_own(client: TestClient) -> None:
    assert client.get("/api/v1/messages", headers={"origin": "https://shop.example"}).text == "api"


@pytest.mark.parametrize(
    "origin", ["http://desk.example:8000", "https://desk.example:8000", "https://admin.example"]
)
def test_the_pages_own_origin_and_listed_ones_may_use_them(client: TestClient, origin: str) -> None:
    # https too: behind a TLS proxy the server itself speaks http.
    assert client.post("/_upload", headers={"origin": origin}).text == "pages saw origin None"


@pytest.mark.parametrize("origin", ["https://evil.example", "http://desk.example", "null"])
def test_other_origins_may_not_use_the_pages(client: TestClient, origin: str) -> None:
    assert client.post("/_upload", headers={"origin": origin}).status_code == 403


def test_another_site_cannot_open_the_event_socket(client: TestClient) -> None:
    with (
        pytest.raises(WebSocketDisconnect),
        client.websocket_connect("/_event/", headers={"origin": "https://evil.example"}),
    ):
        pytest.fail("the socket was opened")


def test_the_page_itself_can_open_the_event_socket(client: TestClient) -> None:
    headers = {"origin": "http://desk.example:8000", "host": "desk.example:8000"}
    with client.websocket_connect("/_event/", headers=headers) as socket:
        assert socket.receive_text() == "hello"


def test_redirects_to_ourselves_name_no_scheme(client: TestClient) -> None:
    assert client.get("/login").headers["location"] == "/login/"


@pytest.mark.parametrize("path", ["/away", "/near", "/odd", "/shorter"])
def test_a_redirect_of_the_pages_leads_to_a_page_of_ours(client: TestClient, path: str) -> None:
    assert client.get(path).headers["location"] == "/"


@pytest.mark.parametrize(
    "path",
    [
        "//evil.example/..%2flogin",
        "/%2fevil.example/..%2flogin",
        "/%252fevil.example/..%252flogin",
        "/%5cevil.example/login",
        "/login/%2e%2e//evil.example",
        "/%2e%2e/login",
        "/login/%2e",
        "/%09/evil.example",
        "/%0a/evil.example",
        "/%c2%a0/login",
        "/login%2f%2fevil.example",
        "/login%00",
    ],
)
def test_a_path_with_two_meanings_is_no_page(client: TestClient, path: str) -> None:
    answer = client.get(f"http://desk.example:8000{path}")
    assert (answer.status_code, answer.text) == (404, "This page does not exist.\n")


@pytest.mark.parametrize(
    "origin",
    [
        "http://[",
        "http://[::1",
        "http://]",
        "http://[::1]x",
        "http://desk.example:8000.evil",
        "http://desk.example:port",
        "http://ada@desk.example:8000",
        "http://desk.example:8000/",
        "http://desk.example:8000 http://evil.example",
        "//desk.example:8000",
        "desk.example:8000",
        "",
    ],
)
def test_a_broken_origin_is_a_bad_request(client: TestClient, origin: str) -> None:
    assert client.post("/_upload", headers={"origin": origin}).status_code == 400
    with (
        pytest.raises(WebSocketDenialResponse) as refused,
        client.websocket_connect(
            "/_event/", headers={"origin": origin, "host": "desk.example:8000"}
        ),
    ):
        pytest.fail("the socket was opened")
    assert refused.value.status_code == 400
