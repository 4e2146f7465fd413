"""Monthly partitions: every row lands in its month, and DEFAULT stays empty."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from uuid import UUID

import psycopg
import pytest

from backend.ids import new_id
from backend.models.migrate import upgrade
from backend.models.partitions import (
    MONTHS_AHEAD,
    PARTITIONED,
    first_id,
    is_partition,
    month_start,
    partition_statements,
)


def _at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("now", "months", "start"),
    [
        ("2026-01-01T00:00:00", 0, "2026-01-01"),
        ("2026-01-31T23:59:59.999999", 0, "2026-01-01"),
        ("2026-01-31T12:00:00", 1, "2026-02-01"),
        ("2026-10-15T12:00:00", 3, "2027-01-01"),
        ("2026-12-31T23:59:59", 1, "2027-01-01"),
        ("2026-12-01T00:00:00", 12, "2027-12-01"),
        ("2027-01-01T00:00:00", -1, "2026-12-01"),
        ("2028-02-29T00:00:00", 0, "2028-02-01"),
    ],
)
def test_a_month_starts_on_its_first_instant(now: str, months: int, start: str) -> None:
    assert month_start(_at(now), months) == _at(start)


def test_the_first_id_of_an_instant_is_below_every_id_made_then_and_above_those_before() -> None:
    before = datetime.now(UTC)
    created = new_id()
    after = datetime.now(UTC)
    # One millisecond more on each side: ids hold whole milliseconds.
    assert (
        first_id(before - timedelta(milliseconds=1))
        < created
        < first_id(after + timedelta(milliseconds=1))
    )
    assert first_id(_at("1970-01-01")) == UUID(int=0)
    # 2026-11-01T00:00:00Z is 1,793,491,200 s = 0x1a19467e800 ms after 1970.
    assert str(first_id(_at("2026-11-01"))) == "01a19467-e800-0000-0000-000000000000"


def test_partitions_are_made_for_this_month_and_the_next_ones() -> None:
    statements = partition_statements(_at("2026-11-21"))
    assert len(statements) == len(PARTITIONED) * (MONTHS_AHEAD + 1)
    months = [s.split()[5].removeprefix("messages_") for s in statements if " messages_p" in s]
    assert months == ["p202611", "p202612", "p202701", "p202702"]


@pytest.mark.parametrize(
    ("table", "answer"),
    [
        ("messages_default", True),
        ("attempts_p202611", True),
        ("events_p209912", True),
        ("messages", False),
        ("messages_p2026", False),
        ("messages_p202611_old", False),
        ("send_queue", False),
        ("users_default", False),
    ],
)
def test_a_partition_is_known_by_its_name(table: str, answer: bool) -> None:
    assert is_partition(table) is answer


# -- against the real database ---------------------------------------------------------------------


@pytest.fixture(scope="module")
def database_url(make_database: Callable[[], str]) -> str:
    url = make_database()
    upgrade(url)
    return url


@pytest.fixture
def connection(database_url: str) -> Iterator[psycopg.Connection]:
    """Everything done here is rolled back, tables made included."""
    with psycopg.connect(database_url) as connection:
        yield connection
        connection.rollback()


def _insert_event(connection: psycopg.Connection, event_id: UUID) -> str:
    """Return the partition that took the row."""
    row = connection.execute(
        "INSERT INTO events (id, project_id, message_id, type, data, created_at)"
        " VALUES (%s, %s, %s, 'message.sent', '{}', now()) RETURNING tableoid::regclass::text",
        (event_id, new_id(), new_id()),
    ).fetchone()
    assert row is not None
    return str(row[0])


def _partitions(connection: psycopg.Connection) -> set[str]:
    rows = connection.execute(
        "SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid WHERE c.relkind"
        " = 'r'"
    ).fetchall()
    return {row[0] for row in rows}


def test_a_row_lands_in_the_month_of_its_id(connection: psycopg.Connection) -> None:
    assert _insert_event(connection, new_id()) == f"events_p{datetime.now(UTC):%Y%m}"


def test_a_month_ends_exactly_where_the_next_begins(connection: psycopg.Connection) -> None:
    this, following = month_start(datetime.now(UTC)), month_start(datetime.now(UTC), 1)
    boundary = first_id(following)
    assert _insert_event(connection, UUID(int=boundary.int - 1)) == f"events_p{this:%Y%m}"
    assert _insert_event(connection, boundary) == f"events_p{following:%Y%m}"


def test_every_instant_of_the_months_made_ahead_has_its_partition(
    connection: psycopg.Connection,
) -> None:
    now = datetime.now(UTC)
    for months in range(MONTHS_AHEAD + 1):
        start = month_start(now, months)
        end = month_start(now, months + 1)
        for instant in (start, start + (end - start) / 2, end - timedelta(milliseconds=1)):
            assert _insert_event(connection, first_id(instant)) == f"events_p{start:%Y%m}"
    assert connection.execute("SELECT count(*) FROM events_default").fetchone() == (0,)


def test_a_row_beyond_every_partition_is_kept_in_default(connection: psycopg.Connection) -> None:
    """A maintenance job that was down too long must not lose messages; /readyz warns of such
    rows.
    """
    beyond = first_id(month_start(datetime.now(UTC), MONTHS_AHEAD + 1))
    assert _insert_event(connection, beyond) == "events_default"


def test_the_maintenance_may_run_as_often_as_it_likes(connection: psycopg.Connection) -> None:
    before = _partitions(connection)
    for statement in partition_statements():
        connection.execute(statement)
    assert _partitions(connection) == before
    assert len(before) == len(PARTITIONED) * (MONTHS_AHEAD + 2)  # and one DEFAULT each


def test_a_month_later_each_table_gets_one_more(connection: psycopg.Connection) -> None:
    before = _partitions(connection)
    for statement in partition_statements(month_start(datetime.now(UTC), 1)):
        connection.execute(statement)
    newest = f"p{month_start(datetime.now(UTC), MONTHS_AHEAD + 1):%Y%m}"
    assert _partitions(connection) - before == {f"{table}_{newest}" for table in PARTITIONED}


def test_a_month_is_dropped_without_touching_the_others(connection: psycopg.Connection) -> None:
    """What retention does; a foreign key to or between these tables would make it fail."""
    event_id = new_id()
    for table in PARTITIONED:
        connection.execute(f"DROP TABLE {table}_p{month_start(datetime.now(UTC), 1):%Y%m}")
    assert _insert_event(connection, event_id) == f"events_p{datetime.now(UTC):%Y%m}"


def test_message_pages_keep_room_for_updates(connection: psycopg.Connection) -> None:
    rows = connection.execute(
        "SELECT reloptions FROM pg_class WHERE relname LIKE 'messages\\_p______' AND relkind = 'r'"
    ).fetchall()
    assert rows == [(["fillfactor=80"],)] * (MONTHS_AHEAD + 1)
