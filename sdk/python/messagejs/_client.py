"""The two clients. Each call is written once, in `_calls`; a client carries it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from datetime import datetime
from types import TracebackType
from typing import Any, Generic, ParamSpec, Protocol, Self, TypeVar

import httpx

from messagejs import _calls
from messagejs._calls import Call
from messagejs._errors import ConnectionFailed
from messagejs._models import Message
from messagejs._retry import Transport, answer_of

P = ParamSpec("P")
T = TypeVar("T")

_DEFAULT_URL = "http://127.0.0.1:8000"


class _Runs(Protocol):
    """What carries a call: the client, or a part of it."""

    def _run(self, call: Call[T]) -> T: ...


class _RunsAsync(Protocol):
    async def _run(self, call: Call[T]) -> T: ...


class _Operation(Generic[P, T]):
    """A method made from a call, with its parameters and docstring."""

    def __init__(self, make: Callable[P, Call[T]]) -> None:
        self._make = make
        self.__doc__ = make.__doc__

    def __get__(self, client: _Runs, owner: type[object]) -> Callable[P, T]:
        def operation(*args: P.args, **kwargs: P.kwargs) -> T:
            return client._run(self._make(*args, **kwargs))  # noqa: SLF001 (the client's own descriptor)

        return operation


class _AsyncOperation(Generic[P, T]):
    """A coroutine method made from a call, for `AsyncClient`."""

    def __init__(self, make: Callable[P, Call[T]]) -> None:
        self._make = make
        self.__doc__ = make.__doc__

    def __get__(self, client: _RunsAsync, owner: type[object]) -> Callable[P, Awaitable[T]]:
        async def operation(*args: P.args, **kwargs: P.kwargs) -> T:
            return await client._run(self._make(*args, **kwargs))  # noqa: SLF001 (the client's own descriptor)

        return operation


class SendTokens:
    """`client.send_tokens`: what web pages may send."""

    create = _Operation(_calls.create_send_token)

    def __init__(self, client: Client) -> None:
        self._client = client

    def _run(self, call: Call[T]) -> T:
        return self._client._run(call)  # noqa: SLF001 (a part of the client)


class AsyncSendTokens:
    """`SendTokens` with `await`."""

    create = _AsyncOperation(_calls.create_send_token)

    def __init__(self, client: AsyncClient) -> None:
        self._client = client

    async def _run(self, call: Call[T]) -> T:
        return await self._client._run(call)  # noqa: SLF001 (a part of the client)


class Client:
    """Calls the API with a secret key. Thread-safe; close it, or use it as a context manager.

    `retries` counts the tries after the first one, `timeout_s` limits each try.
    """

    send = _Operation(_calls.send)
    send_batch = _Operation(_calls.send_batch)
    get = _Operation(_calls.get)
    cancel = _Operation(_calls.cancel)
    resend = _Operation(_calls.resend)
    preview = _Operation(_calls.preview)
    _page = _Operation(_calls.page)

    def __init__(
        self,
        api_key: str,
        *,
        base_url: str = _DEFAULT_URL,
        retries: int = 3,
        timeout_s: float = 15.0,
    ) -> None:
        self._transport = Transport(api_key, base_url.rstrip("/"), retries)
        self._http = httpx.Client(timeout=timeout_s)
        self.send_tokens = SendTokens(self)

    def messages(
        self,
        *,
        status: str | None = None,
        connector: str | None = None,
        recipient: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
    ) -> Iterator[Message]:
        """Iterate over all matching messages, newest first, a page at a time."""
        cursor: str | None = None
        while True:
            page = self._page(
                status=status, connector=connector, recipient=recipient, since=since, until=until,
                limit=100, cursor=cursor,
            )  # fmt: skip
            yield from page.messages
            cursor = page.pagination.get("nextCursor")
            if cursor is None:
                return

    def close(self) -> None:
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _run(self, call: Call[T]) -> T:
        request, tries = self._transport.request(call), 0
        while True:
            tries += 1
            try:
                response = self._http.send(request)
            except httpx.TransportError as exc:
                if not self._transport.may_repeat(call, tries, None):
                    raise _failed(call, tries, exc) from exc
                time.sleep(self._transport.delay_s(tries, {}))
                continue
            if not self._transport.may_repeat(call, tries, response.status_code):
                return call.read(answer_of(response))
            time.sleep(self._transport.delay_s(tries, response.headers))


class AsyncClient:
    """`Client` with `await`."""

    send = _AsyncOperation(_calls.send)
    send_batch = _AsyncOperation(_calls.send_batch)
    get = _AsyncOperation(_calls.get)
    cancel = _AsyncOperation(_calls.cancel)
    resend = _AsyncOperation(_calls.resend)
    preview = _AsyncOperation(_calls.preview)
    _page = _AsyncOperation(_calls.page)

    def __init__(
        self,
        api_key: str,
        *,
        base_url: str = _DEFAULT_URL,
        retries: int = 3,
        timeout_s: float = 15.0,
    ) -> None:
        self._transport = Transport(api_key, base_url.rstrip("/"), retries)
        self._http = httpx.AsyncClient(timeout=timeout_s)
        self.send_tokens = AsyncSendTokens(self)

    async def messages(
        self,
        *,
        status: str | None = None,
        connector: str | None = None,
        recipient: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
    ) -> AsyncIterator[Message]:
        """Iterate over all matching messages, newest first, a page at a time."""
        cursor: str | None = None
        while True:
            page = await self._page(
                status=status, connector=connector, recipient=recipient, since=since, until=until,
                limit=100, cursor=cursor,
            )  # fmt: skip
            for message in page.messages:
                yield message
            cursor = page.pagination.get("nextCursor")
            if cursor is None:
                return

    async def close(self) -> None:
        await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    async def _run(self, call: Call[T]) -> T:
        request, tries = self._transport.request(call), 0
        while True:
            tries += 1
            try:
                response = await self._http.send(request)
            except httpx.TransportError as exc:
                if not self._transport.may_repeat(call, tries, None):
                    raise _failed(call, tries, exc) from exc
                await asyncio.sleep(self._transport.delay_s(tries, {}))
                continue
            if not self._transport.may_repeat(call, tries, response.status_code):
                return call.read(answer_of(response))
            await asyncio.sleep(self._transport.delay_s(tries, response.headers))


def _failed(call: Call[Any], tries: int, exc: httpx.TransportError) -> ConnectionFailed:
    return ConnectionFailed(
        f"{call.method} {call.path}: no answer in {tries} tries ({type(exc).__name__}: {exc})."
    )
