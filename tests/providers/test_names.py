"""Name look-ups: a DNS that doesn't answer delays its own names only."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections import Counter
from collections.abc import Iterator

import pytest

from backend.providers.frame.names import Address, NameLookups
from backend.providers.frame.network import AddressRefused, resolve_checked

ADDRESS = Address(socket.AF_INET, socket.IPPROTO_TCP, "192.0.2.1")


class SlowDns:
    """Names under `dead` get no answer until `release`; the others get theirs at once."""

    def __init__(self) -> None:
        self.asked: Counter[str] = Counter()
        self.release = threading.Event()
        self.dead: set[str] = set()

    def __call__(self, name: str) -> list[Address]:
        self.asked[name] += 1
        if name in self.dead or name.endswith(".dead.example"):
            self.release.wait(60)
            raise socket.gaierror(socket.EAI_AGAIN, "no answer")
        if name.startswith("none."):
            raise socket.gaierror(socket.EAI_NONAME, "no such name")
        return [ADDRESS]


@pytest.fixture
def dns() -> Iterator[SlowDns]:
    dns = SlowDns()
    yield dns
    dns.release.set()


async def _fails(names: NameLookups, name: str) -> socket.gaierror:
    with pytest.raises(socket.gaierror) as caught:
        await names.addresses(name)
    return caught.value


async def test_names_without_an_answer_delay_neither_resolved_names_nor_other_threads(
    dns: SlowDns,
) -> None:
    names = NameLookups(dns, threads=8, deadline_s=0.3, stuck_s=0.1)
    assert await names.addresses("good.example") == [ADDRESS]
    failures = await asyncio.gather(
        *(_fails(names, f"h{number}.dead.example") for number in range(20))
    )
    assert {failure.errno for failure in failures} == {socket.EAI_AGAIN}
    assert (
        sum(dns.asked[f"h{number}.dead.example"] for number in range(20)) == 4
    )  # half of the threads
    assert await names.addresses("Good.example") == [ADDRESS]
    assert dns.asked["good.example"] == 2
    assert await names.addresses("localhost") == [ADDRESS]
    assert await names.addresses("api.example", is_trusted=True) == [ADDRESS]
    assert [address.host for address in await names.addresses("127.0.0.1")] == ["127.0.0.1"]
    assert await asyncio.to_thread(threading.get_ident)


async def test_a_new_name_fails_at_once_while_the_threads_are_stuck_and_is_asked_later(
    dns: SlowDns,
) -> None:
    names = NameLookups(dns, threads=8, deadline_s=0.3, stuck_s=0.1)
    await asyncio.gather(*(_fails(names, f"h{number}.dead.example") for number in range(4)))
    busy = await _fails(names, "new.example")
    assert (busy.errno, dns.asked["new.example"]) == (socket.EAI_AGAIN, 0)
    dns.release.set()
    async with asyncio.timeout(10):
        while True:
            try:
                assert await names.addresses("new.example") == [ADDRESS]
                break
            except socket.gaierror:
                await asyncio.sleep(0.05)


async def test_a_name_is_looked_up_once_for_all_waiters_in_a_single_thread(
    dns: SlowDns,
) -> None:
    names = NameLookups(dns, threads=8, deadline_s=0.2)
    await asyncio.gather(*(_fails(names, "h.dead.example") for _ in range(10)))
    await _fails(names, "H.dead.example")
    assert dns.asked == {"h.dead.example": 1}


async def test_a_failed_name_is_not_looked_up_again_soon(dns: SlowDns) -> None:
    names = NameLookups(dns)
    for _ in range(3):
        assert (await _fails(names, "none.example")).errno == socket.EAI_NONAME
    assert dns.asked["none.example"] == 1


async def test_the_last_addresses_are_used_while_a_dns_does_not_answer(
    dns: SlowDns,
) -> None:
    names = NameLookups(dns, threads=8, deadline_s=0.2)
    await names.addresses("good.example")
    dns.dead.add("good.example")
    for _ in range(3):
        assert await names.addresses("good.example") == [ADDRESS]
    assert dns.asked["good.example"] == 2


async def test_a_waiter_that_gives_up_leaves_the_answer_to_the_others(dns: SlowDns) -> None:
    names = NameLookups(dns, threads=8)
    dns.dead.add("slow.example")
    first = asyncio.create_task(names.addresses("slow.example"))
    second = asyncio.create_task(_fails(names, "slow.example"))
    await asyncio.sleep(0.05)
    first.cancel()
    await asyncio.wait([first])
    dns.release.set()
    assert (await second).args == (socket.EAI_AGAIN, "no answer")


async def test_addresses_are_still_checked(dns: SlowDns) -> None:
    names = NameLookups(lambda _: [Address(socket.AF_INET, socket.IPPROTO_TCP, "10.0.0.5")])
    with pytest.raises(AddressRefused):
        await resolve_checked("inner.example", 25, allow_private=False, names=names)
    (result,) = await resolve_checked("inner.example", 25, allow_private=True, names=names)
    assert (result["host"], result["port"]) == ("10.0.0.5", 25)
