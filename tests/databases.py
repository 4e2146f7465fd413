"""Empty databases beside the session's, for tests that must not share theirs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit, urlunsplit

import psycopg

from backend.ids import new_id


@contextmanager
def database_maker(server_url: str) -> Iterator[Callable[[], str]]:
    """Yield a function that makes an empty database and returns its URL; all are dropped at the
    end.
    """
    names: list[str] = []

    def make() -> str:
        names.append(f"test_{new_id().hex}")
        with psycopg.connect(server_url, autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {names[-1]}")
        return urlunsplit(urlsplit(server_url)._replace(path=f"/{names[-1]}"))

    yield make
    with psycopg.connect(server_url, autocommit=True) as connection:
        for name in names:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)")
