"""Files that only one account may read, written whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path


def write_private(path: Path, text: str) -> None:
    """Replace `path` at once with mode 0600; anyone who owns the directory owns the file, root
    writing or not.
    """
    work = path.with_name(f".{path.name}.{os.getpid()}")
    work.unlink(missing_ok=True)
    with os.fdopen(os.open(work, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    keep_owner(work)
    work.replace(path)


def keep_owner(path: Path) -> None:
    """Give what root made in somebody's directory to that somebody, who could not use it
    otherwise.
    """
    if os.geteuid() == 0:
        owner = path.parent.stat()
        os.chown(path, owner.st_uid, owner.st_gid)
