"""Passwords: bcrypt over a SHA-256 digest, in threads of its own.

bcrypt reads 72 bytes and stops at a NUL; the digest (base64, 44 bytes) makes every byte of a long
password count. Two threads bound what a flood of log-ins can take from the processor.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from importlib.resources import files
from typing import Final

import bcrypt

from backend.errors import FieldError, ValidationFailed

MIN_CHARACTERS: Final = 8
MAX_CHARACTERS: Final = 1024
COMMON: Final = "COMMON_PASSWORD"
# A hash of nothing in particular, for accounts that do not exist: the answer takes as long.
_NOBODY: Final = "$2b${cost:02d}$JAyZmZUPR.DFc8cagV/PZ.JtMkMn27GbRpogOzMm3xgOxgQ48x82K"
_threads = ThreadPoolExecutor(max_workers=2, thread_name_prefix="bcrypt")


def check_new_password(password: str, field: str = "password") -> None:
    """Refuse a password that is too short, too long, or one that everybody tries first.

    Raises ValidationFailed.
    """
    if not MIN_CHARACTERS <= len(password) <= MAX_CHARACTERS:
        message = f"Use a password of {MIN_CHARACTERS} to {MAX_CHARACTERS} characters."
        raise ValidationFailed(errors=[FieldError(field, "VALIDATION_ERROR", message)])
    if password.strip().lower() in _common_passwords():
        message = "This password is one of the most used, and guessed first; choose another."
        raise ValidationFailed(errors=[FieldError(field, COMMON, message)])


@lru_cache(maxsize=1)
def _common_passwords() -> frozenset[str]:
    """The 8,000 most used ones that are long enough, lower-cased; from Django's list (BSD
    licence).
    """
    text = (files(__package__) / "common_passwords.txt").read_text(encoding="ascii")
    return frozenset(text.splitlines())


async def hash_password(password: str, *, cost: int) -> str:
    """Hash in 2^cost rounds: about 0.1 s at 11; OWASP asks for 10 or more."""
    return await asyncio.get_running_loop().run_in_executor(_threads, _hash, password, cost)


async def verify_password(password: str, password_hash: str | None, *, cost: int) -> bool:
    """Tell whether the password is right; None (no such account) is wrong after the time of a hash
    of `cost`.
    """
    expected = password_hash or _NOBODY.format(cost=cost)
    is_right = await asyncio.get_running_loop().run_in_executor(
        _threads, _verify, password, expected
    )
    return is_right and password_hash is not None


def costs(password_hash: str, cost: int) -> bool:
    """Tell whether it was made with this cost; if not, the next log-in is the time to make it
    again.
    """
    return password_hash.startswith(f"$2b${cost:02d}$")


def _hash(password: str, cost: int) -> str:
    return bcrypt.hashpw(_digest(password), bcrypt.gensalt(cost)).decode()


def _verify(password: str, password_hash: str) -> bool:
    return bcrypt.checkpw(_digest(password), password_hash.encode())


def _digest(password: str) -> bytes:
    return base64.b64encode(hashlib.sha256(password.encode()).digest())
