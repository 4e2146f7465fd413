"""Delivery receipts on the pages: where callbacks go, and what a late receipt makes of a
message.
"""

from __future__ import annotations

import pytest
from playwright.async_api import expect

from tests.e2e.conftest import Visitor
from tests.plain_http import plain_client
from tests.providers.fakes import Reported, WhatsAppCallbacks

pytestmark = [pytest.mark.browser, pytest.mark.timeout(240)]

WHATSAPP = {
    "phoneNumberId": "123456789",
    "accessToken": "EAAG",
    "appSecret": "app-1",
    "verifyToken": "word-1",
}


async def test_the_callback_url_is_there_to_copy_and_a_late_receipt_in_the_timeline(
    visitor: Visitor,
) -> None:
    await visitor.enter("/auth/register")
    async with plain_client(f"{visitor.site.url}/api/v1", timeout=30) as client:
        login = await client.post(
            "/auth/login", json={"email": visitor.email, "password": visitor.password}
        )
        client.headers["Authorization"] = f"Bearer {login.json()['token']}"
        project = f"/projects/{(await client.get('/projects')).json()['projects'][0]['id']}"
        body = {"type": "whatsapp", "name": "Clinic", "credentials": WHATSAPP}
        connector = (await client.post(f"{project}/connectors", json=body)).json()
        key = (await client.post(f"{project}/keys", json={"name": "Key"})).json()["key"]

        page = await visitor.open(f"/connectors/{connector['id']}")
        url = f"{visitor.site.url}{connector['callbackPath']}"
        await expect(page.locator("#callback-url")).to_have_text(url)
        await expect(page.get_by_text("None has arrived yet")).to_be_visible()
        callback = WhatsAppCallbacks("app-1").request(Reported("wamid.1", "delivered"))
        answer = await client.post(url, content=callback.body, headers=dict(callback.headers))
        assert answer.status_code == 200
        await page.reload()
        await expect(page.get_by_text("receipts are known to arrive")).to_be_visible()

        body = {"to": "sandbox:read-late", "connector": "sandbox", "message": "hi"}
        sent = await client.post("/messages", json=body, headers={"Authorization": f"Bearer {key}"})
        message_id = sent.json()["messageId"]
    await page.goto(f"{visitor.site.url}/messages?id={message_id}")
    for status in ("Sent", "Delivered", "Read"):
        await expect(page.locator(".tl .ev", has_text=status).first).to_be_visible()
