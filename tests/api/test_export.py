"""Exports: every matching message, safe for spreadsheets, in memory that does not grow with
them.
"""

from __future__ import annotations

import asyncio
import csv
import gc
import io
import json
import re
import tracemalloc
from collections.abc import MutableMapping
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
from sqlalchemy import text

from backend import ids
from backend.api.resources.csv_lines import cell_of, line_of
from tests.api.accounts import Account, Api
from tests.api.messages import save

PATH = "/api/v1/messages/export"


async def export(api: Api, account: Account, **params: str) -> httpx.Response:
    response = await api.get(account, PATH, projectId=account.project_id, **params)
    assert response.status_code == 200, response.text
    return response


async def fill(api: Api, account: Account, rows: int) -> None:
    first = await save(api, account, content={"text": "x" * 200})
    async with api.platform.database.transaction() as session:
        connection = await session.connection()
        await connection.execute(
            text("""
            INSERT INTO messages (id, project_id, connector_id, connector_type, mode, recipient,
                content, status,
                priority, on_uncertain, attempts, created_at, updated_at)
            SELECT (left(id::text, 24) || lpad(to_hex(n), 12, '0'))::uuid, project_id, connector_id,
                connector_type,
                mode, recipient, content, status, priority, on_uncertain, 0, created_at, updated_at
            FROM messages CROSS JOIN generate_series(1, CAST(:more AS int)) n WHERE id = :id
            """),
            {"id": ids.decode(ids.MESSAGE, first), "more": rows - 1},
        )


def scope_of(account: Account) -> dict[str, Any]:
    return {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "GET",
        "path": PATH,
        "raw_path": PATH.encode(),
        "root_path": "",
        "scheme": "http",
        "server": ("messagejs.local", 80),
        "client": ("127.0.0.1", 50_000),
        "query_string": f"projectId={account.project_id}&format=jsonl".encode(),
        "headers": [(b"authorization", f"Bearer {account.token}".encode())],
    }


class Reader:
    """Starts an export, takes its beginning, and then nothing until told what to do."""

    def __init__(self, api: Api, account: Account) -> None:
        self.status = 0
        self._has_begun = asyncio.Event()
        self._may_go_on = asyncio.Event()
        self._leaves = asyncio.Event()
        self._task = asyncio.create_task(api.app(scope_of(account), self._receive, self._send))

    async def begin(self) -> Reader:
        await asyncio.wait_for(self._has_begun.wait(), 30)
        return self

    async def read_on(self) -> None:
        self._may_go_on.set()
        await asyncio.wait_for(self._task, 30)

    async def leave(self) -> None:
        self._leaves.set()
        await asyncio.wait_for(self._task, 30)

    async def _receive(self) -> dict[str, Any]:
        await self._leaves.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: MutableMapping[str, Any]) -> None:
        self.status = message.get("status", self.status)
        self._has_begun.set()
        await self._may_go_on.wait()


async def test_csv_is_a_table_that_a_spreadsheet_does_not_run(api: Api) -> None:
    account = await api.register()
    await save(
        api, account, content={"text": '=HYPERLINK("http://evil.example")'}, recipient="@ada"
    )
    await save(api, account, content={"text": "-1+1\nnext, line"}, metadata_={"order": 7})
    response = await export(api, account, format="csv")
    assert response.headers["Content-Type"] == "text/csv; charset=utf-8"
    today = f"{datetime.now(UTC):%Y-%m-%d}"
    assert response.headers["Content-Disposition"] == f'attachment; filename="messages-{today}.csv"'
    rows = list(csv.DictReader(io.StringIO(response.text)))
    assert {row["text"] for row in rows} == {
        '\'=HYPERLINK("http://evil.example")',
        "'-1+1\nnext, line",
    }
    assert {row["to"] for row in rows} == {"'@ada", "'+1234567890"}
    assert {row["metadata"] for row in rows} == {"{}", '{"order":7}'}
    assert not any(value.startswith(("=", "+", "-", "@")) for row in rows for value in row.values())


@pytest.mark.parametrize("formula", ["=1+1", "+1", "-1", "@SUM(1)", "＝1+1", "＋1", "－1", "＠x"])
@pytest.mark.parametrize(
    "before", ["", "x;", "x; ", "x\t", "x\r\n", "x\n ", 'x";', " ", "\t", "\n"]
)
def test_no_list_separator_makes_a_formula_of_what_someone_wrote(before: str, formula: str) -> None:
    cells = ["msg_1", cell_of(before + formula), "z"]
    line = line_of(cells).decode()
    assert list(csv.reader(io.StringIO(line, newline=""), strict=True)) == [cells]
    # As where the semicolon separates: quotes in the middle of a cell are characters there.
    for cell in re.split(r"[;\t\r\n]", line):
        assert not cell.strip(' \u00a0"').startswith(
            ("=", "+", "-", "@", "＝", "＋", "－", "＠")
        ), line
    assert before + formula == cells[1].replace("'", "")


async def test_json_lines_are_the_lists_messages_and_filters_hold(api: Api) -> None:
    account = await api.register()
    failed = await save(api, account, status="failed")
    await save(api, account)
    response = await export(api, account, format="jsonl", status="failed")
    assert response.headers["Content-Type"] == "application/x-ndjson"
    (line,) = response.text.splitlines()
    listed = await api.get(
        account, "/api/v1/messages", projectId=account.project_id, status="failed"
    )
    assert json.loads(line) == listed.json()["messages"][0]
    assert json.loads(line)["id"] == failed
    assert (await export(api, account, format="jsonl", status="expired")).text == ""
    assert (await export(api, account, status="expired")).text.startswith("id,createdAt,status,to")


@pytest.mark.parametrize("rows", [8_000, pytest.param(20_000, marks=pytest.mark.slow)])
async def test_thousands_come_complete_and_in_memory_that_does_not_grow(
    api: Api, rows: int
) -> None:
    """Called as a server calls it, because httpx's own transport would keep the whole answer."""
    account = await api.register()
    await fill(api, account, rows)
    held: list[int] = []
    lines = 0
    size = 0

    async def receive() -> dict[str, Any]:
        await asyncio.sleep(60)
        return {"type": "http.disconnect"}

    async def send(message: MutableMapping[str, Any]) -> None:
        nonlocal lines, size
        body = message.get("body", b"")
        lines += body.count(b"\n")
        size += len(body)
        gc.collect()  # what is held, and not what nobody has picked up yet
        held.append(tracemalloc.get_traced_memory()[0])

    tracemalloc.start()
    await api.app(scope_of(account), receive, send)
    tracemalloc.stop()
    assert lines == rows
    assert size > rows * 500
    # A step of 500 is about 1 MB of rows; the file is 4 MB or more.
    early, late = max(held[: len(held) // 4]), max(held[len(held) // 2 :])
    assert late - early < 1_000_000


async def test_an_export_is_for_readers(api: Api) -> None:
    account, stranger = await api.register(), await api.register()
    await save(api, account, mode="test")
    await save(api, account)
    key = (await api.key(account))["key"]
    test_key = (await api.key(account, mode="test"))["key"]
    sender = (await api.key(account, scopes=["messages:send"]))["key"]

    async def with_key(text: str) -> httpx.Response:
        return await api.client.get(
            PATH, params={"format": "jsonl"}, headers={"Authorization": f"Bearer {text}"}
        )

    assert len((await with_key(key)).text.splitlines()) == 2
    assert [json.loads(line)["mode"] for line in (await with_key(test_key)).text.splitlines()] == [
        "test"
    ]
    assert (await with_key(sender)).json()["code"] == "KEY_SCOPE"
    foreign = await api.get(stranger, PATH, projectId=account.project_id)
    assert (foreign.status_code, foreign.json()["code"]) == (404, "PROJECT_NOT_FOUND")
    wrong = await api.get(account, PATH, projectId=account.project_id, format="xml")
    assert (wrong.status_code, wrong.json()["details"]["errors"][0]["field"]) == (400, "format")
    unknown = await api.get(account, PATH, projectId=account.project_id, status="lost")
    assert (unknown.status_code, unknown.json()["code"]) == (400, "VALIDATION_ERROR")


async def test_a_project_has_two_exports_at_a_time_and_others_theirs(api: Api) -> None:
    account, other = await api.register(), await api.register()
    first, second = await Reader(api, account).begin(), await Reader(api, account).begin()
    refused = await api.get(account, PATH, projectId=account.project_id)
    assert (refused.status_code, refused.json()["code"]) == (429, "RATE_LIMIT_EXCEEDED")
    assert refused.headers["Retry-After"] == "5"
    assert "2 exports running" in refused.json()["error"]
    await export(api, other)
    # One ends, the other breaks off: both places are free again.
    await first.read_on()
    await second.leave()
    again = [await Reader(api, account).begin() for _ in range(2)]
    assert [reader.status for reader in again] == [200, 200]
    for reader in again:
        await reader.read_on()


async def test_a_process_has_six_exports_at_a_time(api: Api) -> None:
    accounts = [await api.register() for _ in range(4)]
    running = [await Reader(api, account).begin() for account in accounts[:3] for _ in range(2)]
    refused = await api.get(accounts[3], PATH, projectId=accounts[3].project_id)
    assert (refused.status_code, "6 exports running" in refused.json()["error"]) == (429, True)
    for reader in running:
        await reader.leave()
    await export(api, accounts[3])


async def test_a_refused_or_wrong_export_takes_no_place(api: Api) -> None:
    account = await api.register()
    for _ in range(3):
        wrong = await api.get(account, PATH, projectId=account.project_id, connector="con_wrong")
        assert wrong.status_code == 400
    await export(api, account)
