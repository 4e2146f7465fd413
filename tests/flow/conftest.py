"""One running product for the tests that only use it."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.runtime.conftest import Up


@pytest.fixture(scope="package")
def up() -> Iterator[Up]:
    with tempfile.TemporaryDirectory(prefix="mjs-flow-") as folder:
        home = Path(folder)
        home.chmod(0o711)
        (home / ".env").write_text("DASHBOARD_RATE_LIMIT_PER_MINUTE=0\n")
        up = Up(home / "data")
        up.start_and_wait()
        yield up
        up.clean_up()
