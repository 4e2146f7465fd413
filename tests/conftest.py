"""One embedded Postgres and Valkey for the whole run; tests isolate by making their own users and
projects.
"""

from __future__ import annotations

import gc
import logging
import os
import secrets
import shutil
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any, Final

import pytest
import pytest_asyncio
import structlog
from xdist.scheduler import LoadScopeScheduling  # type: ignore[import-untyped]

from backend.models.migrate import upgrade
from backend.platform import Platform
from backend.runtime.embedded import EmbeddedServers
from backend.settings import Settings, get_settings
from tests.databases import database_maker
from tests.world import World

# What takes longest goes first, so that nothing long is left for the end.
_FIRST: Final = (
    "tests/e2e/",
    "tests/messagejs_app/",
    "tests/flow/",
    "tests/api/test_schemathesis",
    "tests/workers/",
    "tests/runtime/",
    "tests/services/delivery/",
)
# Files that share what is slow to start: one process runs them all. By their names' beginnings.
_TOGETHER: Final = {
    "tests/e2e/": "the site and the browser",
    "tests/messagejs_app/": "the dashboard",
    "tests/flow/test_first_message": "the product",
    "tests/flow/test_python_client": "the product",
}

# The products and workers that tests start keep what they compile, whatever the machine's habit: 1
# s a start.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False


class ByFile(LoadScopeScheduling):  # type: ignore[misc]
    """A file's tests stay together, in the order of collection.

    A process is given its next file before it begins the last test of the one before. Behind what
    takes long that is a short one, from the end: else two long ones wait for each other.
    """

    def _split_scope(self, nodeid: str) -> str:
        for beginning, shared in _TOGETHER.items():
            if nodeid.startswith(beginning):
                return shared
        return nodeid.partition("::")[0]

    def _reschedule(self, node: Any) -> None:
        if not self.workqueue or self._pending_of(self.assigned_work[node]) < 2:
            super()._reschedule(node)

    def _assign_work_unit(self, node: Any) -> None:
        pending = [unit for unit in self.assigned_work[node].values() if not all(unit.values())]
        if any(nodeid.startswith(_FIRST) for unit in pending for nodeid in unit):
            self.workqueue.move_to_end(next(reversed(self.workqueue)), last=False)
        super()._assign_work_unit(node)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> ByFile:
    return ByFile(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    places = [*_FIRST, ""]
    items.sort(
        key=lambda item: next(i for i, place in enumerate(places) if item.nodeid.startswith(place))
    )


def pytest_collection_finish() -> None:
    """The collector of garbage need not go through all tests and modules again and again."""
    gc.freeze()
    gc.set_threshold(10_000, 20, 50)


@pytest.fixture(scope="session", autouse=True)
def plain_logs() -> None:
    """Else structlog draws each traceback with every local variable, which takes longer than the
    test.
    """
    structlog.configure(
        processors=[
            structlog.stdlib.add_log_level,
            structlog.processors.format_exc_info,
            structlog.processors.KeyValueRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
    )


@pytest.fixture(scope="session")
def data_dir() -> Iterator[Path]:
    """A short path that the servers' account can reach when the tests run as root."""
    path = Path(tempfile.mkdtemp(prefix="mjs-"))
    path.chmod(0o711)
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture(scope="session")
def servers(data_dir: Path) -> Iterator[EmbeddedServers]:
    # A test run does not survive a power cut anyway; kill -9 loses nothing without fsync either.
    servers = EmbeddedServers(data_dir, postgres_options=("fsync=off", "full_page_writes=off"))
    servers.start()
    yield servers
    servers.stop()


@pytest.fixture(scope="session")
def settings(servers: EmbeddedServers) -> Iterator[Settings]:
    """Settings of the embedded servers, migrated to head; `get_settings()` and child processes
    agree.
    """
    values = {
        "DATABASE_URL": servers.database_url,
        "REDIS_URL": servers.redis_url,
        "JWT_SECRET": secrets.token_hex(32),
        "ENCRYPTION_KEY": secrets.token_hex(32),
        "KEY_PEPPER": secrets.token_hex(32),
        "ALLOW_PRIVATE_NETWORK": "true",
        "BCRYPT_COST": "4",
        "RETRY_BASE_S": "0.05",
        "RETRY_CAP_S": "0.5",
        "LEASE_S": "5",
        "PROVIDER_TIMEOUT_S": "4",
        "DASHBOARD_RATE_LIMIT_PER_MINUTE": "0",
        "REGISTRATIONS_PER_ADDRESS": "0",
        "DATABASE_POOL_SIZE": "10",
    }
    before = dict(os.environ)
    os.environ.update(values)
    get_settings.cache_clear()
    upgrade(servers.database_url)
    yield get_settings()
    os.environ.clear()
    os.environ.update(before)
    get_settings.cache_clear()


@pytest.fixture(scope="module")
def make_database(servers: EmbeddedServers) -> Iterator[Callable[[], str]]:
    """Return a function that makes an empty database; all are dropped after the module."""
    with database_maker(servers.database_url) as make:
        yield make


@pytest_asyncio.fixture(scope="session")
async def platform(settings: Settings) -> AsyncIterator[Platform]:
    platform = await Platform.open(settings)
    yield platform
    await platform.close()


@pytest.fixture
async def world(platform: Platform) -> World:
    return await World.make(platform)
