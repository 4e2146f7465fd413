"""Which account the embedded servers run as: ours, or an unprivileged one when we are root."""

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

_ACCOUNT: Final = "messagejs"
_SHARED: Final = ("nobody", "daemon")
_REMEDY: Final = "useradd --system messagejs"
_USERADD_PATIENCE_S: Final = 5.0
# useradd's exit codes: cannot lock the files; the name was just taken by another process.
_ANOTHER_WAS_QUICKER: Final = frozenset({1, 9})


@dataclass(frozen=True)
class Account:
    """A passwd entry that root drops its privileges to."""

    name: str
    uid: int
    gid: int

    @property
    def is_shared(self) -> bool:
        """Whether other services may use the account too."""
        return self.name in _SHARED

    @property
    def warning(self) -> str:
        """What to say about it; empty when only the servers use it."""
        if not self.is_shared:
            return ""
        return (
            f"the database and Valkey run as '{self.name}', and so may other services, which can"
            f" read their files; create an account for them with '{_REMEDY}' and start again"
        )

    def popen_options(self) -> dict[str, Any]:
        return {"user": self.uid, "group": self.gid, "extra_groups": ()}

    def give(self, path: Path) -> None:
        """Make the account the owner of `path`."""
        os.chown(path, self.uid, self.gid, follow_symlinks=False)

    def take_over(self, path: Path) -> None:
        """Take a file, or a directory with its contents, from the shared account that owned it.

        Links are not followed, and a file with several names is left alone: one of them may be
        elsewhere.
        """
        owner = _owner(path)
        if owner is None or owner.uid == self.uid or not owner.is_shared:
            return
        for directory, _, names in os.walk(path):
            for name in names:
                if (entry := Path(directory, name)).lstat().st_nlink == 1:
                    self.give(entry)
            self.give(Path(directory))

    def may_traverse(self, path: Path) -> bool:
        """Whether this account can reach `path`: it may enter every directory above it."""
        return all(self._may_enter(directory) for directory in path.resolve().parents)

    def _may_enter(self, directory: Path) -> bool:
        try:
            info = directory.stat()
        except FileNotFoundError:  # not created yet; it will be ours
            return True
        if info.st_uid == self.uid:
            return bool(info.st_mode & stat.S_IXUSR)
        if info.st_gid == self.gid:
            return bool(info.st_mode & stat.S_IXGRP)
        return bool(info.st_mode & stat.S_IXOTH)


def server_account(*directories: Path, create: bool = False) -> Account | None:
    """Return the account for the servers, None when we are not root and run them ourselves.

    It is theirs alone, created now if need be and `create`: an account shared with other services
    would let these read the database's files and signal its processes. If one of the `directories`
    exists and belongs to neither root nor a shared account, its owner is the account, so that the
    files stay usable. Postgres refuses root and needs a passwd entry, so a bare uid will not do.
    """
    if os.geteuid() != 0:
        return None
    for directory in directories:
        owner = _owner(directory)
        if owner is not None and owner.name not in _SHARED:
            return owner
    account = _named(_ACCOUNT)
    if account is None and create:
        account = _create()
    if account is None:
        account = next(filter(None, map(_named, _SHARED)), None)
    if account is None:
        raise NoAccount(
            "Postgres does not run as root and there is no unprivileged account "
            f"({', '.join((_ACCOUNT, *_SHARED))}); add one with '{_REMEDY}', or"
            " start as a normal user."
        )
    return account


def _owner(directory: Path) -> Account | None:
    """Return who owns the directory; None when it is root or the directory doesn't exist."""
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


def _create() -> Account | None:
    """Add the system account; None where that isn't possible: no useradd, /etc read-only."""
    path = os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin", "/sbin"))
    useradd = shutil.which("useradd", path=path)
    if useradd is None:
        return None
    argv = [useradd, "--system", "--user-group", "--no-create-home", "--home-dir", "/nonexistent"]
    argv += ["--shell", shutil.which("nologin", path=path) or "/bin/false", _ACCOUNT]
    deadline = time.monotonic() + _USERADD_PATIENCE_S
    while (account := _named(_ACCOUNT)) is None and time.monotonic() < deadline:
        done = subprocess.run(argv, capture_output=True, check=False, stdin=subprocess.DEVNULL)
        if done.returncode not in {0, *_ANOTHER_WAS_QUICKER}:
            return None
        if done.returncode:
            time.sleep(0.1)
    return account
