"""Secrets that the product needs: generated for an embedded database, required for any other."""

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
# Data stored with these cannot be read, or recognized, with others.
_IRREPLACEABLE: Final = frozenset({"ENCRYPTION_KEY", "KEY_PEPPER"})
_OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO


def generated(data_dir: DataDir) -> dict[str, str]:
    """Return the secrets in the data directory, by variable name; empty if there are none.

    Raises SecretsLost if the file cannot be read.
    """
    if not os.access(data_dir.secrets_path, os.R_OK):
        return {}
    try:
        values = dotenv_values(data_dir.secrets_path, interpolate=False)
    except (OSError, ValueError) as exc:  # ValueError: not UTF-8
        raise SecretsLost(
            f"{data_dir.secrets_path} cannot be read: {exc}. Restore it from your backup."
        ) from exc
    return {name: value for name in NAMES if (value := values.get(name))}


def close_to_others(data_dir: DataDir) -> bool:
    """Make the secrets' file private to its owner; True if others had access."""
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
            f"{path} can be read by other accounts (mode {mode:03o}), and only its owner can change"
            f" that; run 'chmod 600 {path}' as the owner."
        ) from exc
    return True


def generate_missing(data_dir: DataDir, already_set: set[str]) -> dict[str, str]:
    """Return the secrets of the data directory, after creating those that neither it nor the
    environment has. Raises SecretsLost.
    """
    kept, missing = generated(data_dir), to_create(data_dir, already_set)
    if missing:
        kept |= {name: secrets.token_hex(32) for name in missing}
        lines = [f"{name}={value}" for name, value in kept.items()]
        header = (
            "# Created by 'messagejs up'. Keep a copy: without it the database cannot be read.\n"
        )
        write_private(data_dir.secrets_path, header + "\n".join(lines) + "\n")
    return {name: value for name, value in kept.items() if name not in already_set}


def to_create(data_dir: DataDir, already_set: set[str]) -> list[str]:
    """Return the secrets that neither the data directory nor the environment has.

    A database without its secrets does not get new ones: its connectors' credentials and keys
    would silently be lost for good. If only JWT_SECRET is lost, users have to log in again. Raises
    SecretsLost.
    """
    kept = generated(data_dir)
    missing = [name for name in NAMES if name not in kept and name not in already_set]
    lost = [name for name in missing if name in _IRREPLACEABLE]
    if lost and _has_database(data_dir):
        raise SecretsLost(
            f"{data_dir.path} holds a database, and {data_dir.secrets_path.name} lacks its"
            f" {', '.join(lost)}. Restore that file from your backup, or set what is missing; to"
            " start over, remove the directory."
        )
    return missing


def _has_database(data_dir: DataDir) -> bool:
    return any((base / "postgres").exists() for base in (data_dir.path, data_dir.path / "servers"))


def require_all(already_set: set[str], names: Sequence[str] = NAMES) -> None:
    """Raise SecretMissing unless every secret is set, for a database that isn't embedded."""
    missing = [name for name in names if name not in already_set]
    if missing:
        recipes = "\n".join(f"  {name}=$(openssl rand -hex 32)" for name in missing)
        raise SecretMissing(
            f"DATABASE_URL is set, so the secrets must be too; {', '.join(missing)}"
            f" {'is' if len(missing) == 1 else 'are'} not. Create each once and keep it, for"
            f" example in .env:\n{recipes}"
        )
