"""Loopback stand-ins for the HTTP providers: they record requests and give set answers."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qsl

import orjson
from aiohttp import web


@dataclass(frozen=True, slots=True)
class Received:
    """A request as it arrived; `body` is the JSON object or the form."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: Mapping[str, Any]


@dataclass(slots=True)
class Reply:
    status: int
    body: Any
    headers: Mapping[str, str] = field(default_factory=dict)


class FakeHttpProvider(ABC):
    """Base: an aiohttp server on a free loopback port; `replies` go out first, then successes."""

    def __init__(self, *, latency_s: float = 0.0) -> None:
        self.latency_s = latency_s
        self.received: list[Received] = []
        self.replies: deque[Reply] = deque()
        self.count = 0
        self.host = "127.0.0.1"
        self.port = 0
        self._runner: web.ServerRunner | None = None

    def reply_once(self, status: int, body: Any, headers: Mapping[str, str] | None = None) -> None:
        self.replies.append(Reply(status, body, headers or {}))

    @property
    def messages(self) -> list[Received]:
        """The sends among the received requests."""
        return [request for request in self.received if self.is_send(request)]

    @abstractmethod
    def is_send(self, received: Received) -> bool: ...

    @abstractmethod
    def success(self, received: Received) -> Reply: ...

    async def __aenter__(self) -> Self:
        self._runner = web.ServerRunner(
            web.Server(self._handle, access_log=None), shutdown_timeout=0.1
        )
        await self._runner.setup()
        site = web.TCPSite(self._runner, self.host, 0)
        await site.start()
        self.port = self._runner.addresses[0][1]
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        raw = await request.read()
        is_form = request.content_type == "application/x-www-form-urlencoded"
        body = (
            dict(parse_qsl(raw.decode(), keep_blank_values=True))
            if is_form
            else (orjson.loads(raw) if raw else {})
        )
        received = Received(
            request.method, request.path, dict(request.query), dict(request.headers), body
        )
        self.received.append(received)
        self.count += 1
        if self.latency_s:
            await asyncio.sleep(self.latency_s)
        reply = self.replies.popleft() if self.replies else self.success(received)
        content = reply.body if isinstance(reply.body, bytes) else orjson.dumps(reply.body)
        return web.Response(
            status=reply.status,
            body=content,
            headers={"Content-Type": "application/json", **reply.headers},
        )


class FakeTelegram(FakeHttpProvider):
    """`base_url` goes where TELEGRAM_API_URL goes: the token follows directly."""

    @property
    def base_url(self) -> str:
        return f"http://{self.host}:{self.port}/bot"

    def is_send(self, received: Received) -> bool:
        return received.path.endswith("/sendMessage")

    def success(self, received: Received) -> Reply:
        if received.path.endswith("/getMe"):
            result = {
                "id": 123456,
                "is_bot": True,
                "first_name": "Harbour",
                "username": "harbour_bot",
            }
            return Reply(200, {"ok": True, "result": result})
        chat = {"id": received.body.get("chat_id"), "type": "private"}
        result = {
            "message_id": self.count,
            "date": 1_700_000_000,
            "chat": chat,
            "text": received.body.get("text"),
        }
        return Reply(200, {"ok": True, "result": result})

    def refuse_once(self, code: int, description: str, **parameters: Any) -> None:
        body: dict[str, Any] = {"ok": False, "error_code": code, "description": description}
        if parameters:
            body["parameters"] = parameters
        self.reply_once(code, body)


class FakeWhatsApp(FakeHttpProvider):
    """`base_url` goes where WHATSAPP_API_URL and version together go; the URL setting alone is
    `root_url`.
    """

    @property
    def root_url(self) -> str:
        return f"http://{self.host}:{self.port}"

    @property
    def base_url(self) -> str:
        return f"{self.root_url}/v23.0"

    def is_send(self, received: Received) -> bool:
        return received.path.endswith("/messages")

    def success(self, received: Received) -> Reply:
        if received.method == "GET":
            number = received.path.rpartition("/")[2]
            return Reply(
                200,
                {
                    "id": number,
                    "verified_name": "Harbour Clinic",
                    "display_phone_number": "+1 415 555",
                },
            )
        to = received.body.get("to")
        return Reply(
            200,
            {
                "messaging_product": "whatsapp",
                "contacts": [{"input": to, "wa_id": str(to).lstrip("+")}],
                "messages": [{"id": f"wamid.{self.count}", "message_status": "accepted"}],
            },
        )

    def refuse_once(
        self, code: int, message: str = "(#0) refused", *, status: int = 400, details: str = ""
    ) -> None:
        error: dict[str, Any] = {
            "message": message,
            "type": "OAuthException",
            "code": code,
            "fbtrace_id": "Atrace",
        }
        if details:
            error["error_data"] = {"messaging_product": "whatsapp", "details": details}
        self.reply_once(status, {"error": error})


class FakeTwilio(FakeHttpProvider):
    """`base_url` goes where TWILIO_API_URL goes."""

    @property
    def base_url(self) -> str:
        return f"http://{self.host}:{self.port}"

    def is_send(self, received: Received) -> bool:
        return received.path.endswith("/Messages.json")

    def success(self, received: Received) -> Reply:
        if received.method == "GET":
            sid = received.path.rpartition("/")[2].removesuffix(".json")
            return Reply(
                200,
                {"sid": sid, "friendly_name": "Harbour Clinic", "status": "active", "type": "Full"},
            )
        return Reply(
            201,
            {
                "sid": f"SM{self.count:032d}",
                "status": "queued",
                "num_segments": "1",
                "to": received.body.get("To"),
                "from": received.body.get("From"),
                "body": received.body.get("Body"),
                "date_created": "Thu, 24 Aug 2023 05:01:45 +0000",
                "error_code": None,
                "error_message": None,
            },
        )

    def refuse_once(self, code: int, message: str = "refused", *, status: int = 400) -> None:
        self.reply_once(
            status,
            {
                "code": code,
                "message": message,
                "more_info": "https://example.com",
                "status": status,
            },
        )
