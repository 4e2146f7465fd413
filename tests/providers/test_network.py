"""Which addresses a tenant may name."""

from __future__ import annotations

import asyncio

import pytest

from backend.providers.frame.network import (
    AddressRefused,
    check_host_literal,
    connect_checked,
    is_public,
    resolve_checked,
)
from tests.providers.fakes import FaultServer

PRIVATE = [
    "127.0.0.1", "127.255.0.1", "10.0.0.5", "172.16.3.4", "192.168.1.1", "169.254.169.254",
    "100.100.100.200", "0.0.0.0", "255.255.255.255", "224.0.0.1", "240.0.0.1", "198.18.0.1",
    "168.63.129.16", "192.0.0.192", "::", "::1", "fe80::1", "fe80::1%eth0", "fc00::1",
    "fd00:ec2::254", "fec0::1", "ff02::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "64:ff9b::7f00:1",
    "64:ff9b::a9fe:a9fe", "2002:7f00:1::", "2002:a00:1::1", "2001:db8::1", "not-an-address", "",
]  # fmt: skip
PUBLIC = [
    "1.1.1.1",
    "8.8.8.8",
    "2606:4700:4700::1111",
    "::ffff:8.8.8.8",
    "64:ff9b::808:808",
    "2002:808:808::1",
]


@pytest.mark.parametrize("address", PRIVATE)
def test_private_addresses_are_not_public(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("address", PUBLIC)
def test_other_addresses_are_public(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "[::1]", "127.1", "2130706433", "0x7f000001", "017700000001"]
)
def test_a_literal_is_checked_without_the_resolver(host: str) -> None:
    with pytest.raises(AddressRefused) as caught:
        check_host_literal(host)
    assert host in str(caught.value)
    check_host_literal(host, allow_private=True)


def test_a_name_is_left_to_the_resolver() -> None:
    check_host_literal("example.com")
    check_host_literal("8.8.8.8")


async def test_a_name_of_a_private_address_is_refused_without_showing_the_address() -> None:
    with pytest.raises(AddressRefused) as caught:
        await resolve_checked("localhost", 25, allow_private=False)
    assert "127.0.0.1" not in str(caught.value)
    addresses = await resolve_checked("localhost", 25, allow_private=True)
    assert {address["host"] for address in addresses} <= {"127.0.0.1", "::1"}


async def test_we_connect_to_the_checked_address() -> None:
    async with FaultServer("hang") as server:
        connection = await connect_checked("localhost", server.port, allow_private=True)
        with connection:
            assert connection.getpeername() == ("127.0.0.1", server.port)
        await asyncio.sleep(0)
        with pytest.raises(AddressRefused):
            await connect_checked("127.0.0.1", server.port, allow_private=False)
