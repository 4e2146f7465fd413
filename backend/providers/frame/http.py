"""The HTTP client of all providers, and what each way an exchange ends means for the message.

    refused, DNS, TLS, connect timeout          nothing was sent            Unavailable
    reset, deadline, broken or garbled answer   it may have been taken      OutcomeUnknown
    429                                         not now                     Throttled
    408, 425, 503 and redirects                 refused before any work     Unavailable
    any other 5xx without a known error code    it may have been taken      OutcomeUnknown
    401, 403 / other 4xx                        no / never                  Unauthorized / Rejected

A provider's own error code, if its table knows it, takes precedence over the status.
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
from aiohttp.abc import AbstractResolver
from httpx_aiohttp import AiohttpTransport

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

# Less than the shortest keep-alive in common use (Node's 5 s): a POST must not meet a closing
# connection, because a reset would leave the message's outcome unknown.
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
    """An `httpx.AsyncClient` whose `send` goes straight to the transport.

    No redirects, cookies, hooks or auth flow, and none of httpx's log lines: they hold the URL, and
    Telegram's URL holds the token. `session` is the aiohttp session under it, which `Endpoint` uses
    directly.
    """

    def __init__(self, session: aiohttp.ClientSession) -> None:
        # The session has its connector; without our context the transport would read all
        # certificates to make another context.
        self._straight = AiohttpTransport(verify=tls_context(), client=session)
        super().__init__(transport=self._straight, trust_env=False, timeout=None)
        self.session: Final = session

    async def send(
        self, request: httpx.Request, *, stream: bool = False, **_: Any
    ) -> httpx.Response:
        response = await self._straight.handle_async_request(request)
        response.request = request
        if not stream:
            await response.aread()
        return response


def open_http_client(*, limit: int, resolver: AbstractResolver | None = None) -> PooledClient:
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
    return PooledClient(session)


class Answer(NamedTuple):
    """What a provider answered: `body` is its JSON object, empty where a refusal carried none.

    `headers` finds a name in any case.
    """

    status: int
    body: Mapping[str, Any]
    headers: Mapping[str, str]

    @property
    def is_success(self) -> bool:
        return 200 <= self.status < 300

    @property
    def retry_after_s(self) -> float | None:
        return parse_retry_after(self.headers.get("retry-after"))


class Endpoint:
    """One method and URL of one connector, built once: a send adds only its body.

    It calls the client's aiohttp session itself, for httpx's request and response cost half of an
    exchange's CPU (decision 0031).
    """

    __slots__ = ("_connect", "_headers", "_http", "_method", "_timeout_s", "_title", "_url")

    def __init__(
        self,
        http: PooledClient,
        method: str,
        url: str,
        headers: Mapping[str, str],
        *,
        timeout_s: float,
        title: str,
    ) -> None:
        self._http = http
        self._method = method
        self._url = url
        self._headers = dict(headers)
        self._timeout_s = timeout_s
        self._title = title
        # Shorter than the deadline, so that a host that swallows packets is known to have got
        # nothing.
        connect_s = min(_CONNECT_S, timeout_s / 2)
        self._connect = aiohttp.ClientTimeout(connect=connect_s, sock_connect=connect_s)

    async def call(self, content: bytes = b"", *, timeout_s: float | None = None) -> Answer:
        """Send `content` and return the answer; one deadline covers it all, body included.

        Raises Unavailable when nothing was sent and OutcomeUnknown when it may have been, a success
        without a JSON object included; any other answer is returned, a refusal too.
        """
        deadline_s = self._timeout_s if timeout_s is None else timeout_s
        try:
            async with asyncio.timeout(deadline_s):
                status, headers, text = await self._exchange(content)
        except Exception as exc:  # noqa: BLE001 (any library's error ends in one of two outcomes)
            failure = _classify(exc, self._title, deadline_s)
        else:
            body = _json_object(text)
            if body is not None:
                return Answer(status, body, headers)
            if not 200 <= status < 300:
                return Answer(status, {}, headers)
            failure = OutcomeUnknown(
                f"{self._title} answered {status} with something that isn't a JSON object; "
                "it may have taken the message.",
                code="garbled_answer",
            )
        # Outside the handler, so that nothing is chained: the libraries' texts hold the URL, and
        # with it Telegram's token.
        raise failure

    async def _exchange(self, content: bytes) -> tuple[int, Mapping[str, str], bytes]:
        async with self._http.session.request(
            self._method,
            self._url,
            data=content or None,
            headers=self._headers,
            timeout=self._connect,
            allow_redirects=False,
        ) as response:
            return response.status, response.headers, await _read(response.content)


async def _read(stream: aiohttp.StreamReader) -> bytes:
    chunks: list[bytes] = []
    size = 0
    while chunk := await stream.readany():
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
    """Only a failure to connect means that nothing was sent."""
    if isinstance(exc, aiohttp.ClientConnectorError):
        detail = (exc.os_error.strerror or type(exc.os_error).__name__).rstrip(".")
        return Unavailable(
            f"{title} cannot be reached at {exc.host}:{exc.port}: {detail}.", code="unreachable"
        )
    if isinstance(exc, aiohttp.ConnectionTimeoutError):
        return Unavailable(f"{title} did not accept a connection in time.", code="connect_timeout")
    if isinstance(exc, TimeoutError):
        return OutcomeUnknown(
            f"{title} did not answer within {timeout_s:g} s; it may have taken the message.",
            code="timeout",
        )
    return OutcomeUnknown(
        f"The connection to {title} broke during the exchange ({type(exc).__name__}); it may have"
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
    """Return the error that an answer stands for: by the provider's code, else by its status.

    `reason` and `said` must have gone through `Provider.quote`. For an unknown code, which is
    logged, the status decides.
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
    """Tell whether this code, in an answer or a receipt, means never to send to them again."""
    make = None if code is None else table.get(code)
    error = make("") if make is not None else None
    return isinstance(error, Rejected) and error.suppress


def parse_retry_after(value: str | None) -> float | None:
    """Return the seconds that a Retry-After header (seconds or an HTTP date) asks for, if any."""
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
    """Wrap `validate()`: yield a clock of elapsed ms, turn a send's errors into a check's.

    A check changes nothing at the provider, so an unknown outcome is just an unavailable provider,
    and a rejected request means that the connector cannot work.
    """
    started = time.perf_counter()
    try:
        yield lambda: max(1, round((time.perf_counter() - started) * 1000))
    except OutcomeUnknown as exc:
        reason = exc.reason.replace("; it may have taken the message", "")
        raise Unavailable(reason, code=exc.code, answer=exc.answer) from exc
    except Rejected as exc:
        raise Unauthorized(exc.reason, code=exc.code, answer=exc.answer) from exc
