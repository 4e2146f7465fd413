"""Logs: one format for ours and the libraries', no secrets, errors to Sentry."""

from __future__ import annotations

import gzip
import json
import logging
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
import structlog

from backend import logs


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    """Leave logging as the other tests had it."""
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    structlog.reset_defaults()
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.captureWarnings(capture=False)


def _lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_an_event_is_one_json_object_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("info", "json")
    structlog.get_logger().info("attempt.sent", message_id="msg_1", duration_ms=3)
    [line] = _lines(capsys)
    assert (line["event"], line["level"], line["message_id"], line["duration_ms"]) == (
        "attempt.sent",
        "info",
        "msg_1",
        3,
    )
    assert line["timestamp"].endswith("Z")


def test_libraries_write_the_same_lines(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("info", "json")
    logging.getLogger("some.library").warning("pool is %s", "full")
    [line] = _lines(capsys)
    assert (line["event"], line["level"], line["logger"]) == (
        "pool is full",
        "warning",
        "some.library",
    )


def test_what_libraries_say_about_themselves_is_left_out(
    capsys: pytest.CaptureFixture[str],
) -> None:
    logs.configure("info", "json")
    for name in ("rq.worker", "httpx", "sqlalchemy.engine.Engine", "_granian"):
        logging.getLogger(name).info("statement or request")
    assert _lines(capsys) == []


def test_a_level_leaves_out_what_is_below(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("warning", "json")
    structlog.get_logger().info("not.this")
    structlog.get_logger().warning("this")
    assert [line["event"] for line in _lines(capsys)] == ["this"]


@pytest.mark.parametrize("fmt", ["json", "console"])
def test_a_traceback_never_shows_local_variables(
    capsys: pytest.CaptureFixture[str], fmt: logs.Format
) -> None:
    logs.configure("info", fmt)
    password = "hunter2"
    try:
        1 / (len(password) - 7)
    except ZeroDivisionError:
        structlog.get_logger().exception("failed")
        logging.getLogger("library").exception("failed too")
    out = capsys.readouterr().out
    assert "ZeroDivisionError" in out
    assert "hunter2" not in out


# Line ends of several kinds, an escape sequence, what turns text around, and half of a surrogate
# pair.
CONTROLS = (
    "a\r\nb\u2028c\u2029d\x85e\x0bf\x0cg\x1b[2Jh\u202ei\u200bj\u2066k\x00l\x9bm\ufeffn\ud800o\x7fp"
)


@pytest.mark.parametrize("fmt", ["json", "console"])
def test_no_text_of_others_acts_on_the_terminal_or_forges_a_line(
    capsys: pytest.CaptureFixture[str], fmt: logs.Format
) -> None:
    logs.configure("info", fmt)
    log = structlog.get_logger()
    log.info(
        "callback.refused",
        reason=CONTROLS,
        bare="a\u2028b",
        nested={"a": [CONTROLS]},
        odd=ValueError(CONTROLS),
    )
    logging.getLogger("library").warning("it said %s", CONTROLS)
    log.error("failed", exc_info=ValueError(CONTROLS + "\n12:00:00 [info] forged"))
    out = capsys.readouterr().out
    assert [item for item in out if not item.isprintable() and item != "\n"] == []
    assert not [
        line for line in out.splitlines() if line.startswith(("b", "12:00:00 [info] forged"))
    ]
    if fmt == "console":
        assert "\\u2028" in out
        # Every line is an event or, indented, what belongs to one.
        assert len([line for line in out.splitlines() if line and not line.startswith(" ")]) == 3


def test_a_console_line_is_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("info", "console")
    structlog.get_logger().info("worker.started", concurrency=400)
    assert "[info] worker.started concurrency=400" in capsys.readouterr().out


def test_errors_reach_sentry_without_local_variables() -> None:
    """A process of its own: Sentry is set up once for a process.

    The DSN's server is on loopback.
    """
    received: list[bytes] = []

    class Sentry(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            received.append(
                gzip.decompress(body) if self.headers.get("Content-Encoding") == "gzip" else body
            )
            self.send_response(200)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, *_: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Sentry)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    script = """
import sentry_sdk, structlog
from backend.logs import configure_from
from backend.settings import Settings
configure_from(Settings())
token = "123456:secret-token"
try:
    raise ValueError("the pool is gone")
except ValueError:
    structlog.get_logger().exception("sweep.failed")
sentry_sdk.flush(5)
"""
    environment = {**os.environ, "SENTRY_DSN": f"http://key@127.0.0.1:{server.server_port}/1"}
    try:
        subprocess.run(
            [sys.executable, "-c", script],
            env=environment,
            check=True,
            timeout=30,
            capture_output=True,
        )
    finally:
        server.shutdown()
        server.server_close()
    text = b"".join(received).decode()
    assert "the pool is gone" in text
    # The line of the script that holds it is no part of a report, nor is its value.
    assert "secret-token" not in text


_EVENT = (
    "Error processing event queue entry for Event(name='no.such', router_data={'headers':"
    " {'cookie': 'mjs_session=cs_abcdefghijklmnopqrstuvwxyz'}}, payload={'data': {'password':"
    " 'hunter2-hunter2'}})"
)


@pytest.mark.parametrize("fmt", ["json", "console"])
def test_a_pages_event_never_reaches_the_log_by_a_library(
    capsys: pytest.CaptureFixture[str], fmt: logs.Format
) -> None:
    logs.configure("info", fmt)
    logging.getLogger("reflex_base.event.processor").error(_EVENT, exc_info=ValueError(_EVENT))
    text = capsys.readouterr().out
    if fmt == "json":
        assert json.loads(text)["level"] == "error"
    assert "Event(name='no.such'" in text
    for secret in ("hunter2", "cs_abc", "mjs_session=c"):
        assert secret not in text


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("Authorization: Bearer abc.def", "Authorization: [redacted]"),
        ('{"password": "hunter2", "name": "Ada"}', '{"password": [redacted], "name": "Ada"}'),
        ("key sk_live_abcdefghijklmnopqrstuvwx", "key sk_live_[redacted]"),
        ("token=eyJhbGciOi.eyJzdWIiOi.c2ln", "token=eyJ[redacted]"),
        ("sqlalchemy pool is full, 5 of 5", "sqlalchemy pool is full, 5 of 5"),
    ],
)
def test_secrets_are_known_by_their_looks(text: str, kept: str) -> None:
    assert logs.redact(text) == kept


def test_sentry_is_told_no_secret() -> None:
    event = {
        "request": {"cookies": "x"},
        "exception": {"values": [{"type": "ValueError", "value": _EVENT}]},
    }
    reported = json.dumps(logs._without_secrets(event, {}))
    assert "ValueError" in reported
    assert "hunter2" not in reported
    assert "request" not in reported.replace("requested", "")
