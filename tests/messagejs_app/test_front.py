from __future__ import annotations

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.testclient import TestClient
from starlette.types import ASGIApp
from starlette.websockets import WebSocket, WebSocketDisconnect

from messagejs_app.front import front


async def _pages(request: Request) -> Response:
    if request.url.path == "/login":
        return RedirectResponse(f"http://{request.headers['host']}/login/", 307)
    if request.url.path == "/away":
        return RedirectResponse("https://elsewhere.example/x", 307)
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
    application = front(api, pages, allowed_origins=frozenset({"https://admin.example"}))
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


@pytest.mark.parametrize("path", ["/", "/messages", "/apinotes", "/documents", "/healthz/x", "/authors", "/ping"])
def test_everything_else_goes_to_the_pages(client: TestClient, path: str) -> None:
    assert client.get(path).text.startswith("pages")


def test_any_site_may_ask_the_api_which_has_rules_of_its_own(client: TestClient) -> None:
    assert client.get("/api/v1/messages", headers={"origin": "https://shop.example"}).text == "api"


@pytest.mark.parametrize("origin", ["http://desk.example:8000", "https://desk.example:8000", "https://admin.example"])
def test_the_pages_own_origin_and_listed_ones_may_use_them(client: TestClient, origin: str) -> None:
    # https too: behind a TLS proxy the server itself speaks http.
    assert client.post("/_upload", headers={"origin": origin}).text == "pages saw origin None"


@pytest.mark.parametrize(
    "origin", ["https://evil.example", "http://desk.example", "http://desk.example:8000.evil", "null"]
)
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


def test_redirects_to_elsewhere_stay_as_they_are(client: TestClient) -> None:
    assert client.get("/away").headers["location"] == "https://elsewhere.example/x"
