"""How values are read from Postgres: what Python cannot hold reads as the nearest that it can.

A loader that raises takes the whole answer with it, and one answer holds many tenants' rows.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any, Final

import psycopg
from psycopg import adapt, pq
from psycopg.abc import AdaptContext, Buffer
from psycopg.types.json import set_json_loads

# A day within what Python can hold, so that every time zone's offset can still be applied.
EARLIEST: Final = datetime(1, 1, 2, tzinfo=UTC)
LATEST: Final = datetime(9999, 12, 30, tzinfo=UTC)
_TIMESTAMPTZ: Final = psycopg.adapters.types["timestamptz"].oid


def read_what_is_there(connection: psycopg.AsyncConnection[Any]) -> None:
    """Have this connection read every value: instants within EARLIEST and LATEST, and JSON as None
    where it is none.

    Postgres keeps instants from 4714 BC to the year 294276, and infinite ones; JSON deeper nested
    and with longer numbers than Python reads.
    """
    connection.adapters.register_loader("timestamptz", _TextInstant)
    connection.adapters.register_loader("timestamptz", _BinaryInstant)
    set_json_loads(_loads, connection)


class _Instant(adapt.Loader):
    """psycopg's own loader (the C one where it is there), and what it raises for."""

    def __init__(self, oid: int, context: AdaptContext | None = None) -> None:
        super().__init__(oid, context)
        loader = psycopg.adapters.get_loader(_TIMESTAMPTZ, self.format)
        assert loader is not None  # noqa: S101 (psycopg has one for each of its own types)
        self._load = loader(oid, context).load

    def load(self, data: Buffer) -> datetime:
        try:
            instant: datetime = self._load(data)
        except (psycopg.DataError, ValueError, OverflowError):
            return EARLIEST if self._is_past(bytes(data)) else LATEST
        return min(max(instant, EARLIEST), LATEST)

    @staticmethod
    def _is_past(data: bytes) -> bool:
        """Tell whether the instant is before the earliest; each of Postgres's formats says so in
        its own way.
        """
        raise NotImplementedError


class _TextInstant(_Instant):
    format = pq.Format.TEXT

    @staticmethod
    def _is_past(data: bytes) -> bool:
        # "0044-03-15 12:00:00+00 BC", "-infinity"; years without BC from 10000 on, "infinity".
        # Zones shift across.
        return data.endswith(b"BC") or data.startswith((b"-", b"0"))


class _BinaryInstant(_Instant):
    format = pq.Format.BINARY

    @staticmethod
    def _is_past(data: bytes) -> bool:
        return int.from_bytes(data, "big", signed=True) < 0


def _loads(data: str | bytes) -> Any:
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        return None
