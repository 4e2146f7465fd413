"""Text from outside that looks like Reflex's code is shown as those characters, and is run by
nobody.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final
from uuid import uuid4

import aiohttp
import pytest
from playwright.async_api import expect

from tests.e2e.conftest import Site, Visitor
from tests.plain_http import plain_client

pytestmark = [pytest.mark.browser, pytest.mark.timeout(240)]

MARK: Final = "<reflex.Var>x</reflex.Var>"
_CHOOSE_MODE: Final = "reflex___state____state.messagejs_app___session____session.choose_mode"
_NAMESPACE: Final = "/_event"


class Socket:
    """The dashboard's websocket, spoken by hand as an attacker would."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket

    async def send(self, name: str, payload: dict[str, Any], address: str) -> None:
        path = address.partition("?")[0]
        router = {"pathname": path, "asPath": address, "query": {}}
        event = json.dumps(["event", {"name": name, "payload": payload, "router_data": router}])
        await self._socket.send_str(f"42{_NAMESPACE},{event}")

    async def answers(self) -> AsyncIterator[dict[str, Any]]:
        """The events for the browser, as they come."""
        async for message in self._socket:
            if message.data == "2":
                await self._socket.send_str("3")
            elif message.data.startswith(f"42{_NAMESPACE},"):
                _, update = json.loads(message.data.partition(",")[2])
                body = json.loads(update) if isinstance(update, str) else update
                for event in body.get("events") or ():
                    yield event

    async def answer(self, name: str) -> dict[str, Any]:
        """Wait for the first event of this name; return its payload."""
        async with asyncio.timeout(20):
            async for event in self.answers():
                if event["name"] == name:
                    payload: dict[str, Any] = event["payload"]
                    return payload
        raise AssertionError(f"the socket closed without {name}")


@asynccontextmanager
async def socket_of(site: Site, cookie: str = "") -> AsyncIterator[Socket]:
    url = f"{site.url.replace('http', 'ws')}/_event/?EIO=4&transport=websocket&token={uuid4()}"
    headers = {"Origin": site.url, **({"Cookie": cookie} if cookie else {})}
    async with (
        aiohttp.ClientSession() as session,
        session.ws_connect(url, headers=headers) as socket,
    ):
        await socket.send_str(f"40{_NAMESPACE},")
        async for message in socket:
            if message.data.startswith(f"40{_NAMESPACE}"):
                break
        yield Socket(socket)


async def assert_alive(site: Site) -> None:
    async with plain_client(site.url, timeout=15) as client:
        assert (await client.get("/healthz")).status_code == 200


async def _cookie(visitor: Visitor) -> str:
    await visitor.enter("/auth/register", name="Ada")
    (cookie,) = [
        cooky for cooky in await visitor.context.cookies() if cooky.get("name") == "mjs_session"
    ]
    return f"mjs_session={cookie.get('value')}"


@pytest.mark.parametrize(
    "address", ["/", f"/{MARK}", f"/messages?q={MARK}", "/<reflex.Var>", "/<reflex.Var>1"]
)
async def test_a_strangers_event_is_answered_with_the_log_in_and_stops_nobody(
    site: Site, address: str
) -> None:
    async with socket_of(site) as socket:
        await socket.send(_CHOOSE_MODE, {"mode": "live"}, address)
        command = await socket.answer("_set_value")
        assert command == {"ref": "ref_command", "value": {"do": "sign-in"}}
    await assert_alive(site)


async def test_an_address_that_cannot_be_taken_apart_stops_nobody(site: Site) -> None:
    async with socket_of(site) as socket:
        await socket.send(_CHOOSE_MODE, {"mode": "live"}, "//[")
        await socket.send(_CHOOSE_MODE, {"mode": "live"}, "/")
        await socket.answer("_set_value")
    await assert_alive(site)


async def test_a_socket_with_a_broken_origin_is_a_bad_request(site: Site) -> None:
    url = f"{site.url.replace('http', 'ws')}/_event/?EIO=4&transport=websocket&token={uuid4()}"
    async with aiohttp.ClientSession() as session:
        for origin, status in (("http://[", 400), ("http://evil.example", 403)):
            with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
                await session.ws_connect(url, headers={"Origin": origin})
            assert refused.value.status == status


@pytest.mark.parametrize(
    ("address", "target"),
    [
        (f"/{MARK}", "/"),
        (f"/messages?q={MARK}", "/messages?q=%3Creflex.Var%3Ex%3C%2Freflex.Var%3E"),
        ("/messages?status=failed", "/messages?status=failed"),
        ("/templates/new/", "/templates/new"),
        ("/\\evil.example", "/"),
        ("/no-such-page", "/"),
    ],
)
async def test_changing_the_mode_leads_to_a_page_of_ours_only(
    visitor: Visitor, address: str, target: str
) -> None:
    async with socket_of(visitor.site, await _cookie(visitor)) as socket:
        await socket.send(_CHOOSE_MODE, {"mode": "live"}, address)
        assert (await socket.answer("_redirect"))["path"] == target
    await assert_alive(visitor.site)


@pytest.mark.parametrize(
    "address", ["//evil.example", "https://evil.example/messages", "javascript:alert(1)", ""]
)
async def test_an_address_that_no_page_has_is_not_heard(visitor: Visitor, address: str) -> None:
    async with socket_of(visitor.site, await _cookie(visitor)) as socket:
        await socket.send(_CHOOSE_MODE, {"mode": "live"}, address)
        await socket.send(_CHOOSE_MODE, {"mode": "live"}, "/keys")
        # The first answer is the second event's.
        assert (await socket.answer("_redirect"))["path"] == "/keys"
    await assert_alive(visitor.site)


async def test_a_connectors_name_is_shown_as_it_is_written(visitor: Visitor) -> None:
    page = await visitor.join("/connectors/new?type=sandbox")
    await page.get_by_role("textbox", name="Name", exact=True).fill(MARK)
    await page.get_by_role("button", name="Add connector").click()
    await expect(page.get_by_text(f"{MARK} added. Testing it now.")).to_be_visible()
    await page.goto(f"{visitor.site.url}/connectors")
    row = page.locator("tbody tr", has_text=MARK)
    for choice, words in (("Pause", "is paused"), ("Activate", "is active")):
        await row.get_by_role("button", name="More").click()
        await page.get_by_role("menuitem", name=choice).click()
        await expect(page.get_by_text(f"{MARK} {words}")).to_be_visible()
    await assert_alive(visitor.site)


async def test_a_mail_servers_greeting_is_shown_as_it_was_sent(visitor: Visitor) -> None:
    async def greet(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(f"554 {MARK}\r\n".encode())
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(greet, "127.0.0.1", 0)
    async with server:
        page = await visitor.join("/connectors/new?type=smtp")
        fields = {
            "host": "127.0.0.1",
            "port": str(server.sockets[0].getsockname()[1]),
            "fromAddress": "a@example.com",
        }
        for name, text in fields.items():
            await page.locator(f'[name="credentials.{name}"]').fill(text)
        await page.locator('[name="credentials.security"]').select_option("none")
        await page.get_by_role("button", name="Add connector").click()
        await expect(page.locator(".cfoot")).to_contain_text(MARK)
        await page.goto(f"{visitor.site.url}/connectors")
        await page.locator("tbody tr", has_text="SMTP").get_by_role("button", name="More").click()
        await page.get_by_role("menuitem", name="Test").click()
        toast = page.locator("[data-sonner-toast]")
        await expect(toast).to_contain_text(MARK)
    await assert_alive(visitor.site)


async def test_a_projects_and_a_templates_name_are_shown_as_they_are_written(
    visitor: Visitor,
) -> None:
    page = await visitor.join("/templates/new")
    await page.get_by_role("textbox", name="Name", exact=True).fill(MARK)
    await page.get_by_role("button", name="Create template").click()
    await expect(page.get_by_text(f"{MARK} saved as v1.")).to_be_visible()
    await page.goto(f"{visitor.site.url}/settings")
    await page.get_by_label("Name").first.fill(MARK)
    await page.get_by_role("button", name="Save").first.click()
    await expect(page.get_by_text(f"The project is called {MARK} now.")).to_be_visible()
    await assert_alive(visitor.site)
