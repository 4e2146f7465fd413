"""A fake Telegram for benchmarks: a bare HTTP/1.1 server in its own process, on the worker's loop.

It records every POST with its time and answers after the latency; GET /arrivals returns them.
"""

from __future__ import annotations

import argparse
import asyncio
import time
from typing import Final, cast

import orjson

from workers.event_loop import new_event_loop

_ANSWER: Final = b'{"ok":true,"result":{"message_id":%d,"chat":{"id":1},"date":0}}'
_HEAD: Final = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"

arrivals: list[tuple[float, str]] = []


class Connection(asyncio.Protocol):
    def __init__(self, latency_s: float) -> None:
        self._latency_s = latency_s
        self._buffer = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports do not inherit from asyncio's.
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while (end := self._buffer.find(b"\r\n\r\n")) >= 0:
            head = self._buffer[:end]
            size = _content_length(head)
            if len(self._buffer) < end + 4 + size:
                return
            body, self._buffer = (
                self._buffer[end + 4 : end + 4 + size],
                self._buffer[end + 4 + size :],
            )
            self._answer(head, body)

    def _answer(self, head: bytes, body: bytes) -> None:
        if head.startswith(b"GET"):
            self._write(orjson.dumps(arrivals))
            return
        arrivals.append((time.monotonic(), orjson.loads(body)["text"] if body else ""))
        answer = _ANSWER % len(arrivals)
        if self._latency_s > 0:
            asyncio.get_running_loop().call_later(self._latency_s, self._write, answer)
        else:
            self._write(answer)

    def _write(self, body: bytes) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(_HEAD % len(body) + body)


def _content_length(head: bytes) -> int:
    lowered = head.lower()
    at = lowered.find(b"content-length:")
    if at < 0:
        return 0
    return int(lowered[at + 15 :].split(b"\r\n", 1)[0])


async def serve(port: int, latency_s: float) -> None:
    server = await asyncio.get_running_loop().create_server(
        lambda: Connection(latency_s), "127.0.0.1", port, backlog=2048
    )
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("port", type=int)
    parser.add_argument("latency_ms", type=float)
    arguments = parser.parse_args()
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        runner.run(serve(arguments.port, arguments.latency_ms / 1000))
