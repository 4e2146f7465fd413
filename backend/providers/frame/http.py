"""The HTTP client of all providers, and what each end of an exchange means for the message.

Outcomes are classified by cause, because httpx-aiohttp names a reset after the body was read like a
refused connection:

    refused, DNS, TLS, connect timeout          nothing was sent            Unavailable
    reset, deadline, broken or garbled answer   it may have been taken      OutcomeUnknown
    429                                         not now                     Throttled
    408, 425, 503 and redirects                 refused before any work     Unavailable
    any other 5xx without a known error code    it may have been taken      OutcomeUnknown
    401, 403 / other 4xx                        no / never                  Unauthorized / Rejected

A provider's own error code, where its table knows it, goes before the status.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Final, NamedTuple

import aiohttp
import httpx
import orjson
import structlog
import yarl
from aiohttp.abc import AbstractResolver
from httpx_aiohttp import AiohttpTransport
from multidict import CIMultiDict

from backend.providers.frame.errors import (
    OutcomeUnknown,
    Rejected,
    SendError,
    Throttled,
    Unauthorized,
    Unavailable,
)
from backend.providers.frame.network import TrustingResolver, tls_context

log = structlog.get_logger(__name__)

# Under the shortest keep-alive in common use (Node's 5 s): a POST must not meet a closing
# connection, for its reset would leave the message uncertain.
_KEEPALIVE_S: Final = 4.0
_CONNECT_S: Final = 10.0
_ANSWER_LIMIT_BYTES: Final = 1024 * 1024

JSON_HEADERS: Final[Mapping[str, str]] = {
    "Accept": "application/json",
    # Answers are short, and a compressed one could unpack to any size.
    "Accept-Encoding": "identity",
    "Content-Type": "application/json",
    "User-Agent": "MessageJS",
}

ErrorTable = Mapping[int, Callable[..., SendError]]


class PooledClient(httpx.AsyncClient):
    """An AsyncClient whose `send` goes straight to the transport.

    No redirects, cookies, hooks or auth flow (a quarter of an exchange's CPU), and none of httpx's
    log lines: they hold the URL, and Telegram's URL holds the token.
    """

    def __init__(self, transport: AiohttpTransport, session: aiohttp.ClientSession) -> None:
        super().__init__(transport=transport, trust_env=False, timeout=None)
        self._straight = transport
        self._session = session

    async def exchange(
        self,
        method: str,
        url: yarl.URL,
        headers: CIMultiDict[str],
        content: bytes,
        connecting: aiohttp.ClientTimeout,
    ) -> tuple[int, bytes, Mapping[str, str]]:
        """Return an answer's status, body and headers, without a Request and a Response of httpx.

        Raises what aiohttp raises, and ValueError for an answer that is too long.
        """
        async with self._session.request(
            method,
            url,
            data=content or None,
            headers=headers,
            allow_redirects=False,
            timeout=connecting,
        ) as response:
            body = await response.content.read(_ANSWER_LIMIT_BYTES + 1)
            while not response.content.at_eof() and len(body) <= _ANSWER_LIMIT_BYTES:
                body += await response.content.read(_ANSWER_LIMIT_BYTES + 1 - len(body))
            if len(body) > _ANSWER_LIMIT_BYTES:
                raise ValueError("The answer is too long.")
            return response.status, body, response.headers

    async def send(
        self, request: httpx.Request, *, stream: bool = False, **_: Any
    ) -> httpx.Response:
        response = await self._straight.handle_async_request(request)
        response.request = request
        if not stream:
            await response.aread()
        return response


def open_http_client(*, limit: int, resolver: AbstractResolver | None = None) -> httpx.AsyncClient:
    """Return the process's pooled client; needs a running loop, and `aclose()` at the end.

    `limit` is the most connections at once, to all hosts together: tenants share few hosts, so a
    cap per host would be the same cap. `resolver=CheckingResolver()` makes one for tenant-supplied
    URLs.
    """
    connector = aiohttp.TCPConnector(
        limit=limit,
        limit_per_host=0,
        keepalive_timeout=_KEEPALIVE_S,
        ssl=tls_context(),
        resolver=resolver or TrustingResolver(),
        # A checked name is checked at every connect; others may be remembered.
        use_dns_cache=resolver is None,
        ttl_dns_cache=30,
    )
    session = aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar())
    # The session has its connector; without a context of ours the transport reads all certificates
    # for one of its own.
    return PooledClient(AiohttpTransport(verify=tls_context(), client=session), session)


class Answer(NamedTuple):
    """What a provider answered: `body` is its JSON object, empty where a refusal carried none."""

    status: int
    body: Mapping[str, Any]
    headers: Mapping[str, str]  # whatever the case of a name

    @property
    def is_success(self) -> bool:
        return 200 <= self.status < 300

    @property
    def retry_after_s(self) -> float | None:
        return parse_retry_after(self.headers.get("retry-after"))


class Endpoint:
    """One method and URL of one connector, built once: a send adds only its body."""

    __slots__ = (
        "_extensions",
        "_headers",
        "_http",
        "_method",
        "_timeout",
        "_timeout_s",
        "_title",
        "_url",
    )

    def __init__(
        self,
        http: httpx.AsyncClient,
        method: str,
        url: str,
        headers: Mapping[str, str],
        *,
        timeout_s: float,
        title: str,
    ) -> None:
        self._http = http
        self._method = method
        self._url = yarl.URL(url)
        self._headers = CIMultiDict(headers)
        self._timeout_s = timeout_s
        self._title = title
        # Shorter than the deadline, so that a host that swallows packets is known to have got
        # nothing.
        connect_s = min(_CONNECT_S, timeout_s / 2)
        self._timeout = aiohttp.ClientTimeout(sock_connect=connect_s, connect=connect_s)
        self._extensions = {"timeout": {"connect": connect_s, "pool": connect_s}}

    async def call(self, content: bytes = b"", *, timeout_s: float | None = None) -> Answer:
        """Send `content` and return the answer, whatever its status; raises Unavailable or
        OutcomeUnknown.
        """
        deadline_s = self._timeout_s if timeout_s is None else timeout_s
        if not isinstance(self._http, PooledClient):
            request = httpx.Request(
                self._method,
                str(self._url),
                headers=self._headers,
                content=content,
                extensions=self._extensions,
            )
            return await exchange(self._http, request, timeout_s=deadline_s, title=self._title)
        try:
            async with asyncio.timeout(deadline_s):
                status, body, headers = await self._http.exchange(
                    self._method, self._url, self._headers, content, self._timeout
                )
        except Exception as exc:  # noqa: BLE001 - whatever it was, the request may have been written
            failure = _classify(exc, self._title, deadline_s)
        else:
            return _answer(status, body, headers, self._title)
        # Outside the handler, so that nothing is chained: the libraries' texts hold the URL, and
        # with it Telegram's token.
        raise failure


async def exchange(
    http: httpx.AsyncClient, request: httpx.Request, *, timeout_s: float, title: str
) -> Answer:
    """Do the whole exchange, body included, under one deadline.

    Raises Unavailable when nothing was sent and OutcomeUnknown when it may have been, a success
    without a JSON object included; any other answer is returned, a refusal too.
    """
    try:
        async with asyncio.timeout(timeout_s):
            response = await http.send(request, stream=True)
            try:
                content = await _read(response)
            finally:
                await response.aclose()
    except Exception as exc:  # noqa: BLE001 - whatever it was, the request may have been written
        failure = _classify(exc, title, timeout_s)
    else:
        return _answer(response.status_code, content, response.headers, title)
    # Outside the handler, so that nothing is chained: the libraries' texts hold the URL, and with
    # it Telegram's token.
    raise failure


def _answer(status: int, content: bytes, headers: Mapping[str, str], title: str) -> Answer:
    """Raises OutcomeUnknown for a success without a JSON object."""
    body = _json_object(content)
    if body is None and 200 <= status < 300:
        raise OutcomeUnknown(
            f"{title} answered {status} with something that isn't a JSON object; it may have taken"
            " the message.",
            code="garbled_answer",
        )
    return Answer(status, body or {}, headers)


async def _read(response: httpx.Response) -> bytes:
    chunks: list[bytes] = []
    size = 0
    async for chunk in response.aiter_bytes():
        size += len(chunk)
        if size > _ANSWER_LIMIT_BYTES:
            raise ValueError("The answer is too long.")
        chunks.append(chunk)
    return chunks[0] if len(chunks) == 1 else b"".join(chunks)


def _json_object(content: bytes) -> dict[str, Any] | None:
    try:
        body = orjson.loads(content)
    except orjson.JSONDecodeError:
        return None
    return body if isinstance(body, dict) else None


def _classify(exc: Exception, title: str, timeout_s: float) -> SendError:
    cause = exc if isinstance(exc, aiohttp.ClientError) else exc.__cause__ or exc
    if isinstance(cause, aiohttp.ClientConnectorError):
        detail = (cause.os_error.strerror or type(cause.os_error).__name__).rstrip(".")
        return Unavailable(
            f"{title} cannot be reached at {cause.host}:{cause.port}: {detail}.", code="unreachable"
        )
    if isinstance(cause, aiohttp.ConnectionTimeoutError):
        return Unavailable(f"{title} did not accept a connection in time.", code="connect_timeout")
    if isinstance(exc, TimeoutError):
        return OutcomeUnknown(
            f"{title} did not answer within {timeout_s:g} s; it may have taken the message.",
            code="timeout",
        )
    return OutcomeUnknown(
        f"The connection to {title} broke during the exchange ({type(cause).__name__}); it may have"
        " taken the message.",
        code="connection_broken",
    )


_BY_STATUS: Final[ErrorTable] = {
    401: Unauthorized,
    403: Unauthorized,
    408: Unavailable,
    425: Unavailable,
    429: Throttled,
    503: Unavailable,
}


def _class_of_status(status: int) -> Callable[..., SendError]:
    known = _BY_STATUS.get(status)
    if known is not None:
        return known
    if 300 <= status < 400:
        return Unavailable
    return Rejected if 400 <= status < 500 else OutcomeUnknown


def refusal(
    title: str,
    answer: Answer,
    *,
    table: ErrorTable,
    code: int | None = None,
    reason: str = "",
    said: Mapping[str, Any] | None = None,
) -> SendError:
    """Return the error of an answer that is no acceptance: by the provider's code, else by status.

    `reason` and `said` must have gone through `Provider.quote`. An unknown code is logged and
    decided by the status.
    """
    make = None if code is None else table.get(code)
    if make is None:
        make = _class_of_status(answer.status)
        if code is not None:
            log.warning(
                "provider.unknown_error_code", provider=title, code=code, http_status=answer.status
            )
    error = make(
        reason or f"{title} answered {answer.status} without saying why.",
        code=str(answer.status if code is None else code),
        answer={"httpStatus": answer.status, **(said or {})},
    )
    if isinstance(error, Unavailable) and answer.retry_after_s is not None:
        error.retry_after_s = answer.retry_after_s
    return error


def is_opt_out(table: ErrorTable, code: int | None) -> bool:
    """Tell whether this code, in an answer or a receipt, means that the recipient must not be sent
    to again.
    """
    make = None if code is None else table.get(code)
    error = make("") if make is not None else None
    return isinstance(error, Rejected) and error.suppress


def parse_retry_after(value: str | None) -> float | None:
    """Return the seconds of a Retry-After header (seconds or an HTTP date), None where it has
    none.
    """
    if value is None:
        return None
    try:
        seconds = float(value)
    except ValueError:
        try:
            at = parsedate_to_datetime(value)
        except ValueError:
            return None
        seconds = (at.replace(tzinfo=at.tzinfo or UTC) - datetime.now(UTC)).total_seconds()
    return max(0.0, seconds) if seconds < float("inf") else None


@contextmanager
def credential_check() -> Iterator[Callable[[], int]]:
    """Around `validate()`: yields a clock of elapsed milliseconds and maps a send's errors to a
    check's.

    A check changes nothing at the provider, so an unknown outcome is only an unavailable provider,
    and a request refused for what it names is a connector that cannot work.
    """
    started = time.perf_counter()
    try:
        yield lambda: max(1, round((time.perf_counter() - started) * 1000))
    except OutcomeUnknown as exc:
        reason = exc.reason.replace("; it may have taken the message", "")
        raise Unavailable(reason, code=exc.code, answer=exc.answer) from exc
    except Rejected as exc:
        raise Unauthorized(exc.reason, code=exc.code, answer=exc.answer) from exc
