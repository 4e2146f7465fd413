"""Monthly partitions of the tables that grow; made ahead, so that DEFAULT stays empty."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Final
from uuid import UUID

PARTITIONED: Final = ("messages", "attempts", "events")
# Months made ahead of the current one. A maintenance job that is down for a quarter loses nothing:
# rows without a partition go to DEFAULT, and /readyz says so.
MONTHS_AHEAD: Final = 3
# Updates of a message stay on its page (HOT) when the page keeps room for them.
MESSAGES_FILLFACTOR: Final = 80
_PARTITION_NAME: Final = re.compile(rf"({'|'.join(PARTITIONED)})_(default|p\d{{6}})")


def is_partition(table: str) -> bool:
    return _PARTITION_NAME.fullmatch(table) is not None


def first_id(instant: datetime) -> UUID:
    """Return the smallest UUIDv7-ordered value of `instant`: its milliseconds, then zeros."""
    return UUID(int=int(instant.timestamp() * 1000) << 80)


def month_start(now: datetime, months: int = 0) -> datetime:
    """Return the first instant (UTC) of the month `months` after the one of `now`."""
    index = now.year * 12 + now.month - 1 + months
    return datetime(index // 12, index % 12 + 1, 1, tzinfo=UTC)


def partition_statements(now: datetime | None = None) -> list[str]:
    """Return DDL that makes the missing partitions of this month and the next ones; idempotent."""
    now = now or datetime.now(UTC)
    statements = []
    for months in range(MONTHS_AHEAD + 1):
        start, end = month_start(now, months), month_start(now, months + 1)
        for table in PARTITIONED:
            options = f" WITH (fillfactor = {MESSAGES_FILLFACTOR})" if table == "messages" else ""
            statements.append(
                f"CREATE TABLE IF NOT EXISTS {table}_p{start:%Y%m} PARTITION OF {table} "
                f"FOR VALUES FROM ('{first_id(start)}') TO ('{first_id(end)}'){options}"
            )
    return statements
