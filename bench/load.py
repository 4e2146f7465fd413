"""The load generator: keep-alive connections that post prepared requests and time the answers.

It runs as a separate process, so that it doesn't share an interpreter with what it measures.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from dataclasses import dataclass, field
from typing import Final

import orjson

_MARK: Final = b"@@@@@@@@@@"  # ten bytes of the body that number the message
_PATIENCE_S: Final = 5.0


@dataclass
class Run:
    """`accepted`: (serial, instant of the 202); `latencies_s`: of every 202."""

    latencies_s: list[float] = field(default_factory=list)
    accepted: list[tuple[int, float]] = field(default_factory=list)
    errors: dict[str, int] = field(default_factory=dict)
    serial: int = 0


class Client(asyncio.Protocol):
    """A connection with one request at a time."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._answer: asyncio.Future[bytes] | None = None
        self._buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)  # noqa: S101
        self._transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(exc or ConnectionResetError("closed"))

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            return
        lowered = self._buffer[:end].lower()
        at = lowered.find(b"content-length:")
        size = int(lowered[at + 15 :].split(b"\r\n", 1)[0]) if at >= 0 else 0
        if len(self._buffer) >= end + 4 + size and self._answer is not None:
            answer, self._buffer = self._buffer[: end + 4 + size], self._buffer[end + 4 + size :]
            self._answer.set_result(answer)

    async def post(self, request: bytes) -> bytes:
        if self._transport is None or self._transport.is_closing():
            raise ConnectionResetError("closed")
        self._answer = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        return await self._answer


def _request(port: int, path: str, key: str, body: bytes) -> bytes:
    return (
        f"POST {path} HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\nauthorization: Bearer {key}\r\n"
        f"content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    ).encode() + body


async def _client(
    run: Run, arguments: argparse.Namespace, requests: list[bytes], ends_at: float, pause_s: float
) -> None:
    loop = asyncio.get_running_loop()
    _, client = await loop.create_connection(Client, "127.0.0.1", arguments.port)
    while time.monotonic() < ends_at and (not arguments.count or run.serial < arguments.count):
        run.serial += 1
        serial = run.serial
        request = requests[serial % len(requests)].replace(_MARK, b"%010d" % serial)
        started = time.monotonic()
        try:
            async with asyncio.timeout(_PATIENCE_S):
                answer = await client.post(request)
        except (OSError, TimeoutError) as exc:
            run.errors[type(exc).__name__] = run.errors.get(type(exc).__name__, 0) + 1
            _, client = await loop.create_connection(Client, "127.0.0.1", arguments.port)
            continue
        now = time.monotonic()
        status = answer[9:12].decode()
        if status == "202":
            run.latencies_s.append(now - started)
            run.accepted.append((serial, now))
        else:
            run.errors[status] = run.errors.get(status, 0) + 1
        if pause_s > 0:
            await asyncio.sleep(max(0.0, pause_s - (time.monotonic() - started)))


async def main(arguments: argparse.Namespace) -> None:
    body = arguments.body.encode()
    requests = [
        _request(arguments.port, arguments.path, key, body) for key in sys.stdin.read().split()
    ]
    run = Run()
    pause_s = arguments.connections / arguments.rate if arguments.rate else 0.0
    started = time.monotonic()
    ends_at = started + arguments.seconds
    clients = [
        _client(run, arguments, requests, ends_at, pause_s) for _ in range(arguments.connections)
    ]
    await asyncio.gather(*clients)
    elapsed_s = time.monotonic() - started
    report = {"elapsed_s": elapsed_s, "errors": run.errors, "latencies_s": run.latencies_s}
    if arguments.stamps:
        report["accepted"] = run.accepted
    sys.stdout.buffer.write(orjson.dumps(report))


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("port", type=int)
    parser.add_argument("path")
    parser.add_argument("body")
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--count", type=int, default=0, help="stop after this many requests")
    parser.add_argument(
        "--rate",
        type=float,
        default=0.0,
        help="requests a second over all connections; 0: no pause",
    )
    parser.add_argument(
        "--stamps", action="store_true", help="report when each message was accepted"
    )
    asyncio.run(main(parser.parse_args()))
