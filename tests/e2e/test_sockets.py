"""The dashboard's socket at a real server: what a log-out ends, and what the log keeps of hostile
events.
"""

from __future__ import annotations

import json
import re
from uuid import uuid4

import aiohttp
import pytest
from playwright.async_api import expect

from tests.e2e.conftest import Site, Visitor

pytestmark = pytest.mark.browser


async def test_a_log_out_ends_every_tab_of_it(visitor: Visitor) -> None:
    page = await visitor.join("/settings")
    other = await visitor.open("/messages")
    await expect(page.get_by_text(visitor.email).first).to_be_visible()
    await expect(other.get_by_role("heading", name="Messages", exact=True)).to_be_visible()
    await page.get_by_role("button", name="Your account").click()
    await page.get_by_role("menuitem", name="Sign out").click()
    await expect(page).to_have_url(re.compile(r"/login"))
    await expect(other).to_have_url(re.compile(r"/login/?\?next=%2Fmessages"))


async def test_a_hostile_socket_learns_nothing_and_leaves_nothing_in_the_log(
    visitor: Visitor, site: Site
) -> None:
    await visitor.enter("/auth/register", name="Ada")
    (cookie,) = [
        cooky for cooky in await visitor.context.cookies() if cooky.get("name") == "mjs_session"
    ]
    secret = f"password-{uuid4().hex}"
    headers = {"Cookie": f"mjs_session={cookie.get('value')}", "Origin": site.url}
    url = f"{site.url.replace('http', 'ws')}/_event/?EIO=4&transport=websocket&token={uuid4()}"
    async with aiohttp.ClientSession() as session:
        for sent in (headers, {"Origin": site.url}):
            async with session.ws_connect(url, headers=sent) as socket:
                await socket.receive_str()
                await socket.send_str("40/_event,")
                assert (await socket.receive_str()).startswith("40/_event")
                for name in ("no.such.event", "reflex___state____state.setvar"):
                    event = {
                        "name": name,
                        "payload": {"password": secret},
                        "router_data": {"pathname": "/"},
                    }
                    await socket.send_str(f"42/_event,{json.dumps(['event', event])}")
                await socket.send_str(f"42/_event,{json.dumps(['event', secret])}")
                await socket.send_str('42/_event,["ping"]')
                assert await socket.receive_str() == '42/_event,["ping","pong"]'
            async with session.ws_connect(url, headers=sent) as socket:
                await socket.receive_str()
                await socket.send_str("4" + "2" * 1_000_000)
                assert (await socket.receive()).type in {
                    aiohttp.WSMsgType.CLOSE,
                    aiohttp.WSMsgType.CLOSED,
                }
        async with session.get(f"{site.url}/healthz") as answer:
            assert answer.status == 200
    log = site.log_path.read_text()
    assert secret not in log
    assert str(cookie.get("value")) not in log
