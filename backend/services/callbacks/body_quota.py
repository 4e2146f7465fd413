"""How much of providers' callbacks is kept as it came: a part of each, and so many bytes of a
connector a day.

Anyone who owns a connector signs its callbacks, as many and as long as they like. What a callback
reports counts in any case; its bytes are only there to look something up.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from time import monotonic
from typing import Final
from uuid import UUID

import structlog

log = structlog.get_logger()

LONGEST_BODY_BYTES: Final = 64 * 1024
_DAY_S: Final = 24 * 3600.0
_MOST_KNOWN: Final = 10_000


class BodyQuota:
    """A bucket of `daily_bytes` for each connector, filled again within a day; one process's."""

    def __init__(self, daily_bytes: int, *, clock: Callable[[], float] = monotonic) -> None:
        self._daily_bytes = daily_bytes
        self._clock = clock
        # Connector -> bytes left, and when that was. The one not heard of for longest is forgotten.
        self._left: OrderedDict[UUID, tuple[float, float]] = OrderedDict()

    def kept(self, connector_id: UUID, body: bytes) -> bytes:
        """Return what is kept of the body: nothing, once the connector has used up its bytes."""
        part = body[:LONGEST_BODY_BYTES]
        now = self._clock()
        left, since = self._left.pop(connector_id, (float(self._daily_bytes), now))
        left = min(self._daily_bytes, left + (now - since) * self._daily_bytes / _DAY_S)
        is_within = len(part) <= left
        self._left[connector_id] = (left - len(part) if is_within else left, now)
        if len(self._left) > _MOST_KNOWN:
            self._left.popitem(last=False)
        if not is_within:
            log.info("callback.body_left_out", connector_id=str(connector_id), body_bytes=len(body))
        return part if is_within else b""
