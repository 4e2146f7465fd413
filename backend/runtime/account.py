"""Whom the embedded servers run as: ourselves, or an unprivileged account when we are root."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from backend.runtime.errors import NoAccount

_CANDIDATES: Final = ("messagejs", "nobody", "daemon")


@dataclass(frozen=True)
class Account:
    """A passwd entry that root gives its rights up for."""

    name: str
    uid: int
    gid: int

    def popen_options(self) -> dict[str, Any]:
        return {"user": self.uid, "group": self.gid, "extra_groups": ()}

    def own(self, path: Path) -> None:
        os.chown(path, self.uid, self.gid)

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


def server_account(*made_before: Path) -> Account | None:
    """Return the account for the servers, None when we are not root and simply run them ourselves.

    The first of the directories that is not root's tells: what was made stays usable for its owner.
    Postgres refuses root and asks for a passwd entry, so a bare uid will not do.
    """
    if os.geteuid() != 0:
        return None
    import pwd

    for directory in made_before:
        if not directory.exists() or (uid := directory.stat().st_uid) == 0:
            continue
        try:
            entry = pwd.getpwuid(uid)
        except KeyError as exc:
            raise NoAccount(f"{directory} belongs to user id {uid}, which has no passwd entry; give it one.") from exc
        return Account(entry.pw_name, entry.pw_uid, entry.pw_gid)
    for name in _CANDIDATES:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return Account(entry.pw_name, entry.pw_uid, entry.pw_gid)
    raise NoAccount(
        "Postgres does not run as root and there is no unprivileged account "
        f"({', '.join(_CANDIDATES)}); add one with 'useradd --system messagejs' or start as a normal user."
    )
