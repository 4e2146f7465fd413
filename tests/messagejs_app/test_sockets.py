"""The websockets' door: places, sizes and pace."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import UUID, uuid4

import pytest
from starlette.types import Message

from backend.services.limits.logins import network_of
from messagejs_app.sockets import SocketDoor, SocketLimits

_TEXT = {"type": "websocket.receive", "text": "42x", "bytes": None}


class Socket:
    """A client's end, and the application behind the door, which keeps what it has read."""

    def __init__(
        self, door: SocketDoor, address: str = "192.0.2.1", login: UUID | None = None
    ) -> None:
        self.inbox: asyncio.Queue[Message] = asyncio.Queue()
        self.outbox: list[Message] = []
        scope: dict[str, Any] = {
            "type": "websocket",
            "client": (address, 1),
            "headers": [],
            "login": login,
        }
        self.task = asyncio.create_task(door(scope, self.inbox.get, self._send))
        self.inbox.put_nowait({"type": "websocket.connect"})

    async def _send(self, message: Any) -> None:
        self.outbox.append(message)

    async def end(self) -> None:
        self.inbox.put_nowait({"type": "websocket.disconnect", "code": 1001})
        await self.task

    @property
    def close_code(self) -> int | None:
        return next(
            (item["code"] for item in self.outbox if item["type"] == "websocket.close"), None
        )


class Application:
    def __init__(self) -> None:
        self.read: list[Message] = []
        self.open = 0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.open += 1
        while (message := await receive())["type"] != "websocket.disconnect":
            self.read.append(message)
        self.open -= 1


@pytest.fixture
def application() -> Application:
    return Application()


def _door(application: Application, **limits: Any) -> SocketDoor:
    memory_mb = limits.pop("process_mb", 0.0)
    given = SocketLimits(**{"of_address": 100, "strangers_of_address": 100, **limits})
    return SocketDoor(
        application, given, lambda scope: scope["client"][0], _login_in, lambda: memory_mb
    )


async def _login_in(scope: Any) -> UUID | None:
    login: UUID | None = scope["login"]
    return login


async def test_an_address_holds_so_many_sockets_and_another_address_its_own(
    application: Application,
) -> None:
    door = _door(application, of_address=2)
    sockets = [Socket(door) for _ in range(2)]
    await asyncio.sleep(0)
    refused = Socket(door)
    await refused.task
    assert refused.close_code == 1013
    other = Socket(door, "192.0.2.2")
    await asyncio.sleep(0)
    assert application.open == 3
    for socket in (*sockets, other):
        await socket.end()
    again = Socket(door)
    await again.end()
    assert again.close_code is None


async def test_the_process_holds_so_many_sockets(application: Application) -> None:
    door = _door(application, of_process=3)
    sockets = [Socket(door, f"192.0.2.{number}") for number in range(3)]
    await asyncio.sleep(0)
    refused = Socket(door, "192.0.2.9")
    await refused.task
    assert refused.close_code == 1013
    for socket in sockets:
        await socket.end()


@pytest.mark.parametrize(
    ("message", "code"),
    [
        ({**_TEXT, "text": "4" * 1_001}, 1009),
        ({**_TEXT, "text": "4" + "\U0001f4a3" * 300}, 1009),
        ({**_TEXT, "text": None, "bytes": b"451-"}, 1003),
        ({**_TEXT, "text": "b4AAA="}, 1003),
        ({**_TEXT, "text": ""}, 1003),
    ],
)
async def test_what_no_page_sends_costs_its_sender_the_socket(
    application: Application, message: Message, code: int
) -> None:
    socket = Socket(_door(application, message_bytes=1_000))
    socket.inbox.put_nowait(message)
    await socket.task
    assert socket.close_code == code
    assert message not in application.read


async def test_what_comes_too_fast_waits_and_is_not_lost(application: Application) -> None:
    socket = Socket(_door(application, at_once=5, per_second=1_000))
    for _ in range(50):
        socket.inbox.put_nowait(_TEXT)
    await asyncio.sleep(0)
    assert application.read.count(_TEXT) <= 6
    await socket.end()
    assert application.read.count(_TEXT) == 50


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("unix", "unix"),
    ],
)
def test_an_ipv6_network_counts_as_one_address(address: str, network: str) -> None:
    assert network_of(address) == network


async def _settled() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def test_strangers_have_fewer_places_and_take_none_of_who_is_signed_in(
    application: Application,
) -> None:
    door = _door(application, strangers_of_address=2, strangers=3, of_process=10)
    strangers = [
        Socket(door, address)
        for address in ("192.0.2.1", "192.0.2.1", "192.0.2.1", "192.0.2.2", "192.0.2.3")
    ]
    await _settled()
    assert [stranger.close_code for stranger in strangers] == [None, None, 1013, None, 1013]
    ada = Socket(door, "192.0.2.1", uuid4())
    await _settled()
    assert ada.close_code is None
    for item in (strangers[0], strangers[1], strangers[3], ada):
        await item.end()
    again = Socket(door, "192.0.2.1")
    await _settled()
    assert again.close_code is None
    await again.end()


async def test_a_log_in_has_so_many_tabs(application: Application) -> None:
    login = uuid4()
    door = _door(application, of_login=2)
    tabs = [Socket(door, f"192.0.2.{number}", login) for number in range(3)]
    await _settled()
    assert [tab.close_code for tab in tabs] == [None, None, 1013]
    await asyncio.gather(*(tab.end() for tab in tabs[:2]))


async def test_who_never_connects_or_falls_silent_is_ended(application: Application) -> None:
    door = _door(application, connect_within_s=0.0, silent_for_s=60.0)
    idle, connected = Socket(door), Socket(door)
    connected.inbox.put_nowait({"type": "websocket.receive", "text": "40/_event,", "bytes": None})
    await _settled()
    await door.look()
    await idle.task
    assert (idle.close_code, connected.close_code) == (1013, None)
    await connected.end()
    door = _door(application, silent_for_s=-1.0)
    silent = Socket(door)
    await _settled()
    await door.look()
    await silent.task
    assert silent.close_code == 1013


async def test_on_short_memory_the_silent_go_strangers_first(application: Application) -> None:
    door = _door(application, memory_mb=100, process_mb=101.0)
    stranger, ada = Socket(door), Socket(door, login=uuid4())
    await _settled()
    await asyncio.sleep(2.1)
    speaking = Socket(door)
    await _settled()
    await door.look()
    await stranger.task
    assert [item.close_code for item in (stranger, ada, speaking)] == [1013, None, None]
    await asyncio.gather(ada.end(), speaking.end())
