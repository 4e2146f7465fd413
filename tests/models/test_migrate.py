"""Migrations: what they make is what the models say, from any number of processes, and back again."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, create_engine, inspect, text
from sqlmodel import SQLModel

import backend.models  # noqa: F401  (the tables register themselves in the metadata)
from backend.models import migrate
from backend.models.migrate import current_revision, head_revision, upgrade
from backend.models.partitions import is_partition
from backend.models.session import Database, sqlalchemy_url


def _engine(database_url: str) -> Engine:
    return create_engine(sqlalchemy_url(database_url))


def _differences(connection: Connection) -> list[Any]:
    """Return what a new migration would have to do."""

    def include(name: str | None, kind: str, _parents: object) -> bool:
        return not (kind == "table" and name is not None and is_partition(name))

    options = {"compare_type": True, "compare_server_default": True, "include_name": include}
    return list(compare_metadata(MigrationContext.configure(connection, opts=options), SQLModel.metadata))


@pytest.fixture(scope="module")
def migrated(make_database: Callable[[], str]) -> str:
    url = make_database()
    upgrade(url)
    return url


def test_a_fresh_database_has_the_tables_of_the_models(migrated: str) -> None:
    with _engine(migrated).connect() as connection:
        assert _differences(connection) == []


@pytest.mark.parametrize(
    "change",
    [
        "ALTER TABLE users DROP COLUMN name",
        "ALTER TABLE users ALTER COLUMN name DROP NOT NULL",
        "ALTER TABLE users ALTER COLUMN name TYPE text",
        "ALTER TABLE messages ADD COLUMN extra text",
        "DROP INDEX ix_messages_project",
        "ALTER TABLE users DROP CONSTRAINT users_email_key",
        "ALTER TABLE api_keys DROP CONSTRAINT api_keys_project_id_fkey",
        "CREATE TABLE stray (id int)",
    ],
)
def test_the_comparison_would_notice(migrated: str, change: str) -> None:
    with _engine(migrated).connect() as connection:
        connection.execute(text(change))
        assert _differences(connection) != []
        connection.rollback()


def test_storage_and_partitioning_are_those_of_the_models(migrated: str) -> None:
    """What Alembic does not compare."""
    with _engine(migrated).connect() as connection:
        partitioned: dict[str, str] = dict(
            connection.execute(
                text("SELECT partrelid::regclass::text, pg_get_partkeydef(partrelid) FROM pg_partitioned_table")
            ).all()
        )
        options: dict[str, list[str]] = dict(
            connection.execute(
                text("SELECT relname, reloptions FROM pg_class WHERE relkind = 'r' AND relname = 'send_queue'")
            ).all()
        )
    tables = SQLModel.metadata.tables
    assert partitioned == {
        name: table.dialect_options["postgresql"]["partition_by"]
        for name, table in tables.items()
        if table.dialect_options["postgresql"]["partition_by"]
    }
    assert options == {"send_queue": ["fillfactor=70"]}


def test_upgrading_again_changes_nothing(migrated: str) -> None:
    with _engine(migrated).begin() as connection:
        connection.execute(
            text("INSERT INTO users VALUES (gen_random_uuid(), now(), now(), 'a@b.c', 'x', '', true, false)")
        )
    upgrade(migrated)
    with _engine(migrated).connect() as connection:
        assert connection.execute(text("SELECT count(*) FROM users")).scalar() == 1
        assert _differences(connection) == []


def test_processes_that_start_together_migrate_once(empty_database: str) -> None:
    code = "import sys; from backend.models.migrate import upgrade; upgrade(sys.argv[1])"
    argv = [sys.executable, "-c", code, empty_database]
    processes = [subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) for _ in range(3)]
    errors = [process.communicate(timeout=60)[1] for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0], errors
    with _engine(empty_database).connect() as connection:
        assert _differences(connection) == []
        assert connection.execute(text("SELECT version_num FROM alembic_version")).all() == [(head_revision(),)]


async def test_the_revision_is_told_and_none_for_an_empty_database(migrated: str, empty_database: str) -> None:
    for url, revision in ((migrated, head_revision()), (empty_database, None)):
        database = Database(url)
        async with database.engine.connect() as connection:
            assert await current_revision(connection) == revision
        await database.close()
    assert head_revision() is not None


def test_going_back_removes_everything(empty_database: str) -> None:
    upgrade(empty_database)
    config = migrate._config()
    engine = _engine(empty_database)
    with engine.connect() as connection:
        config.attributes["connection"] = connection
        command.downgrade(config, "base")
        connection.commit()
    assert inspect(_engine(empty_database)).get_table_names() == ["alembic_version"]
    upgrade(empty_database)
    with engine.connect() as connection:
        assert _differences(connection) == []


def test_a_failed_migration_leaves_nothing_and_frees_the_lock(empty_database: str) -> None:
    """A table that is in the way: the error is told, and after clearing it the next start works."""
    with _engine(empty_database).begin() as connection:
        connection.execute(text("CREATE TABLE users (mine int)"))
    with pytest.raises(Exception, match='relation "users" already exists'):
        upgrade(empty_database)
    assert set(inspect(_engine(empty_database)).get_table_names()) <= {"users", "alembic_version"}
    with _engine(empty_database).begin() as connection:
        connection.execute(text("DROP TABLE users"))
    upgrade(empty_database)


def test_there_is_one_line_of_revisions() -> None:
    script = ScriptDirectory.from_config(migrate._config())
    assert script.get_heads() == [head_revision()]
    assert script.get_bases() == ["0001"]
