"""A connection to forget through, and projects that want it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import psycopg
import pytest_asyncio

from backend.models import Project
from backend.platform import Platform
from tests.world import World


@pytest_asyncio.fixture
async def connection(platform: Platform) -> AsyncIterator[psycopg.AsyncConnection[Any]]:
    async with platform.database.raw.connection() as connection:
        yield connection


async def retain(world: World, **fields: Any) -> None:
    """Set the project's content_retention, content_retention_days or retention_days."""
    async with world.platform.database.transaction() as session:
        project = await Project.find(session, world.project_id)
        assert project is not None
        for name, value in fields.items():
            setattr(project, name, value)
