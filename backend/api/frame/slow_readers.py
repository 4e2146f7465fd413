"""Answers that are not read: how much of this process's memory they may hold, and for how long.

The web server takes an answer at once and keeps it until its reader has it, so the application
never learns that a client doesn't read. The rule is that of bodies that arrive (`slow_bodies`), the
other way round: while something is queued for a connection, its reader has BODY_TIMEOUT_S, and a
second more for each BODY_BYTES_PER_S that it has acknowledged since; over SLOW_BODIES_PER_ADDRESS
connections of one address, the latest are shut down. A connection that has drained starts over.
Only Linux says what is queued; on other systems nothing is done.
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
from backend.api.frame.slow_bodies import TransferLimits
from backend.api.frame.sockets import CHECK_EVERY_S, duplicate, is_accepted
from backend.services.limits.subjects import network_of

log = structlog.get_logger()

_SIOCOUTQ: Final = 0x5411  # Linux: bytes written and not yet acknowledged
_BYTES_ACKED_AT: Final = 120  # tcpi_bytes_acked in Linux's struct tcp_info
_TCP_INFO_BYTES: Final = _BYTES_ACKED_AT + 8
# Data that has been queued for less is on its way, not slow.
_SLOW_AFTER_S: Final = 2.0
# Descriptor and peer: the next connection gets the same descriptor.
_Id = tuple[int, Any]


@dataclass(slots=True)
class _Reader:
    """A connection with something queued, since that was first seen."""

    address: str
    acknowledged_before: int
    acknowledged: int
    age_s: float = 0.0
    is_shut: bool = False

    def is_late(self, limits: TransferLimits) -> bool:
        if not limits.body_timeout_s:
            return False
        read = self.acknowledged - self.acknowledged_before
        if read and not limits.body_bytes_per_s:
            return False
        earned_s = read / limits.body_bytes_per_s if read else 0
        return self.age_s > limits.body_timeout_s + earned_s


class SlowReaders:
    """Shuts down connections to `port` whose readers are too slow, or too many from one address."""

    def __init__(
        self,
        port: int,
        limits: TransferLimits,
        proxies: TrustedProxies,
        *,
        check_every_s: float = CHECK_EVERY_S,
    ) -> None:
        self._port = port
        self._limits = limits
        self._proxies = proxies
        self._check_every_s = check_every_s
        self._readers: dict[_Id, _Reader] = {}

    def check(self, descriptors: list[int]) -> None:
        if sys.platform != "linux":
            return
        readers: dict[_Id, _Reader] = {}
        for descriptor in descriptors:
            # One cheap call for the drained ones, which are nearly all.
            if _queued(descriptor):
                with suppress(OSError), duplicate(descriptor) as connection:
                    self._measure(descriptor, connection, readers)
        self._readers = readers
        if readers:
            self._shut(self._excess())

    def _measure(
        self, descriptor: int, connection: socket.socket, readers: dict[_Id, _Reader]
    ) -> None:
        if not is_accepted(connection, self._port):
            return
        acknowledged = _acknowledged(connection)
        if acknowledged is None:
            return
        peer = connection.getpeername()
        reader = self._readers.get((descriptor, peer))
        if reader is None:
            reader = _Reader(peer[0], acknowledged, acknowledged)
        else:
            # By checks, not by the clock: a machine that was asleep read nothing either.
            reader.age_s += self._check_every_s
            reader.acknowledged = acknowledged
        readers[descriptor, peer] = reader

    def _excess(self) -> list[_Id]:
        """Return the readers that are too late, and those over the limit of their address."""
        excess: list[_Id] = []
        slow: dict[str, list[_Id]] = {}
        for id_, reader in self._readers.items():
            if reader.is_shut:
                continue
            if reader.is_late(self._limits):
                excess.append(id_)
            elif reader.age_s > _SLOW_AFTER_S and reader.address not in self._proxies:
                slow.setdefault(network_of(reader.address), []).append(id_)
        if limit := self._limits.slow_bodies_per_address:
            for ids in slow.values():
                oldest_first = sorted(ids, key=lambda id_: (-self._readers[id_].age_s, id_[0]))
                excess += oldest_first[limit:]
        return excess

    def _shut(self, ids: list[_Id]) -> None:
        shut: Counter[str] = Counter()
        for descriptor, peer in ids:
            reader = self._readers[descriptor, peer]
            # By now the number may belong to another connection.
            with suppress(OSError), duplicate(descriptor) as connection:
                if is_accepted(connection, self._port) and connection.getpeername() == peer:
                    connection.shutdown(socket.SHUT_RDWR)
                    reader.is_shut = True
                    shut[network_of(reader.address)] += 1
        for network, count in shut.items():
            log.warning(
                "connections.slow_readers_closed",
                network=network,
                count=count,
                remedy=(
                    "read answers as they arrive, or raise BODY_TIMEOUT_S or"
                    " SLOW_BODIES_PER_ADDRESS"
                ),
            )


def _queued(descriptor: int) -> int:
    """Return the bytes that the other end has not acknowledged; 0 for what isn't a connection."""
    try:
        (queued,) = struct.unpack("i", ioctl(descriptor, _SIOCOUTQ, bytes(4)))
    except OSError:
        return 0
    return int(queued)


def _acknowledged(connection: socket.socket) -> int | None:
    """Return the bytes acknowledged so far, None where the kernel does not count them."""
    info = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO_BYTES)
    if len(info) < _TCP_INFO_BYTES:
        return None
    (acknowledged,) = struct.unpack_from("Q", info, _BYTES_ACKED_AT)
    return int(acknowledged)
