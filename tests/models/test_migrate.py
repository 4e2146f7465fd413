"""Migrations: what they make is what the models say, from any number of processes, and back
again.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, create_engine, inspect, text
from sqlmodel import SQLModel

import backend.models  # noqa: F401  (the tables register themselves in the metadata)
from backend.ids import new_id
from backend.models import migrate
from backend.models.migrate import current_revision, head_revision, upgrade
from backend.models.partitions import is_partition
from backend.models.session import Database, sqlalchemy_url
from backend.process.advisory_locks import AdvisoryLock


def _engine(database_url: str) -> Engine:
    return create_engine(sqlalchemy_url(database_url))


def _differences(connection: Connection) -> list[Any]:
    """Return what a new migration would have to do."""

    def include(name: str | None, kind: str, _parents: object) -> bool:
        return not (kind == "table" and name is not None and is_partition(name))

    options = {"compare_type": True, "compare_server_default": True, "include_name": include}
    return list(
        compare_metadata(MigrationContext.configure(connection, opts=options), SQLModel.metadata)
    )


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
                text(
                    "SELECT partrelid::regclass::text, pg_get_partkeydef(partrelid) FROM"
                    " pg_partitioned_table"
                )
            ).all()
        )
        options: dict[str, list[str]] = dict(
            connection.execute(
                text(
                    "SELECT relname, reloptions FROM pg_class WHERE relkind = 'r' AND relname ="
                    " 'send_queue'"
                )
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
            text(
                "INSERT INTO users VALUES (gen_random_uuid(), now(), now(), 'a@b.c', 'x', '', true,"
                " false)"
            )
        )
    upgrade(migrated)
    with _engine(migrated).connect() as connection:
        assert connection.execute(text("SELECT count(*) FROM users")).scalar() == 1
        assert _differences(connection) == []


def test_processes_that_start_together_migrate_once(empty_database: str) -> None:
    code = "import sys; from backend.models.migrate import upgrade; upgrade(sys.argv[1])"
    argv = [sys.executable, "-c", code, empty_database]
    processes = [
        subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    errors = [process.communicate(timeout=60)[1] for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0], errors
    with _engine(empty_database).connect() as connection:
        assert _differences(connection) == []
        assert connection.execute(text("SELECT version_num FROM alembic_version")).all() == [
            (head_revision(),)
        ]


async def test_the_revision_is_told_and_none_for_an_empty_database(
    migrated: str, empty_database: str
) -> None:
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


_SEND = """
INSERT INTO messages (id, project_id, connector_id, connector_type, mode, recipient, content,
    status, priority,
    on_uncertain, attempts, created_at, updated_at)
SELECT id, id, id, 'sandbox', 'live', 'ada', '{}', 'queued', 'normal', 'hold', 0, now(), now()
FROM (VALUES (%s::uuid)) AS new (id)
"""


def test_sends_go_on_while_a_migration_waits_for_a_reader(empty_database: str) -> None:
    """A dump or an export holds `messages`; anyone who comes after the migration must not wait for
    that, too.
    """
    config = migrate._config()
    with _engine(empty_database).connect() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0012")  # 0013 adds a column to `messages`
        connection.commit()
    waits: list[str] = []
    longest_s = 0.0
    with (
        psycopg.connect(empty_database, application_name="nightly-dump") as reader,
        psycopg.connect(empty_database, autocommit=True) as sender,
        ThreadPoolExecutor(1) as pool,
    ):
        reader.execute("SELECT count(*) FROM messages")
        migrating = pool.submit(upgrade, empty_database, on_wait=waits.append)
        while len(waits) < 2 and not migrating.done():
            began = time.monotonic()
            sender.execute(_SEND, (new_id(),))
            longest_s = max(longest_s, time.monotonic() - began)
            time.sleep(0.01)
        reader.rollback()
        migrating.result(60)
    assert (
        0.5 < longest_s < 10
    )  # it did wait behind the migration, for its two seconds and not for the reader
    assert "nightly-dump" in waits[0]
    with _engine(empty_database).connect() as connection:
        assert _differences(connection) == []


def test_a_migration_that_never_gets_its_lock_says_who_has_it_and_leaves_what_is_done(
    empty_database: str,
) -> None:
    config = migrate._config()
    with _engine(empty_database).connect() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0011")
        connection.commit()
    with psycopg.connect(empty_database, application_name="nightly-dump") as reader:
        reader.execute("SELECT count(*) FROM messages")
        with pytest.raises(
            migrate.MigrationBlocked, match=r"locked by connection \d+ \(nightly-dump\)"
        ):
            upgrade(empty_database, patience_s=0.1)
    with _engine(empty_database).connect() as connection:
        assert connection.execute(text("SELECT version_num FROM alembic_version")).all() == [
            ("0012",)
        ]
    upgrade(empty_database)


def test_a_second_migration_waits_for_the_first_and_says_so(empty_database: str) -> None:
    waits: list[str] = []
    with psycopg.connect(empty_database) as first:
        first.execute("SELECT pg_advisory_lock(%s)", (int(AdvisoryLock.MIGRATION),))
        with pytest.raises(migrate.MigrationBlocked, match="Another 'messagejs migrate'"):
            upgrade(empty_database, patience_s=0.3, on_wait=waits.append)
    assert len(waits) == 1


def test_a_database_of_a_newer_version_is_left_as_it_is(empty_database: str) -> None:
    upgrade(empty_database)
    with _engine(empty_database).begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    assert upgrade(empty_database) is False
    with _engine(empty_database).begin() as connection:
        connection.execute(text("UPDATE schema_compat SET oldest_code = '9998'"))
    with pytest.raises(migrate.SchemaTooNew, match="needs code of '9998' or newer"):
        upgrade(empty_database)
    with _engine(empty_database).begin() as connection:
        assert connection.execute(text("SELECT version_num FROM alembic_version")).all() == [
            ("9999",)
        ]


def test_the_schema_says_which_code_can_run_on_it(migrated: str) -> None:
    script = ScriptDirectory.from_config(migrate._config())
    with _engine(migrated).connect() as connection:
        stated = connection.execute(text("SELECT oldest_code FROM schema_compat")).all()
    assert stated == [(migrate.oldest_code(script, script.get_heads()),)]


def test_each_migration_states_the_oldest_code_that_runs_on_its_schema() -> None:
    """docs/operations.md, "Upgrades": add `oldest_code`, which is the one before's as long as you
    only add.
    """
    script = ScriptDirectory.from_config(migrate._config())
    stated = {r.revision: getattr(r.module, "oldest_code", None) for r in script.walk_revisions()}
    known = set(stated)
    silent = sorted(
        revision
        for revision, oldest in stated.items()
        if revision >= "0015" and oldest not in known
    )
    assert silent == []
    assert all(oldest <= revision for revision, oldest in stated.items() if oldest is not None)


def test_there_is_one_line_of_revisions() -> None:
    script = ScriptDirectory.from_config(migrate._config())
    assert script.get_heads() == [head_revision()]
    assert script.get_bases() == ["0001"]
