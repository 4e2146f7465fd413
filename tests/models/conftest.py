"""Databases of their own, for tests that make and remove the schema."""

from __future__ import annotations

from collections.abc import Callable

import pytest


@pytest.fixture
def empty_database(make_database: Callable[[], str]) -> str:
    return make_database()
