"""What each way that an exchange can end means for a message, over real sockets."""

from __future__ import annotations

import asyncio
import gzip
import ssl
import traceback
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import httpx
import pytest

from backend.providers.frame.errors import (
    OutcomeUnknown,
    Rejected,
    SendError,
    Throttled,
    Unauthorized,
    Unavailable,
)
from backend.providers.frame.http import (
    Answer,
    Endpoint,
    PooledClient,
    credential_check,
    open_http_client,
    parse_retry_after,
    refusal,
)
from backend.providers.frame.network import CheckingResolver
from tests.providers.fakes import FakeTelegram, FaultServer


def endpoint(http: PooledClient, url: str, *, timeout_s: float = 2.0) -> Endpoint:
    return Endpoint(
        http, "POST", url, {"Content-Type": "application/json"}, timeout_s=timeout_s, title="Fake"
    )


async def failure(http: PooledClient, url: str, *, timeout_s: float = 2.0) -> SendError:
    with pytest.raises(SendError) as caught:
        await endpoint(http, url, timeout_s=timeout_s).call(b"{}")
    return caught.value


async def test_a_failed_tls_handshake_is_safe_to_repeat(
    http: PooledClient, server_tls: tuple[ssl.SSLContext, Path]
) -> None:
    async with FaultServer("accept_then_reset") as server:
        assert type(await failure(http, f"https://127.0.0.1:{server.port}/")) is Unavailable
        assert server.connections == 1

    async def never(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    stranger = await asyncio.start_server(never, "127.0.0.1", 0, ssl=server_tls[0])
    async with stranger:
        error = await failure(http, f"https://localhost:{stranger.sockets[0].getsockname()[1]}/")
    assert type(error) is Unavailable
    assert "certificate" in error.reason


async def test_a_connection_that_is_not_accepted_in_time_is_safe_to_repeat(
    http: PooledClient,
) -> None:
    async with FaultServer("hang") as server:  # a TLS handshake that is never answered
        error = await failure(
            http, f"https://127.0.0.1:{server.port}/bot123:token-4711/sendMessage", timeout_s=0.6
        )
    assert type(error) is Unavailable
    assert error.code == "connect_timeout"
    # aiohttp's error names the URL.
    assert "token-4711" not in "".join(traceback.format_exception(error))


async def test_a_reset_before_the_answer_is_uncertain_even_if_nothing_was_read(
    http: PooledClient,
) -> None:
    async with FaultServer("accept_then_reset") as server:
        assert type(await failure(http, server.url)) is OutcomeUnknown


async def test_waiting_for_a_free_connection_sends_nothing_and_is_safe_to_repeat() -> None:
    async with open_http_client(limit=1) as http, FaultServer("hang") as server:
        first = asyncio.create_task(endpoint(http, server.url, timeout_s=1.5).call(b"{}"))
        await server.was_read.wait()
        second = await failure(http, server.url, timeout_s=0.5)
        with pytest.raises(OutcomeUnknown):
            await first
    assert type(second) is Unavailable
    assert len(server.bodies) == 1


async def test_an_endless_answer_is_cut_off(http: PooledClient) -> None:
    async with FakeTelegram() as server:
        server.reply_once(200, b'{"a":"' + b"x" * 2_000_000 + b'"}')
        assert type(await failure(http, server.base_url)) is OutcomeUnknown


async def test_a_success_that_is_not_an_object_is_uncertain(http: PooledClient) -> None:
    async with FakeTelegram() as server:
        for body in (b"[1]", b"", b"null", b"{"):
            server.reply_once(200, body)
            assert type(await failure(http, server.base_url)) is OutcomeUnknown


async def test_a_compressed_answer_is_read_though_none_was_asked_for(
    http: PooledClient,
) -> None:
    async with FakeTelegram() as server:
        server.reply_once(200, gzip.compress(b'{"ok":true}'), {"Content-Encoding": "gzip"})
        answer = await endpoint(http, server.base_url).call(b"{}")
    assert answer.body == {"ok": True}


async def test_a_compressed_answer_cannot_unpack_to_any_size(http: PooledClient) -> None:
    async with FakeTelegram() as server:
        bomb = gzip.compress(b'{"a":"' + b"x" * 50_000_000 + b'"}')
        server.reply_once(200, bomb, {"Content-Encoding": "gzip"})
        assert type(await failure(http, server.base_url)) is OutcomeUnknown


async def test_httpx_works_over_the_same_session_without_redirects_or_log_lines(
    http: PooledClient, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG", logger="httpx")
    async with FakeTelegram() as server:
        server.reply_once(307, b"", {"Location": "http://127.0.0.1:9/elsewhere"})
        response = await http.post(f"{server.base_url}/secret-4711", json={"text": "hello"})
        await endpoint(http, server.base_url).call(b"{}")
        assert server.received[0].body == {"text": "hello"}
        assert server._runner is not None
        assert server._runner.server is not None
        assert len(server._runner.server.connections) == 1
    assert (response.status_code, response.has_redirect_location) == (307, True)
    assert "secret-4711" not in caplog.text


async def test_redirects_are_not_followed(http: PooledClient) -> None:
    async with FakeTelegram() as server:
        server.reply_once(307, b"", {"Location": "http://127.0.0.1:9/elsewhere"})
        answer = await endpoint(http, server.base_url).call(b"{}")
    assert answer.status == 307


async def test_cookies_are_not_kept(http: PooledClient) -> None:
    async with FakeTelegram() as server:
        server.reply_once(200, b"{}", {"Set-Cookie": "tenant=a; Path=/"})
        for _ in range(2):
            await endpoint(http, server.base_url).call(b"{}")
        assert "Cookie" not in server.received[1].headers


async def test_connections_are_kept_alive(http: PooledClient) -> None:
    async with FakeTelegram() as server:
        for _ in range(3):
            await endpoint(http, server.base_url).call(b"{}")
        assert {request.headers["Host"] for request in server.received} == {
            f"127.0.0.1:{server.port}"
        }
        assert server._runner is not None
        assert server._runner.server is not None
        assert len(server._runner.server.connections) == 1


async def test_the_checking_resolver_refuses_a_name_of_a_private_address() -> None:
    async with (
        open_http_client(limit=2, resolver=CheckingResolver()) as http,
        FakeTelegram() as server,
    ):
        error = await failure(http, f"http://localhost:{server.port}/")
        assert type(error) is Unavailable
        assert "private" in error.reason
        assert server.received == []


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (302, Unavailable), (400, Rejected), (401, Unauthorized), (403, Unauthorized),
        (404, Rejected), (408, Unavailable), (429, Throttled), (500, OutcomeUnknown),
        (502, OutcomeUnknown), (503, Unavailable), (504, OutcomeUnknown),
    ],
)  # fmt: skip
def test_the_status_decides_a_refusal_without_a_known_code(
    status: int, expected: type[SendError]
) -> None:
    answer = Answer(status, {}, httpx.Headers())
    assert type(refusal("Fake", answer, table={})) is expected
    assert type(refusal("Fake", answer, table={}, code=999)) is expected


def test_a_known_code_takes_precedence_over_the_status() -> None:
    error = refusal(
        "Fake", Answer(500, {}, httpx.Headers({"Retry-After": "9"})), table={7: Throttled}, code=7
    )
    assert type(error) is Throttled
    assert (error.code, error.retry_after_s) == ("7", 9.0)


def test_retry_after_is_seconds_or_a_date() -> None:
    later = format_datetime(datetime.now(UTC) + timedelta(seconds=90), usegmt=True)
    assert parse_retry_after("1.5") == 1.5
    assert parse_retry_after("-3") == 0.0
    assert 85 < (parse_retry_after(later) or 0) <= 90
    assert parse_retry_after("Wed, 21 Oct 2015 07:28:00 GMT") == 0.0
    for nothing in (None, "", "soon", "nan", "inf"):
        assert parse_retry_after(nothing) is None


def test_a_check_never_ends_uncertain_or_rejected() -> None:
    with pytest.raises(Unavailable), credential_check():
        raise OutcomeUnknown("x")
    with pytest.raises(Unauthorized), credential_check():
        raise Rejected("x")
