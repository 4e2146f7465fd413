"""Which account root's servers run as: only theirs, and it takes over what a shared one had."""

from __future__ import annotations

import os
import pwd
import shutil
from contextlib import suppress
from pathlib import Path

import psycopg
import pytest

from backend.runtime.account import Account, server_account
from backend.runtime.embedded import EmbeddedServers
from backend.runtime.process import processes_in

pytestmark = [
    pytest.mark.skipif(
        os.geteuid() != 0,
        reason="without root privileges the servers run as the user who starts them",
    ),
    pytest.mark.skipif(
        shutil.which("useradd", path="/usr/sbin:/sbin") is None, reason="no useradd"
    ),
]


def _nobody() -> Account:
    entry = pwd.getpwnam("nobody")
    return Account(entry.pw_name, entry.pw_uid, entry.pw_gid)


def _servers_account() -> Account:
    account = server_account(create=True)
    assert account is not None
    return account


def test_root_gets_the_servers_an_account_that_nobody_shares() -> None:
    account = _servers_account()
    assert (account.name, account.is_shared, account.warning) == ("messagejs", False, "")
    assert pwd.getpwnam("messagejs").pw_uid == account.uid


def test_a_shared_account_is_warned_about_with_the_remedy() -> None:
    assert "useradd --system messagejs" in _nobody().warning


def test_files_of_a_shared_account_are_taken_over_and_nothing_else(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_text("root's")
    had = tmp_path / "had"
    (had / "deep").mkdir(parents=True)
    (had / "deep" / "file").touch()
    (had / "symbolic").symlink_to(elsewhere)
    os.link(elsewhere, had / "hard")
    for path in (had, had / "deep", had / "deep" / "file"):
        _nobody().give(path)
    account = _servers_account()
    account.take_over(had)
    owners = [
        path.lstat().st_uid for path in (had, had / "deep", had / "deep" / "file", had / "symbolic")
    ]
    assert owners == [account.uid] * 4
    assert elsewhere.stat().st_uid == 0


def test_files_of_a_user_are_not_taken_over(tmp_path: Path) -> None:
    daemon = pwd.getpwnam("sys")
    os.chown(tmp_path, daemon.pw_uid, daemon.pw_gid)
    _servers_account().take_over(tmp_path)
    assert tmp_path.stat().st_uid == daemon.pw_uid


def test_servers_that_ran_as_nobody_move_to_their_account_with_their_data(short_dir: Path) -> None:
    directory = short_dir / "before"
    servers = EmbeddedServers(directory)
    servers.start()
    with psycopg.connect(servers.database_url) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 42 AS value")
    servers.stop()
    for path in (directory / "postgres", directory / "valkey", directory / "run"):
        for entry in (path, *path.rglob("*")):
            _nobody().give(entry)
    servers = EmbeddedServers(directory)
    servers.start()
    try:
        with psycopg.connect(servers.database_url) as connection:
            assert connection.execute("SELECT value FROM kept").fetchone() == (42,)
        for name in ("postgres", "valkey"):
            uids = set()
            for pid in processes_in(directory / name):
                with suppress(FileNotFoundError):  # one of Postgres's that has just ended
                    uids.add(Path(f"/proc/{pid}").stat().st_uid)
            assert uids == {_servers_account().uid}
    finally:
        servers.stop()
