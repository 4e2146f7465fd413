"""A campaign from the file to its end, in the browser."""

from __future__ import annotations

import pytest
from playwright.async_api import FilePayload, Page, expect

from tests.e2e.conftest import Visitor, look_at

pytestmark = [pytest.mark.browser, pytest.mark.timeout(240)]

TABLE = "phone,first name,city\n+14155550100,Ada,London\n+14155550101,,Paris\n+14155550102,Grace,\n"


async def _upload(page: Page) -> None:
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
    await expect(
        page.get_by_text("1 row cannot be sent. 2 of 3 rows would be sent.")
    ).to_be_visible()
    await expect(
        page.get_by_role("cell", name="The row has no value for 'first_name'.")
    ).to_be_visible()
    await expect(page.get_by_text("Hello Ada")).to_be_visible()


async def test_a_file_is_checked_and_sent(visitor: Visitor) -> None:
    page = await visitor.join("/campaigns")
    await _upload(page)
    await _write(page)
    await look_at(page, "campaign-draft")
    await page.get_by_role("button", name="Send 3 rows").click()
    await expect(page.locator(".st", has_text="Completed")).to_be_visible()
    await expect(page.get_by_text("2 of 3 rows accepted")).to_be_visible()
    await expect(page.locator(".st", has_text="Delivered")).to_be_visible()
    await look_at(page, "campaign")
    await page.get_by_role("link", name="Messages").last.click()
    await expect(page.locator("#messages tbody tr")).to_have_count(2)
    await page.goto(f"{visitor.site.url}/campaigns")
    await expect(page.get_by_role("link", name="spring")).to_have_count(1)
    await look_at(page, "campaigns")


async def test_a_file_that_isnt_a_table_is_refused_on_the_page(visitor: Visitor) -> None:
    page = await visitor.join("/campaigns")
    await expect(page.get_by_role("heading", name="No campaigns")).to_be_visible()
    file = FilePayload(name="x.csv", mimeType="text/csv", buffer=b"phone,phone\n1,2\n")
    await page.locator("[data-campaign-file]").set_input_files(file)
    await expect(page.get_by_role("alert")).to_contain_text("Two columns are called 'phone'")
    visitor.troubles = [
        trouble for trouble in visitor.troubles if "400" not in trouble
    ]  # the browser's own line for a refusal
