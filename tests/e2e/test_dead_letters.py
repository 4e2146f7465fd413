"""Dead letters and quiet hours in the browser."""

from __future__ import annotations

from typing import Final

import pytest
from playwright.async_api import Page, expect

from tests.e2e.conftest import Site, Visitor, look_at

pytestmark = [pytest.mark.browser, pytest.mark.timeout(240)]

# Three messages for a connector that is deleted before they are due.
_GIVE_UP: Final = """async () => {
    const call = async (method, path, body, headers = {}) => {
        const response = await fetch(`/api/v1${path}`, {
            method, body: body && JSON.stringify(body),
            headers: { "Content-Type": "application/json", ...headers },
        });
        return response.status === 204 ? null : response.json();
    };
    const project = `/projects/${(await call("GET", "/projects")).projects[0].id}`;
    const box = await call(
        "POST", `${project}/connectors`, { type: "sandbox", name: "Old sandbox" });
    const { key } = await call("POST", `${project}/keys`, { name: "Test", mode: "test" });
    const sendAt = new Date(Date.now() + 1500).toISOString();
    for (const to of ["ada", "grace", "edith"]) {
        const body = { to, connectorId: box.id, message: "Hello", sendAt };
        await call("POST", "/messages", body, { Authorization: `Bearer ${key}` });
    }
    await call("DELETE", `${project}/connectors/${box.id}`);
}"""


async def _give_up(page: Page, site: Site) -> None:
    await page.evaluate(_GIVE_UP)
    await page.goto(f"{site.url}/dead-letters")
    await expect(page.get_by_role("heading", name="Dead letters", exact=True)).to_be_visible()
    rows = page.locator("#dead-letters tbody tr")
    for _ in range(20):
        if await rows.count() == 3:
            return
        await page.wait_for_timeout(500)
        await page.reload()
        await expect(page.get_by_role("heading", name="Dead letters", exact=True)).to_be_visible()
        await page.wait_for_timeout(500)
    raise AssertionError(f"{await rows.count()} dead letters")


async def test_they_are_redriven_and_discarded(visitor: Visitor) -> None:
    page = await visitor.join("/dead-letters")
    await _give_up(page, visitor.site)
    await expect(page.get_by_text("Connector gone").first).to_be_visible()
    await look_at(page, "dead-letters")
    await page.get_by_role("checkbox", name="Choose ada").click()
    await page.get_by_role("button", name="Redrive", exact=True).click()
    await expect(page.get_by_text("1 message on the way again.")).to_be_visible()
    await expect(page.locator("#dead-letters tbody tr")).to_have_count(2)
    await page.get_by_role("checkbox", name="Choose grace").click()
    await page.get_by_role("button", name="Discard", exact=True).click()
    await page.get_by_role("dialog").get_by_role("button", name="Discard").click()
    await expect(page.locator("#dead-letters tbody tr")).to_have_count(1)
    await page.get_by_role("button", name="Redrive all").click()
    await page.get_by_role("dialog").get_by_role("button", name="Redrive all").click()
    await expect(page.get_by_role("heading", name="No dead letters")).to_be_visible()
    await page.goto(f"{visitor.site.url}/messages?status=delivered")
    await expect(page.locator("#messages tbody tr")).to_have_count(2)


async def test_quiet_hours_are_set(visitor: Visitor) -> None:
    page = await visitor.join("/settings")
    await page.get_by_role("button", name="Every day").click()
    form = page.locator("form", has=page.locator("#timezone"))
    await page.locator("#start").fill("22:30")
    await page.locator("#timezone").fill("Berlin")
    await form.get_by_role("button", name="Save").click()
    await expect(page.get_by_text("'Berlin' is not an IANA time zone")).to_be_visible()
    await page.locator("#timezone").fill("Europe/Berlin")
    await form.get_by_role("button", name="Save").click()
    await expect(page.get_by_text("Saved. It holds for what is sent from now on.")).to_be_visible()
    await page.reload()
    await expect(page.locator("#start")).to_have_value("22:30")
    await expect(page.locator("#timezone")).to_have_value("Europe/Berlin")
