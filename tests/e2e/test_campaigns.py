"""A campaign from the file to its end, in the browser."""

from __future__ import annotations

from typing import Literal

import pytest
from playwright.async_api import Browser, FilePayload, Page, expect

from tests.e2e.conftest import SHOTS, Site, Visitor

pytestmark = [pytest.mark.browser, pytest.mark.timeout(240)]

TABLE = "phone,first name,city\n+14155550100,Ada,London\n+14155550101,,Paris\n+14155550102,Grace,\n"


async def _upload(page: Page, visitor: Visitor) -> None:
    await page.goto(f"{visitor.site.url}/campaigns")
    await expect(page.get_by_role("heading", name="No campaigns")).to_be_visible()
    file = FilePayload(name="spring.csv", mimeType="text/csv", buffer=TABLE.encode())
    await page.locator("[data-campaign-file]").set_input_files(file)
    await expect(page.get_by_role("heading", name="spring")).to_be_visible()


async def _write(page: Page) -> None:
    await page.get_by_role("button", name="Text", exact=True).click()
    await page.locator("#message").fill("Hello {{first_name}}")
    await expect(page.get_by_label("first_name")).to_have_value("first name")
    await expect(page.get_by_label("Recipient")).to_have_value("phone")
    await page.get_by_role("button", name="Check rows").click()
    await expect(page.get_by_text("1 row cannot be sent. 2 of 3 rows would be sent.")).to_be_visible()
    await expect(page.get_by_role("cell", name="The row has no value for 'first_name'.")).to_be_visible()
    await expect(page.get_by_text("Hello Ada")).to_be_visible()


async def test_a_file_is_checked_and_sent(visitor: Visitor) -> None:
    page = await visitor.register()
    await _upload(page, visitor)
    await _write(page)
    await page.get_by_role("button", name="Send 3 rows").click()
    await expect(page.locator(".st", has_text="Completed")).to_be_visible()
    await expect(page.get_by_text("2 of 3 rows accepted")).to_be_visible()
    await expect(page.locator(".st", has_text="Delivered")).to_be_visible()
    await page.get_by_role("link", name="Messages").last.click()
    await expect(page.locator("#messages tbody tr")).to_have_count(2)


async def test_a_file_that_is_no_table_is_said_on_the_page(visitor: Visitor) -> None:
    page = await visitor.register()
    await page.goto(f"{visitor.site.url}/campaigns")
    await expect(page.get_by_role("heading", name="No campaigns")).to_be_visible()
    file = FilePayload(name="x.csv", mimeType="text/csv", buffer=b"phone,phone\n1,2\n")
    await page.locator("[data-campaign-file]").set_input_files(file)
    await expect(page.get_by_role("alert")).to_contain_text("Two columns are called 'phone'")
    visitor.troubles = [one for one in visitor.troubles if "400" not in one]  # the browser's own line for a refusal


@pytest.mark.parametrize(("width", "scheme"), [(1440, "light"), (390, "dark")])
async def test_its_pages_fit(browser: Browser, site: Site, width: int, scheme: Literal["light", "dark"]) -> None:
    context = await browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
    visitor = Visitor(context, site)
    page = await visitor.register()
    SHOTS.mkdir(exist_ok=True)
    await _upload(page, visitor)
    await _write(page)
    await _fits(page, f"campaign-draft-{width}-{scheme}", width)
    await page.get_by_role("button", name="Send 3 rows").click()
    await expect(page.locator(".st", has_text="Completed")).to_be_visible()
    await _fits(page, f"campaign-{width}-{scheme}", width)
    await page.goto(f"{site.url}/campaigns")
    await expect(page.get_by_role("link", name="spring")).to_have_count(1)
    await _fits(page, f"campaigns-{width}-{scheme}", width)
    await context.close()
    assert visitor.troubles == []


async def _fits(page: Page, name: str, width: int) -> None:
    await page.screenshot(path=SHOTS / f"{name}.png", full_page=width < 800)
    wide = await page.evaluate("document.documentElement.scrollWidth")
    assert wide <= width, f"{name} is {wide} px wide"
