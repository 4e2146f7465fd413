"""Answers that are not read: what they may hold of this process's memory, and for how long.

The web server takes an answer at once and keeps it until its reader has it, so the application
never learns of one who does not read. The rule is that of bodies that arrive (`intake`), the other
way round: while something is queued for a connection, its reader has BODY_TIMEOUT_S, and a second
more for each BODY_BYTES_PER_S that it acknowledged since; over SLOW_BODIES_PER_ADDRESS connections
of one address, the latest are shut down. What drains starts afresh. Only Linux tells what is
queued; elsewhere nothing is done.
"""

from __future__ import annotations

import socket
import struct
import sys
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from fcntl import ioctl
from typing import Any, Final

import structlog

from backend.api.frame.proxies import TrustedProxies
from backend.api.frame.slow_bodies import IntakeLimits
from backend.api.frame.sockets import LOOK_EVERY_S, borrowed, is_accepted
from backend.services.limits.logins import network_of

log = structlog.get_logger()

_SIOCOUTQ: Final = 0x5411  # Linux: bytes written and not yet acknowledged
_BYTES_ACKED_AT: Final = 120  # tcpi_bytes_acked in Linux's struct tcp_info
_TCP_INFO_BYTES: Final = _BYTES_ACKED_AT + 8
# What was queued for no longer is on its way, not slow.
_SLOW_AFTER_S: Final = 2.0
# A number is given again to the next connection, so the other end is part of it.
_Id = tuple[int, Any]


@dataclass(slots=True)
class _Reader:
    """A connection with something queued, since it was first seen so."""

    address: str
    acknowledged_before: int
    acknowledged: int
    age_s: float = 0.0
    is_shut: bool = False

    def is_late(self, limits: IntakeLimits) -> bool:
        if not limits.body_timeout_s:
            return False
        read = self.acknowledged - self.acknowledged_before
        if read and not limits.body_bytes_per_s:
            return False
        return self.age_s > limits.body_timeout_s + (read / limits.body_bytes_per_s if read else 0)


class SlowReaders:
    """Shuts down accepted connections to `port` whose readers are too slow, or too many of one
    address.
    """

    def __init__(
        self,
        port: int,
        limits: IntakeLimits,
        proxies: TrustedProxies,
        *,
        look_every_s: float = LOOK_EVERY_S,
    ) -> None:
        self._port = port
        self._limits = limits
        self._proxies = proxies
        self._look_every_s = look_every_s
        self._readers: dict[_Id, _Reader] = {}

    def look(self, descriptors: list[int]) -> None:
        if sys.platform != "linux":
            return
        readers: dict[_Id, _Reader] = {}
        for descriptor in descriptors:
            # One cheap call for those that have drained, which are nearly all.
            if _queued(descriptor):
                with suppress(OSError), borrowed(descriptor) as connection:
                    self._see(descriptor, connection, readers)
        self._readers = readers
        if readers:
            self._check()

    def _see(self, descriptor: int, connection: socket.socket, readers: dict[_Id, _Reader]) -> None:
        if not is_accepted(connection, self._port):
            return
        acknowledged = _acknowledged(connection)
        if acknowledged is None:
            return
        peer = connection.getpeername()
        known = self._readers.get((descriptor, peer))
        if known is None:
            known = _Reader(peer[0], acknowledged, acknowledged)
        else:
            # By looks, not by the clock: a machine that was asleep read nothing either.
            known.age_s += self._look_every_s
            known.acknowledged = acknowledged
        readers[descriptor, peer] = known

    def _check(self) -> None:
        late: list[_Id] = []
        slow: dict[str, list[_Id]] = {}
        for place, reader in self._readers.items():
            if reader.is_shut:
                continue
            if reader.is_late(self._limits):
                late.append(place)
            elif reader.age_s > _SLOW_AFTER_S and reader.address not in self._proxies:
                slow.setdefault(network_of(reader.address), []).append(place)
        most = self._limits.slow_bodies_per_address
        for places in slow.values() if most else ():
            late += sorted(places, key=lambda place: (-self._readers[place].age_s, place[0]))[most:]
        self._shut(late)

    def _shut(self, places: list[_Id]) -> None:
        shut: Counter[str] = Counter()
        for place in places:
            reader = self._readers[place]
            # It may be another connection's number by now.
            with suppress(OSError), borrowed(place[0]) as connection:
                if is_accepted(connection, self._port) and connection.getpeername() == place[1]:
                    connection.shutdown(socket.SHUT_RDWR)
                    reader.is_shut = True
                    shut[network_of(reader.address)] += 1
        for network, count in shut.items():
            log.warning(
                "connections.slow_readers_closed",
                network=network,
                count=count,
                remedy=(
                    "read answers as they come; else raise BODY_TIMEOUT_S or"
                    " SLOW_BODIES_PER_ADDRESS"
                ),
            )


def _queued(descriptor: int) -> int:
    """Return the bytes that the other end has not acknowledged; 0 for what is no connection."""
    try:
        (queued,) = struct.unpack("i", ioctl(descriptor, _SIOCOUTQ, bytes(4)))
    except OSError:
        return 0
    return int(queued)


def _acknowledged(connection: socket.socket) -> int | None:
    """Return the bytes acknowledged since it was opened, None where the kernel does not count
    them.
    """
    info = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO_BYTES)
    if len(info) < _TCP_INFO_BYTES:
        return None
    (acknowledged,) = struct.unpack_from("Q", info, _BYTES_ACKED_AT)
    return int(acknowledged)
