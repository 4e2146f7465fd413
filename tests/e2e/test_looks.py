"""Light and dark, wide and 390 px: screenshots to look at in tests/shots, and nothing that sticks out."""

from __future__ import annotations

from typing import Final, Literal

import pytest
from playwright.async_api import Browser, Page, expect

from tests.e2e.conftest import SHOTS, Site, Visitor

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


async def _shoot(page: Page, name: str, width: int, scheme: str) -> None:
    SHOTS.mkdir(exist_ok=True)
    await page.screenshot(path=SHOTS / f"{name}-{width}-{scheme}.png", full_page=width < 800)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1440, 390])
async def test_every_page_fits(browser: Browser, site: Site, width: int, scheme: Literal["light", "dark"]) -> None:
    context = await browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
    visitor = Visitor(context, site)
    page = await visitor.open("/login")
    await expect(page.get_by_role("heading", name="Sign in to MessageJS")).to_be_visible()
    await _shoot(page, "login", width, scheme)
    page = await visitor.register()
    await page.get_by_role("button", name="Make a Welcome template").click()
    await page.get_by_role("button", name="Send to Sandbox").click()
    await expect(page.get_by_text("You are set up.")).to_be_visible()
    for name, path in _PAGES.items():
        await page.goto(f"{site.url}{path}")
        await expect(page.locator("#content h1, #content .bare-name").first).to_be_visible()
        await expect(page.locator(".skel")).to_have_count(0)
        await _shoot(page, name, width, scheme)
        wide = await page.evaluate("document.documentElement.scrollWidth")
        assert wide <= width, f"{name} is {wide} px wide"
    background = await page.evaluate("getComputedStyle(document.querySelector('.radix-themes')).backgroundColor")
    assert background == {"light": "rgb(255, 255, 255)", "dark": "rgb(17, 17, 19)"}[scheme]
    await context.close()
    assert visitor.troubles == []
