"""What one address may keep open: slow bodies end or are turned away, others are left alone."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

import orjson
import pytest
from starlette.responses import PlainTextResponse
from starlette.types import Message, Receive, Scope, Send

from backend.api.frame.slow_bodies import SlowBodies, TransferLimits

# Bodies are checked ten times a second, and slow after four checks.
CHECK_EVERY_S = 0.1
PATIENCE_S = 20


async def _reading_app(scope: Scope, receive: Receive, send: Send) -> None:
    size = 0
    while (message := await receive())["type"] == "http.request":
        size += len(message["body"])
        if not message["more_body"]:
            break
    await PlainTextResponse(str(size))(scope, receive, send)


def _slow_bodies(app: Callable[..., Awaitable[None]] = _reading_app, **limits: float) -> SlowBodies:
    defaults: dict[str, Any] = {
        "body_timeout_s": 60.0,
        "body_bytes_per_s": 1000,
        "slow_bodies_per_address": 3,
    }
    return SlowBodies(app, TransferLimits(**{**defaults, **limits}), check_every_s=CHECK_EVERY_S)


class Upload:
    """One request with a body of `pieces`: (seconds before it, bytes). Unless `is_complete`
    it never ends.
    """

    def __init__(
        self,
        address: str = "198.51.100.7",
        *,
        pieces: tuple[tuple[float, int], ...] = (),
        is_complete: bool,
    ):
        self.scope: Scope = {
            "type": "http",
            "method": "POST",
            "path": "/",
            "headers": [],
            "client": (address, 4711),
        }
        self._pieces = list(pieces)
        self._is_complete = is_complete
        self.sent: list[Message] = []

    async def receive(self) -> Message:
        if not self._pieces and not self._is_complete:
            await asyncio.Event().wait()
        if not self._pieces:
            return {"type": "http.request", "body": b"", "more_body": False}
        delay_s, size = self._pieces.pop(0)
        await asyncio.sleep(delay_s)
        return {"type": "http.request", "body": b"x" * size, "more_body": True}

    async def send(self, message: Message) -> None:
        self.sent.append(message)

    async def through(self, slow_bodies: SlowBodies) -> int:
        """Return the answer's status."""
        async with asyncio.timeout(PATIENCE_S):
            await slow_bodies(self.scope, self.receive, self.send)
        status: int = self.sent[0]["status"]
        return status


async def test_a_body_that_does_not_arrive_in_time_is_answered_with_408_and_closed() -> None:
    upload = Upload(is_complete=False, pieces=((0, 1),))
    assert await upload.through(_slow_bodies(body_timeout_s=0.5)) == 408
    start, body = upload.sent
    assert (b"connection", b"close") in start["headers"]
    assert orjson.loads(body["body"])["code"] == "REQUEST_TIMEOUT"


async def test_a_body_dripped_below_the_least_rate_ends_as_well() -> None:
    upload = Upload(is_complete=True, pieces=((0.1, 1),) * 60)  # 10 bytes a second, for 6 s
    assert await upload.through(_slow_bodies(body_timeout_s=0.5)) == 408


async def test_an_upload_that_keeps_the_rate_may_take_its_time() -> None:
    upload = Upload(is_complete=True, pieces=((0.1, 2000),) * 20)  # 20,000 bytes a second, for 2 s
    assert await upload.through(_slow_bodies(body_timeout_s=0.5)) == 200


async def test_of_the_slow_bodies_of_one_address_the_oldest_may_go_on() -> None:
    slow_bodies = _slow_bodies()
    oldest = [
        asyncio.create_task(Upload(is_complete=True, pieces=((1.5, 1),)).through(slow_bodies))
        for _ in range(3)
    ]
    await asyncio.sleep(0.3)
    statuses = await asyncio.gather(
        *(Upload(is_complete=False).through(slow_bodies) for _ in range(20))
    )
    assert statuses == [429] * 20
    assert await asyncio.gather(*oldest) == [200] * 3


async def test_slow_bodies_of_one_address_cost_another_nothing() -> None:
    slow_bodies = _slow_bodies(slow_bodies_per_address=1)
    slow = [
        asyncio.create_task(Upload("203.0.113.9", is_complete=False).through(slow_bodies))
        for _ in range(10)
    ]
    assert (
        await Upload("198.51.100.7", is_complete=True, pieces=((0.8, 1),)).through(slow_bodies)
        == 200
    )
    refused = [task.result() for task in slow if task.done()]
    assert refused == [429] * 9
    for task in slow:
        task.cancel()


async def test_an_ipv6_network_is_one_address_and_an_ipv4_address_inside_ipv6_is_itself() -> None:
    slow_bodies = _slow_bodies(slow_bodies_per_address=1)
    same = [Upload(f"2001:db8::{n}", is_complete=False) for n in (1, 2)]
    others = [Upload(f"::ffff:192.0.2.{n}", is_complete=True, pieces=((0.8, 1),)) for n in (1, 2)]
    tasks = [asyncio.create_task(upload.through(slow_bodies)) for upload in same]
    assert await asyncio.gather(*(upload.through(slow_bodies) for upload in others)) == [200, 200]
    assert [task.done() for task in tasks].count(True) == 1
    for task in tasks:
        task.cancel()


async def test_waiting_for_the_client_to_leave_is_not_slow() -> None:
    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(receive(), 0.8)  # as a streamed answer does
        await PlainTextResponse("streamed")(scope, receive, send)

    whole = {"type": "http.request", "body": b"{}", "more_body": False}
    messages = iter([whole])
    upload = Upload(is_complete=True)

    async def receive() -> Message:
        if (message := next(messages, None)) is not None:
            return message
        await asyncio.Event().wait()
        raise AssertionError

    async with asyncio.timeout(PATIENCE_S):
        await _slow_bodies(app, body_timeout_s=0.3, slow_bodies_per_address=1)(
            upload.scope, receive, upload.send
        )
    assert upload.sent[0]["status"] == 200


async def test_a_request_that_the_server_cancels_stays_canceled() -> None:
    upload = Upload(is_complete=False)
    running = asyncio.create_task(upload.through(_slow_bodies()))
    await asyncio.sleep(0.1)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert upload.sent == []


async def test_bodies_that_came_while_the_loop_was_held_up_are_not_slow() -> None:
    """As when the machine slept: nobody had a chance to read them."""
    slow_bodies = _slow_bodies(body_timeout_s=0.5, slow_bodies_per_address=1)
    uploads = [
        asyncio.create_task(Upload(is_complete=True, pieces=((0.2, 1),)).through(slow_bodies))
        for _ in range(5)
    ]
    await asyncio.sleep(0)
    time.sleep(1)  # noqa: ASYNC251 (the matter)
    assert await asyncio.gather(*uploads) == [200] * 5
