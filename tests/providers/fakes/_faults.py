"""Raw servers that misbehave at an exact point of an exchange."""

from __future__ import annotations

import asyncio
import socket
import struct
from abc import ABC, abstractmethod
from types import TracebackType
from typing import Literal, Self

Fault = Literal[
    "accept_then_reset", "read_then_reset", "hang", "drip", "garbage", "500", "429", "echo"
]

_GARBAGE = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 13\r\n\r\n<html>hello</"
_DRIP = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 100000\r\n\r\n{"
_500 = b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 4\r\n\r\noops"
_429 = b"HTTP/1.1 429 Too Many Requests\r\nRetry-After: 7\r\nContent-Length: 0\r\n\r\n"


class RawServer(ABC):
    """A stream server on a free loopback port; it counts its connections and closes with resets."""

    def __init__(self) -> None:
        self.host = "127.0.0.1"
        self.port = 0
        self.connections = 0
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, self.host, 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._server is not None:
            self._server.close()
        for task in tuple(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        task = asyncio.current_task()
        if task is not None:
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        try:
            await self.serve(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            writer.close()

    @abstractmethod
    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None: ...


def reset(writer: asyncio.StreamWriter) -> None:
    """Close with RST: lingering for zero seconds throws away what is unsent."""
    connection = writer.get_extra_info("socket")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


class FaultServer(RawServer):
    """An HTTP server with one fault; `bodies` holds the request bodies it read, `was_read` is set
    by the first.
    """

    def __init__(self, fault: Fault) -> None:
        super().__init__()
        self.fault = fault
        self.bodies: list[bytes] = []
        self.was_read = asyncio.Event()

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self.port}"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.fault == "accept_then_reset":
            reset(writer)
            return
        head, body = await _read_request(reader)
        self.bodies.append(body)
        self.was_read.set()
        if self.fault == "read_then_reset":
            reset(writer)
        elif self.fault == "hang":
            await asyncio.sleep(3600)
        elif self.fault == "drip":
            writer.write(_DRIP)
            while True:
                writer.write(b" ")
                await writer.drain()
                await asyncio.sleep(0.02)
        elif self.fault == "echo":
            echoed = (head + body).replace(b"\\", b"/").replace(b'"', b"'").replace(b"\r\n", b" ")
            content = b'{"message": "%b", "description": "%b", "error": {"message": "%b"}}' % (
                echoed,
                echoed,
                echoed,
            )
            writer.write(
                b"HTTP/1.1 400 Bad Request\r\nContent-Length: %d\r\n\r\n%b"
                % (len(content), content)
            )
        else:
            writer.write({"garbage": _GARBAGE, "500": _500, "429": _429}[self.fault])
        await writer.drain()


async def _read_request(reader: asyncio.StreamReader) -> tuple[bytes, bytes]:
    head = await reader.readuntil(b"\r\n\r\n")
    length = 0
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            length = int(value)
    return head, await reader.readexactly(length)


class SmtpFaultServer(RawServer):
    """An SMTP server without login whose fault strikes once it has read the message; `data` holds
    those.
    """

    def __init__(self, fault: Fault) -> None:
        super().__init__()
        self.fault = fault
        self.data: list[bytes] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.fault == "accept_then_reset":
            reset(writer)
            return
        writer.write(b"220 fault.test ESMTP\r\n")
        while line := await reader.readline():
            command = line[:4].upper()
            if command == b"EHLO":
                writer.write(b"250-fault.test\r\n250 AUTH PLAIN LOGIN\r\n")
            elif command == b"AUTH":
                writer.write(b"235 ok\r\n")
            elif command == b"DATA":
                writer.write(b"354 go ahead\r\n")
                content = await reader.readuntil(b"\r\n.\r\n")
                self.data.append(content)
                await self._strike(writer, content)
            else:
                writer.write(b"250 ok\r\n")
            await writer.drain()

    async def _strike(self, writer: asyncio.StreamWriter, content: bytes) -> None:
        if self.fault == "read_then_reset":
            reset(writer)
            raise ConnectionResetError
        if self.fault == "hang":
            await asyncio.sleep(3600)
        if self.fault == "drip":
            while True:
                writer.write(b"250-still busy\r\n")
                await writer.drain()
                await asyncio.sleep(0.02)
        answers = {
            "garbage": b"hello?\r\n",
            "500": b"554 5.6.0 no\r\n",
            "429": b"454 4.7.0 slow down\r\n",
            "echo": b"550 5.6.0 " + content.replace(b"\r\n", b" ")[-400:] + b"\r\n",
        }
        writer.write(answers[self.fault])


def refused_port() -> int:
    """Return a loopback port on which nothing listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
