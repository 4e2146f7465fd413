"""A Telegram that misbehaves by plan: the bot's token names the fault, each third text meets it
once.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Final, Literal, get_args

import orjson

from tests.providers.fakes._faults import RawServer, reset

HostileFault = Literal[
    "none",
    "slow",
    "reset-before",
    "reset-after",
    "500",
    "503",
    "429",
    "429-after",
    "garbage",
    "nothing",
]
HOSTILE_FAULTS: Final[tuple[HostileFault, ...]] = get_args(HostileFault)

_SLOW_S: Final = 0.8
_OK: Final = b'{"ok":true,"result":{"message_id":%d,"chat":{"id":42},"date":0}}'
_ANSWERS: Final[dict[str, tuple[int, bytes]]] = {
    "500": (500, b'{"ok":false,"error_code":500,"description":"Internal Server Error"}'),
    "503": (503, b'{"ok":false,"error_code":503,"description":"Service Unavailable"}'),
    "429": (429, b'{"ok":false,"error_code":429,"description":"Too Many Requests"}'),
    "429-after": (
        429,
        (
            b'{"ok":false,"error_code":429,"description":"Too Many'
            b' Requests","parameters":{"retry_after":1}}'
        ),
    ),
    "garbage": (200, b"<html>hello</html>"),
}


def meets_fault(text: str) -> bool:
    """Tell whether this text ("serial N") is one of those that the fault strikes."""
    return int(text.rpartition(" ")[2]) % 3 == 0


class HostileTelegram(RawServer):
    """Counts texts by the bot's name.

    `taken`: read and not refused, so that a provider may act on them; `answered`: got a yes;
    `refused`: got a clear no.
    """

    def __init__(self, *, latency_s: float = 0.0) -> None:
        super().__init__()
        self.latency_s = latency_s
        self.taken: dict[str, Counter[str]] = {}
        self.answered: dict[str, Counter[str]] = {}
        self.refused: dict[str, Counter[str]] = {}
        self._struck: set[tuple[str, str]] = set()
        self._number = 0

    @property
    def base_url(self) -> str:
        return f"http://{self.host}:{self.port}/bot"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            bot = head.split(b" ", 2)[1].split(b":", 1)[1].split(b"/", 1)[0].decode().rstrip("-")
            body = await reader.readexactly(_content_length(head))
            text: str = orjson.loads(body)["text"]
            fault = self._fault_of(bot, text)
            if fault == "reset-before":
                reset(writer)
                return
            if fault in {"429", "429-after", "503"}:
                self._count(self.refused, bot, text)
            else:
                self._count(self.taken, bot, text)
            if fault == "reset-after":
                reset(writer)
                return
            await self._answer(writer, fault, bot, text)

    async def _answer(
        self, writer: asyncio.StreamWriter, fault: HostileFault, bot: str, text: str
    ) -> None:
        if fault == "nothing":
            await asyncio.sleep(3600)
        await asyncio.sleep(_SLOW_S if fault == "slow" else self.latency_s)
        self._number += 1
        status, content = _ANSWERS.get(fault, (200, _OK % self._number))
        if fault in {"none", "slow"}:
            self._count(self.answered, bot, text)
        writer.write(
            b"HTTP/1.1 %d Fine\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b"
            % (status, len(content), content)
        )
        await writer.drain()

    def _fault_of(self, bot: str, text: str) -> HostileFault:
        fault: HostileFault = next(
            (fault for fault in HOSTILE_FAULTS if bot.endswith(fault)), "none"
        )
        if fault == "none" or not meets_fault(text) or (bot, text) in self._struck:
            return "none"
        self._struck.add((bot, text))
        return fault

    def _count(self, where: dict[str, Counter[str]], bot: str, text: str) -> None:
        where.setdefault(bot, Counter())[text] += 1


def _content_length(head: bytes) -> int:
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            return int(value)
    return 0
