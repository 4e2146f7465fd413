"""Whom the embedded servers run as: ourselves, or an unprivileged account when we are root."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from backend.runtime.errors import NoAccount

_STORED: Final = "messagejs"
_SHARED: Final = ("nobody", "daemon")
_REMEDY: Final = "useradd --system messagejs"
_USERADD_PATIENCE_S: Final = 5.0
# useradd: cannot lock the files; the name is taken, by one who was quicker.
_ANOTHER_IS_AT_IT: Final = frozenset({1, 9})


@dataclass(frozen=True)
class Account:
    """A passwd entry that root gives its rights up for."""

    name: str
    uid: int
    gid: int

    @property
    def is_shared(self) -> bool:
        """Whether other services may run as this one, too."""
        return self.name in _SHARED

    @property
    def warning(self) -> str:
        """What to say about it; empty when it is the servers' own."""
        if not self.is_shared:
            return ""
        return (
            f"the database and Valkey run as '{self.name}', as do other services that could read"
            f" their files; make an account of their own with '{_REMEDY}' and start again"
        )

    def popen_options(self) -> dict[str, Any]:
        return {"user": self.uid, "group": self.gid, "extra_groups": ()}

    def hand_over(self, path: Path) -> None:
        os.chown(path, self.uid, self.gid, follow_symlinks=False)

    def take_over(self, path: Path) -> None:
        """Own a file, or a directory with all that is in it, which belonged to a shared account
        before.

        Links are taken as links, and a file with several names is left alone: one of them may be
        elsewhere.
        """
        owner = _owner(path)
        if owner is None or owner.uid == self.uid or not owner.is_shared:
            return
        for directory, _, names in os.walk(path):
            for name in names:
                if (entry := Path(directory, name)).lstat().st_nlink == 1:
                    self.hand_over(entry)
            self.hand_over(Path(directory))

    def may_traverse(self, path: Path) -> bool:
        """Tell whether this account can reach `path`: every directory above it lets it through."""
        return all(self._may_enter(directory) for directory in path.resolve().parents)

    def _may_enter(self, directory: Path) -> bool:
        try:
            info = directory.stat()
        except FileNotFoundError:  # not made yet; it will be ours
            return True
        if info.st_uid == self.uid:
            return bool(info.st_mode & stat.S_IXUSR)
        if info.st_gid == self.gid:
            return bool(info.st_mode & stat.S_IXGRP)
        return bool(info.st_mode & stat.S_IXOTH)


def server_account(*made_before: Path, create: bool = False) -> Account | None:
    """Return the account for the servers, None when we are not root and simply run them ourselves.

    One of their stored, made now if need be and `create`; who shares theirs could read the
    database's files and signal its processes. The first of the directories that is neither root's
    nor a shared account's tells: what was made stays usable for its owner. Postgres refuses root
    and asks for a passwd entry, so a bare uid will not do.
    """
    if os.geteuid() != 0:
        return None
    for directory in made_before:
        owner = _owner(directory)
        if owner is not None and owner.name not in _SHARED:
            return owner
    ours = _named(_STORED)
    if ours is None and create:
        ours = _make_own()
    account = ours or next((result for name in _SHARED if (result := _named(name))), None)
    if account is None:
        raise NoAccount(
            "Postgres does not run as root and there is no unprivileged account "
            f"({', '.join((_STORED, *_SHARED))}); add one with '{_REMEDY}' or start as a normal"
            " user."
        )
    return account


def _owner(directory: Path) -> Account | None:
    """Return whose the directory is; None when it is root's or not there."""
    if not directory.exists() or (uid := directory.stat().st_uid) == 0:
        return None
    import pwd

    try:
        entry = pwd.getpwuid(uid)
    except KeyError as exc:
        raise NoAccount(
            f"{directory} belongs to user id {uid}, which has no passwd entry; give it one."
        ) from exc
    return Account(entry.pw_name, entry.pw_uid, entry.pw_gid)


def _named(name: str) -> Account | None:
    import pwd

    try:
        entry = pwd.getpwnam(name)
    except KeyError:
        return None
    return Account(entry.pw_name, entry.pw_uid, entry.pw_gid)


def _make_own() -> Account | None:
    """Add the system account; None where that cannot be done: no useradd, /etc read-only."""
    path = os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin", "/sbin"))
    useradd = shutil.which("useradd", path=path)
    if useradd is None:
        return None
    argv = [useradd, "--system", "--user-group", "--no-create-home", "--home-dir", "/nonexistent"]
    argv += ["--shell", shutil.which("nologin", path=path) or "/bin/false", _STORED]
    deadline = time.monotonic() + _USERADD_PATIENCE_S
    while (account := _named(_STORED)) is None and time.monotonic() < deadline:
        done = subprocess.run(argv, capture_output=True, check=False, stdin=subprocess.DEVNULL)
        if done.returncode not in {0, *_ANOTHER_IS_AT_IT}:
            return None
        if done.returncode:
            time.sleep(0.1)
    return account
