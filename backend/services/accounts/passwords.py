"""Passwords: bcrypt over a SHA-256 digest, in threads of its own.

bcrypt reads 72 bytes and stops at a NUL; the digest (base64, 44 bytes) makes every byte of a long
password count. Two threads bound what a flood of log-ins can take from the processor.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import bcrypt

MIN_CHARACTERS: Final = 8
MAX_CHARACTERS: Final = 1024
# 2^11 rounds, about 0.1 s; OWASP asks for at least 2^10.
_COST: Final = 11
# A hash of nothing in particular, for accounts that do not exist: the answer takes as long.
_NOBODY: Final = "$2b$11$JAyZmZUPR.DFc8cagV/PZ.JtMkMn27GbRpogOzMm3xgOxgQ48x82K"
_threads = ThreadPoolExecutor(max_workers=2, thread_name_prefix="bcrypt")


async def hash_password(password: str) -> str:
    return await asyncio.get_running_loop().run_in_executor(_threads, _hash, password)


async def verify_password(password: str, password_hash: str | None) -> bool:
    """Tell whether the password is right; None (no such account) is wrong after the same time."""
    return await asyncio.get_running_loop().run_in_executor(_threads, _verify, password, password_hash)


def _hash(password: str) -> str:
    return bcrypt.hashpw(_digest(password), bcrypt.gensalt(_COST)).decode()


def _verify(password: str, password_hash: str | None) -> bool:
    is_right = bcrypt.checkpw(_digest(password), (password_hash or _NOBODY).encode())
    return is_right and password_hash is not None


def _digest(password: str) -> bytes:
    return base64.b64encode(hashlib.sha256(password.encode()).digest())
