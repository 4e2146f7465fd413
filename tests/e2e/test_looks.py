"""Every page, light and dark, wide and 390 px."""

from __future__ import annotations

from typing import Final

import pytest
from playwright.async_api import Browser, expect

from tests.e2e.conftest import Site, Visitor, look_at

pytestmark = [pytest.mark.browser, pytest.mark.timeout(240)]

_PAGES: Final = {
    "overview": "/",
    "messages": "/messages",
    "templates": "/templates",
    "template": "/templates/new",
    "connectors": "/connectors",
    "connector-form": "/connectors/new?type=smtp",
    "keys": "/keys",
    "playground": "/playground",
    "settings": "/settings",
}


async def test_every_page_fits(visitor: Visitor) -> None:
    page = await visitor.open("/login")
    await expect(page.get_by_role("heading", name="Sign in to MessageJS")).to_be_visible()
    await look_at(page, "login")
    await visitor.enter("/auth/register", name="Ada Lovelace")
    await page.goto(f"{visitor.site.url}/")
    await page.get_by_role("button", name="Make a Welcome template").click()
    await page.get_by_role("button", name="Send to Sandbox").click()
    await expect(page.get_by_text("You are set up.")).to_be_visible()
    for name, path in _PAGES.items():
        await page.goto(f"{visitor.site.url}{path}")
        await expect(page.locator("#content h1, #content .bare-name").first).to_be_visible()
        await expect(page.locator(".skel")).to_have_count(0)
        await look_at(page, name)


async def test_a_telephone_registers_and_goes_through_the_menu(
    browser: Browser, site: Site
) -> None:
    """Narrow from the first moment, which is another thing than made narrow."""
    context = await browser.new_context(
        viewport={"width": 390, "height": 844}, has_touch=True, color_scheme="dark"
    )
    visitor = Visitor(context, site)
    page = await visitor.register()
    await page.get_by_role("button", name="Menu").tap()
    await page.get_by_role("navigation", name="Pages").get_by_role("link", name="Messages").tap()
    await expect(page.get_by_role("heading", name="Messages", exact=True)).to_be_visible()
    assert await page.evaluate("document.documentElement.scrollWidth") <= 390
    await context.close()
    assert visitor.troubles == []
