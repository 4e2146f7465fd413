"""The websockets' door: places, sizes and pace."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from starlette.types import Message

from backend.services.accounts.limits import network_of
from messagejs_app.sockets import SocketDoor, SocketLimits

_TEXT = {"type": "websocket.receive", "text": "42x", "bytes": None}


class Socket:
    """A client's end, and the application behind the door, which keeps what it has read."""

    def __init__(self, door: SocketDoor, address: str = "192.0.2.1") -> None:
        self.inbox: asyncio.Queue[Message] = asyncio.Queue()
        self.outbox: list[Message] = []
        scope = {"type": "websocket", "client": (address, 1), "headers": []}
        self.task = asyncio.create_task(door(scope, self.inbox.get, self._send))
        self.inbox.put_nowait({"type": "websocket.connect"})

    async def _send(self, message: Any) -> None:
        self.outbox.append(message)

    async def end(self) -> None:
        self.inbox.put_nowait({"type": "websocket.disconnect", "code": 1001})
        await self.task

    @property
    def close_code(self) -> int | None:
        return next((one["code"] for one in self.outbox if one["type"] == "websocket.close"), None)


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
    return SocketDoor(application, SocketLimits(**{"of_address": 100, **limits}), lambda scope: scope["client"][0])


async def test_an_address_holds_so_many_sockets_and_another_address_its_own(application: Application) -> None:
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
