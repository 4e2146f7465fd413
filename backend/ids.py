"""Ids: UUIDv7 in the database, TypeIDs (`msg_01h...`) everywhere a person sees them.

Source: TypeID specification 0.3 (prefix, underscore, 26 characters of Crockford base32).
"""

from __future__ import annotations

import re
from typing import Final
from uuid import UUID

import uuid_utils.compat as uuid_utils

USER: Final = "usr"
SESSION: Final = "ses"
PROJECT: Final = "proj"
KEY: Final = "key"
CONNECTOR: Final = "conn"
TEMPLATE: Final = "tpl"
ROUTE: Final = "rte"
MESSAGE: Final = "msg"
ATTEMPT: Final = "att"
EVENT: Final = "evt"
AUDIT: Final = "aud"
INVITATION: Final = "inv"
REQUEST: Final = "req"
CAMPAIGN: Final = "camp"

# What follows the prefix and its underscore, as a regular expression.
PATTERN: Final = "[0-7][0-9a-hjkmnp-tv-z]{25}"
_ALPHABET: Final = "0123456789abcdefghjkmnpqrstvwxyz"
# Two characters (10 bits) at a time: 13 lookups instead of 26 for each id on the send path.
_PAIRS: Final = tuple(a + b for a in _ALPHABET for b in _ALPHABET)
_fits: Final = re.compile(PATTERN).fullmatch
# The same digits as Python uses for base 32.
_DIGITS: Final = str.maketrans(_ALPHABET, "0123456789abcdefghijklmnopqrstuv")
_SHIFTS: Final = tuple(range(120, -1, -10))


def new_id() -> UUID:
    """Return a new UUIDv7: ordered by creation time, which is also its partition."""
    return uuid_utils.uuid7()


def encode(prefix: str, value: UUID) -> str:
    """Return the TypeID of `value`, such as `msg_01h455vb4pex5vsknk084sn02q`."""
    number = value.int
    return f"{prefix}_" + "".join([_PAIRS[(number >> shift) & 1023] for shift in _SHIFTS])


def decode(prefix: str, text: str) -> UUID | None:
    """Return the UUID of a TypeID with exactly this prefix, or None when it is not one."""
    head, separator, tail = text.rpartition("_")
    if head != prefix or not separator or _fits(tail) is None:
        return None
    return UUID(int=int(tail.translate(_DIGITS), 32))
