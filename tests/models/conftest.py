"""Databases of their own, for tests that make and remove the schema."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from backend.runtime.embedded import EmbeddedServers
from tests.databases import database_maker


@pytest.fixture(scope="session")
def make_database(servers: EmbeddedServers) -> Iterator[Callable[[], str]]:
    with database_maker(servers.database_url) as make:
        yield make


@pytest.fixture
def empty_database(make_database: Callable[[], str]) -> str:
    return make_database()
