"""An outage is nobody's fault and passes; a bad value is its row's."""

from __future__ import annotations

import psycopg
import pytest
import redis
import sqlalchemy.exc
import structlog
from psycopg_pool import PoolTimeout

from backend.outages import OutageLog, is_about_the_item, is_outage


def _of_sqlalchemy(cause: psycopg.Error) -> sqlalchemy.exc.DBAPIError:
    return sqlalchemy.exc.DBAPIError("SELECT 1", None, cause)


AWAY = [
    psycopg.OperationalError("server closed the connection"),
    psycopg.InterfaceError("the connection is closed"),
    PoolTimeout(), psycopg.errors.AdminShutdown(), psycopg.errors.DiskFull(),
    psycopg.errors.DeadlockDetected(),
    psycopg.errors.ReadOnlySqlTransaction(), psycopg.errors.IdleInTransactionSessionTimeout(),
    redis.ConnectionError(), redis.TimeoutError(), redis.ReadOnlyError(), ConnectionRefusedError(),
    TimeoutError(),
    sqlalchemy.exc.TimeoutError(), _of_sqlalchemy(psycopg.errors.CannotConnectNow()),
]  # fmt: skip
OF_THE_ITEM = [
    psycopg.DataError("too large"), psycopg.errors.NumericValueOutOfRange(),
    psycopg.errors.NotNullViolation(),
    psycopg.errors.ProgramLimitExceeded(), psycopg.errors.StatementTooComplex(), ValueError(),
    TypeError(), KeyError(),
    RecursionError(), redis.DataError(), _of_sqlalchemy(psycopg.errors.InvalidTextRepresentation()),
]  # fmt: skip
OF_NOBODY = [
    psycopg.errors.UndefinedColumn(),
    psycopg.errors.InsufficientPrivilege(),
    psycopg.errors.InternalError_(),
]


@pytest.mark.parametrize("error", AWAY, ids=repr)
def test_a_server_that_is_away_is_an_outage(error: Exception) -> None:
    assert is_outage(error)
    assert not is_about_the_item(error)


@pytest.mark.parametrize("error", OF_THE_ITEM, ids=repr)
def test_a_bad_value_is_about_its_row(error: Exception) -> None:
    assert is_about_the_item(error)
    assert not is_outage(error)


@pytest.mark.parametrize("error", OF_NOBODY, ids=repr)
def test_a_schema_that_does_not_fit_is_neither(error: Exception) -> None:
    """Else a forgotten migration would fail every message there is."""
    assert not is_outage(error)
    assert not is_about_the_item(error)


def test_an_outage_is_told_when_it_begins_and_not_again_and_again() -> None:
    outage = OutageLog("doorbell.unreachable")
    with structlog.testing.capture_logs() as logs:
        for _ in range(200):
            outage.warn(redis.ConnectionError("refused"), connectors=1)
    assert logs == [
        {
            "event": "doorbell.unreachable",
            "error": "ConnectionError",
            "connectors": 1,
            "log_level": "warning",
        }
    ]
