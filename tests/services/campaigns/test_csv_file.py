"""What a file may cost: refused early where it is no table, read in bounded steps, and never in a
transaction.
"""

from __future__ import annotations

import asyncio
import io
import threading
import tracemalloc
from collections.abc import Callable
from uuid import UUID

import pytest

from backend.errors import InvalidCsv
from backend.models import CampaignRow
from backend.services.access.access import system_access
from backend.services.campaigns.campaigns import NewCampaign, create_campaign, read_rows
from backend.services.campaigns.csv_file import CsvFile
from backend.services.campaigns.plan import Plan
from backend.services.campaigns.progress import walk_rows
from backend.services.policy.sender import Sender
from tests.world import World

MB = 1 << 20
HEAD = b"to,name\n"


class Counted(io.BytesIO):
    """Tells how much of it was read."""

    taken = 0

    def read1(self, size: int | None = -1, /) -> bytes:
        chunk = super().read1(size)
        self.taken += len(chunk)
        return chunk


async def _rows(file: io.BytesIO, most_rows: int = 100_000) -> int:
    count = 0
    table = await CsvFile.open(file, most_rows=most_rows)
    async for step in table.steps():
        count += len(step)
    return count


async def _stored(world: World, campaign_id: UUID, state: str) -> list[CampaignRow]:
    steps = walk_rows(
        world.platform.database,
        system_access(world.project_id),
        campaign_id=campaign_id,
        state=state,
    )
    return [row async for step in steps for row in step]


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: HEAD + b"\r" * (45 * MB), "more than 100,000 blank lines, up to line 100002"),
        (lambda: HEAD + b",\n" * (22 * MB), "more than 100,000 blank lines"),
        (lambda: b"," * (45 * MB), "row that begins in line 1 has more than 1,000,000 characters"),
        (
            lambda: HEAD + b"ada,x\n" + b"," * (45 * MB),
            "row that begins in line 3 has more than 1,000,000 characters",
        ),
        (lambda: HEAD + b'ada,"' + b"a\n" * (22 * MB), "row that begins in line 2"),
        (
            lambda: HEAD + b'"a\n",' * (9 * MB),
            "row that begins in line 2 has more than 1,000,000 characters",
        ),
        (lambda: b"a" * (45 * MB), "line 1"),
        (
            lambda: b",".join(b"c%d" % i for i in range(10_000)) + b"\n" + b"x\n" * MB,
            "line 1 has 10,000 cells",
        ),
        (lambda: HEAD + b"," * 5000 + b"\n" + b"x\n" * MB, "line 2 has 5,001 cells"),
        (lambda: HEAD + b"ada,x\n" * (7 * MB), "more than 100,000 rows"),
    ],
    ids=[
        "carriage returns",
        "blank rows",
        "one line of commas",
        "a later line of commas",
        "an open quote",
        "a row of quoted lines",
        "one name",
        "10,000 columns",
        "5,000 cells",
        "too many rows",
    ],
)
async def test_a_file_that_costs_too_much_is_refused_early_and_by_its_line(
    make: Callable[[], bytes], words: str
) -> None:
    file = Counted(make())
    tracemalloc.start()
    try:
        with pytest.raises(InvalidCsv) as caught:
            await _rows(file)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert words in caught.value.message
    # Early: of the file's tens of megabytes a few were looked at, and fewer were held than it has.
    assert 0 < file.taken < 3 * MB
    assert peak < 32 * MB


async def test_blank_lines_between_rows_are_none_and_keep_the_count_of_lines() -> None:
    table = await CsvFile.open(
        io.BytesIO(HEAD + b"\r\n\r\nada,Ada\r\n,\r\n\r\nbob,Bob\r\n\r\n"), most_rows=10
    )
    rows = [row async for step in table.steps() for row in step]
    assert [(row.line, row.cells) for row in rows] == [(4, ["ada", "Ada"]), (7, ["bob", "Bob"])]


async def test_a_step_holds_few_rows_where_they_are_long() -> None:
    """A step is what stands in memory at once."""
    row = b'ada,"' + b"x" * 30_000 + b'"\n'
    table = await CsvFile.open(io.BytesIO(HEAD + row * 300), most_rows=1000)
    sizes = [len(step) async for step in table.steps()]
    assert sum(sizes) == 300
    assert max(sizes) <= 34  # 1,000,000 / 30,007


async def test_reading_a_file_holds_no_transaction_and_stops_nobody(world: World) -> None:
    go_on = threading.Event()

    class Held(io.BytesIO):
        def read1(self, size: int | None = -1, /) -> bytes:
            if self.tell() > 0:
                assert go_on.wait(60)
            return super().read1(size)

    platform, caller = world.platform, Sender(system_access(world.project_id), "live")
    connector = await world.connector()
    rows = "".join(
        f'ada{number},"Tab\tand ""quote"" \\N é\u2028 {number}"\n' for number in range(3000)
    )
    file = Held(b"to,name\n" + rows.encode())
    table = await CsvFile.open(file, most_rows=5000)
    new = NewCampaign(
        "Sale", Plan(table.columns, {"to": "to"}, connector_id=connector.id, message="Hello")
    )
    reading = asyncio.create_task(read_rows(platform.send_path, caller, new=new, file=table))
    try:
        await asyncio.sleep(0.2)  # it waits in the reader's thread, and nothing else does
        assert not reading.done()
        async with platform.database.raw.connection() as connection:
            cursor = await connection.execute(
                "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND"
                " xact_start IS NOT NULL AND pid <> pg_backend_pid()"
            )
            assert await cursor.fetchone() == (0,)
    finally:
        go_on.set()
    with await reading as read:
        async with platform.database.transaction() as session:
            campaign = await create_campaign(session, caller, new=new, rows=read)
    assert campaign.total_rows == 3000
    stored = [
        row
        async for step in walk_rows(
            platform.database,
            system_access(world.project_id),
            campaign_id=campaign.id,
            state="pending",
        )
        for row in step
    ]
    assert len(stored) == 3000
    assert (stored[7].line, stored[7].cells) == (9, ["ada7", 'Tab\tand "quote" \\N é\u2028 7'])


async def test_what_is_wrong_with_a_row_is_stored_with_it(world: World) -> None:
    connector = await world.connector()
    platform, caller = world.platform, Sender(system_access(world.project_id), "live")
    table = await CsvFile.open(io.BytesIO(b"to,name\na\\b,x\na\\b,y\nc,d,e\n"), most_rows=10)
    new = NewCampaign(
        "Sale", Plan(table.columns, {"to": "to"}, connector_id=connector.id, message="Hello")
    )
    with await read_rows(platform.send_path, caller, new=new, file=table) as read:
        async with platform.database.transaction() as session:
            campaign = await create_campaign(session, caller, new=new, rows=read)
    failed = [
        row
        async for step in walk_rows(
            platform.database,
            system_access(world.project_id),
            campaign_id=campaign.id,
            state="failed",
        )
        for row in step
    ]
    reported = [(row.line, row.error_field, row.error_code) for row in failed]
    assert reported == [(3, "to", "DUPLICATE_RECIPIENT"), (4, "", "INVALID_ROW")]
    assert (
        failed[0].error_reason
        == "'a\\b' is already in an earlier row; each recipient gets one message."
    )
    assert failed[0].cells == ["a\\b", "y"]
