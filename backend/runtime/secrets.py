"""Secrets the product cannot do without: generated beside the embedded database, demanded
everywhere else.
"""

from __future__ import annotations

import os
import secrets
import stat
from collections.abc import Sequence
from typing import Final

from dotenv import dotenv_values

from backend.runtime.datadir import DataDir
from backend.runtime.errors import SecretMissing, SecretsLost, SecretsOpen
from backend.runtime.private_files import write_private

NAMES: Final = ("JWT_SECRET", "ENCRYPTION_KEY", "KEY_PEPPER")
# What is stored under these cannot be read, or recognised, with others.
_IRREPLACEABLE: Final = frozenset({"ENCRYPTION_KEY", "KEY_PEPPER"})
_OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO


def generated(data_dir: DataDir) -> dict[str, str]:
    """Return the secrets kept in the data directory, by variable name; none is an empty dict."""
    if not os.access(data_dir.secrets_path, os.R_OK):
        return {}
    result = dotenv_values(data_dir.secrets_path, interpolate=False)
    return {name: value for name in NAMES if (value := result.get(name))}


def close_to_others(data_dir: DataDir) -> bool:
    """Take the rights on the secrets' file from everybody but its owner; True: somebody else had
    some.
    """
    path = data_dir.secrets_path
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
        if not mode & _OTHERS:
            return False
        path.chmod(mode & ~_OTHERS)
    except FileNotFoundError:
        return False
    except PermissionError as exc:
        raise SecretsOpen(
            f"{path} can be read by other accounts (mode {mode:03o}), and only its owner may change"
            f" that; run 'chmod 600 {path}' as the owner."
        ) from exc
    return True


def generate_missing(data_dir: DataDir, already_set: set[str]) -> dict[str, str]:
    """Return the secrets of the data directory, having made those that neither it nor the
    environment has.

    A database without its secrets is not given new ones: its connectors' credentials and keys
    would be lost for good, and silently. Without JWT_SECRET alone people log in again, and no more.
    """
    kept = generated(data_dir)
    names = [name for name in NAMES if name not in kept and name not in already_set]
    lost = [name for name in names if name in _IRREPLACEABLE]
    if lost and _has_database(data_dir):
        raise SecretsLost(
            f"{data_dir.path} holds a database, and {data_dir.secrets_path.name} lacks its"
            f" {', '.join(lost)}. Restore that file from your backup or set what is missing; to"
            " begin again, remove the directory."
        )
    if names:
        kept |= {name: secrets.token_hex(32) for name in names}
        lines = [f"{name}={value}" for name, value in kept.items()]
        header = "# Made by 'messagejs up'. Keep a copy: without it the database cannot be read.\n"
        write_private(data_dir.secrets_path, header + "\n".join(lines) + "\n")
    return {name: value for name, value in kept.items() if name not in already_set}


def _has_database(data_dir: DataDir) -> bool:
    return any((base / "postgres").exists() for base in (data_dir.path, data_dir.path / "servers"))


def require_all(already_set: set[str], names: Sequence[str] = NAMES) -> None:
    """Raise SecretMissing unless every secret is set; for a database that is not ours to keep
    secrets for.
    """
    missing = [name for name in names if name not in already_set]
    if missing:
        recipes = "\n".join(f"  {name}=$(openssl rand -hex 32)" for name in missing)
        raise SecretMissing(
            f"DATABASE_URL is set, so the secrets must be too; {', '.join(missing)}"
            f" {'is' if len(missing) == 1 else 'are'} not. Make each once and keep it, for example"
            f" in .env:\n{recipes}"
        )
