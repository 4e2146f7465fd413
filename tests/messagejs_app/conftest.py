"""The whole dashboard in this process, from the websocket inwards; `Tab` is a browser's end of
one.
"""

from __future__ import annotations

import asyncio
import json
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final
from uuid import uuid4

import httpx
import pytest
import pytest_asyncio
from reflex_base.registry import RegistrationContext
from starlette.types import ASGIApp

from backend.platform import Platform, current_platform
from backend.settings import Settings

PASSWORD: Final = "correct horse battery"
ROOT: Final = "reflex___state____state"
HYDRATE: Final = f"{ROOT}.hydrate_and_load"
ON_LOAD: Final = f"{ROOT}.reflex___state____on_load_internal_state.on_load_internal"
UPDATE_VARS: Final = f"{ROOT}.reflex___state____update_vars_internal_state.update_vars_internal"
# Long for a busy machine; nothing waits for it that works.
PATIENCE_S: Final = 30.0


class Tab:
    """One websocket, spoken to as Reflex's frontend does. `seen`: everything that came, as text."""

    def __init__(
        self, application: ASGIApp, *, cookie: str, token: str, address: str, **headers: str
    ) -> None:
        self.token = token
        self.seen: list[str] = []
        self.values: dict[str, dict[str, Any]] = {}
        self.commands: list[Any] = []
        self.close_code: int | None = None
        self.path = "/"
        self._to_server: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._arrived = asyncio.Condition()
        given = {
            "host": "messagejs.local",
            "connection": "Upgrade",
            "upgrade": "websocket",
            "cookie": cookie,
            **headers,
        }
        scope = {
            "type": "websocket",
            "path": "/_event/",
            "raw_path": b"/_event/",
            "root_path": "",
            "query_string": f"EIO=4&transport=websocket&token={token}".encode(),
            "headers": [(name.encode(), value.encode()) for name, value in given.items() if value],
            "client": (address, 50_000),
            "subprotocols": [],
            "scheme": "ws",
            "asgi": {"version": "3.0"},
        }
        self._to_server.put_nowait({"type": "websocket.connect"})
        self._task = asyncio.create_task(self._run(application, scope))

    async def _run(self, application: ASGIApp, scope: dict[str, Any]) -> None:
        await application(scope, self._to_server.get, self._hear)
        if self.close_code is None:
            await self._hear({"type": "websocket.close", "code": 1000})

    async def _hear(self, message: Any) -> None:
        async with self._arrived:
            if message["type"] == "websocket.close":
                self.close_code = message.get("code", 1000)
            elif message["type"] == "websocket.send" and message.get("text"):
                self._read(message["text"])
            self._arrived.notify_all()

    def _read(self, text: str) -> None:
        if text == "2":  # Engine.IO's ping
            self.send_text("3")
            return
        self.seen.append(text)
        if not text.startswith("42"):
            return
        name, *data = json.loads(text[text.index("[") :])
        if name == "event" and data:
            for state, changes in (data[0].get("delta") or {}).items():
                self.values.setdefault(state, {}).update(changes)
            self.commands.extend(data[0].get("events") or [])
        if name == "new_token":
            self.token = data[0]

    def send_text(self, text: str | None, data: bytes | None = None) -> None:
        self._to_server.put_nowait({"type": "websocket.receive", "text": text, "bytes": data})

    def emit(self, *data: Any) -> None:
        """Send any Socket.IO event."""
        self.send_text("42/_event," + json.dumps(list(data)))

    def call(
        self, name: str, payload: Any = None, *, path: str | None = None, address: str | None = None
    ) -> None:
        path = self.path if path is None else path
        pathname = path.partition("?")[0]
        query = dict(
            pair.split("=", 1) for pair in path.partition("?")[2].split("&") if "=" in pair
        )
        router_data = {"pathname": pathname, "asPath": address or path, "query": query}
        self.emit("event", {"name": name, "payload": payload or {}, "router_data": router_data})

    async def open(self, path: str = "/", **stored: str) -> None:
        """Connect as the frontend does: with the first event."""
        self.path = path
        await self.until(
            lambda: any(text.startswith("0{") for text in self.seen) or self.close_code is not None
        )
        pathname = path.partition("?")[0]
        boot = {
            "name": HYDRATE,
            "payload": {"vars": stored},
            "router_data": {"pathname": pathname, "asPath": path, "query": {}},
        }
        self.send_text("40/_event," + json.dumps({"event": boot}))
        await self.until(
            lambda: (
                any(text.startswith(("40/_event", "44/_event")) for text in self.seen)
                or self.close_code is not None
            )
        )

    async def until(self, is_so: Any) -> None:
        async with self._arrived:
            await asyncio.wait_for(self._arrived.wait_for(is_so), PATIENCE_S)

    async def until_seen(self, text: str, *, after: int = 0) -> None:
        await self.until(lambda: any(text in item for item in self.seen[after:]))

    async def answers(self) -> None:
        """Wait for the answer to a ping: what was sent before has been read."""
        count = self.pongs
        self.emit("ping")
        await self.until(lambda: self.pongs > count or self.close_code is not None)
        assert self.close_code is None, "the socket was closed"

    @property
    def pongs(self) -> int:
        return sum('["ping"' in text for text in self.seen)

    def value(self, state: str, name: str) -> Any:
        """What the page shows of a State's field."""
        return next(
            (
                changes.get(f"{name}_rx_state_")
                for full, changes in self.values.items()
                if full.endswith(state)
            ),
            None,
        )

    @property
    def is_connected(self) -> bool:
        return self.close_code is None and any(text.startswith("40/_event") for text in self.seen)

    @property
    def is_sent_away(self) -> bool:
        """Told to go to the log-in, by a script or a command of our own."""
        return any("/login" in item or "sign-in" in item for item in map(json.dumps, self.commands))

    @property
    def text(self) -> str:
        return "\n".join(self.seen)

    async def close(self) -> None:
        self._to_server.put_nowait({"type": "websocket.disconnect", "code": 1001})
        await asyncio.wait_for(self._task, PATIENCE_S)


class Person:
    """A signed-in user with a project of their own."""

    def __init__(self, client: httpx.AsyncClient, email: str) -> None:
        self.client, self.email = client, email
        self.project_id = ""

    @property
    def cookie(self) -> str:
        return f"mjs_session={self.client.cookies['mjs_session']}"

    async def post(self, path: str, body: Any) -> dict[str, Any]:
        answer = await self.client.post(path, json=body, headers=_SAME_ORIGIN)
        assert answer.status_code < 300, answer.text
        created: dict[str, Any] = answer.json()
        return created

    async def log_out(self) -> None:
        answer = await self.client.post("/auth/logout", headers=_SAME_ORIGIN)
        assert answer.status_code == 303, answer.text


_SAME_ORIGIN: Final = {"sec-fetch-site": "same-origin"}


class Dashboard:
    """The dashboard as browsers reach it."""

    def __init__(self, dashboard: Any, application: ASGIApp) -> None:
        self.dashboard, self.application = dashboard, application
        self._open: list[Tab] = []

    @property
    def platform(self) -> Platform:
        return current_platform()

    @property
    def states(self) -> dict[str, Any]:
        states: dict[str, Any] = self.dashboard.state_manager.states
        return states

    def tab(
        self,
        person: Person | None = None,
        *,
        token: str | None = None,
        address: str = "127.0.0.1",
        **headers: str,
    ) -> Tab:
        cookie = person.cookie if person is not None else ""
        tab = Tab(
            self.application, cookie=cookie, token=token or str(uuid4()), address=address, **headers
        )
        self._open.append(tab)
        return tab

    async def person(self, name: str = "Ada") -> Person:
        transport = httpx.ASGITransport(self.application, client=("127.0.0.1", 50_000))
        client = httpx.AsyncClient(
            transport=transport, base_url="http://messagejs.local", follow_redirects=False
        )
        email = f"{uuid4()}@example.com"
        form = {"email": email, "password": PASSWORD, "name": name}
        answer = await client.post("/auth/register", data=form, headers=_SAME_ORIGIN)
        assert answer.headers.get("location") == "/", answer.text
        person = Person(client, email)
        person.project_id = (await client.get("/api/v1/projects")).json()["projects"][0]["id"]
        return person

    def named(self, handler: str) -> str:
        """Return the whole name of `state.handler`."""
        (name,) = (item for item in handlers() if item.endswith(f"____{handler}"))
        return name

    async def settled(self, tab: Tab) -> None:
        """Wait until the tab's events have been handled."""
        await tab.answers()
        processor = self.dashboard.event_processor
        await processor.join(PATIENCE_S)
        held = self.dashboard.tabs.named(tab.token)
        await asyncio.wait_for(
            self._until_handled(processor, {item.key for item in held}), PATIENCE_S
        )

    async def _until_handled(self, processor: Any, keys: set[str]) -> None:
        while any(key in processor._token_queues for key in keys):
            await asyncio.sleep(0.002)

    async def close_tabs(self) -> None:
        for tab in self._open:
            await tab.close()
        self._open.clear()


def handlers() -> dict[str, Any]:
    """Every event that Reflex knows, by name."""
    return dict(RegistrationContext.get().event_handlers)


@asynccontextmanager
async def _running(application: Any) -> AsyncIterator[None]:
    inbox: asyncio.Queue[Any] = asyncio.Queue()
    outbox: asyncio.Queue[Any] = asyncio.Queue()
    task = asyncio.create_task(application({"type": "lifespan"}, inbox.get, outbox.put))
    await inbox.put({"type": "lifespan.startup"})
    started = await asyncio.wait_for(outbox.get(), PATIENCE_S)
    assert started["type"] == "lifespan.startup.complete", started
    yield
    await inbox.put({"type": "lifespan.shutdown"})
    await asyncio.wait_for(outbox.get(), PATIENCE_S)
    await task


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def application(settings: Settings) -> AsyncIterator[tuple[Any, ASGIApp]]:
    variables = {
        "__REFLEX_SKIP_COMPILE": "true",
        "REFLEX_CHECK_LATEST_VERSION": "false",
        "REFLEX_ENV_MODE": "prod",
        "REFLEX_STATE_MANAGER_MODE": "memory",
        "REFLEX_TELEMETRY_ENABLED": "false",
    }
    with tempfile.TemporaryDirectory() as place, pytest.MonkeyPatch.context() as environment:
        for name, value in {**variables, "REFLEX_WEB_WORKDIR": place}.items():
            environment.setenv(name, value)
        from messagejs_app.messagejs_app import app  # noqa: PLC0415 (reads the variables above)

        served = app()
        environment.undo()
        async with _running(served):
            yield app, served


@pytest_asyncio.fixture(loop_scope="session")
async def dashboard(application: tuple[Any, ASGIApp]) -> AsyncIterator[Dashboard]:
    dashboard = Dashboard(*application)
    yield dashboard
    await dashboard.close_tabs()
