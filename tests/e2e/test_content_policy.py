"""The pages do all they do under their content security policy, which nothing of theirs
violates.
"""

from __future__ import annotations

import re
from typing import Any, Final

import httpx
import pytest
from playwright.async_api import Page, expect

from tests.e2e.conftest import Site, Visitor
from tests.plain_http import plain_client

pytestmark = [pytest.mark.browser, pytest.mark.timeout(240)]

# Address -> what stands there once the page has loaded.
_PAGES: Final = {
    "/": "Overview",
    "/messages": "Messages",
    "/dead-letters": "Dead letters",
    "/campaigns": "Campaigns",
    "/templates": "Templates",
    "/connectors": "Connectors",
    "/keys": "Keys",
    "/playground": "Playground",
    "/settings": "Settings",
}
_FORMS: Final = (
    "/templates/new",
    "/connectors/new?type=smtp",
    "/keys?new=1",
    "/invitation?token=x",
)
_ENTRANCES: Final = (
    "/login",
    "/register",
    "/forgot-password",
    "/reset-password?token=x",
    "/confirm-email?token=x",
)
_LISTEN: Final = """
addEventListener("securitypolicyviolation", (event) => {
  const kept = JSON.parse(sessionStorage.violations || "[]");
  const violation = `${event.effectiveDirective} ${event.blockedURI} ${location}`;
  sessionStorage.violations = JSON.stringify([...kept, violation]);
});
"""
_MAIL: Final = """
<p id="styled" style="color: rgb(1, 2, 3)">Hi</p><img id="picture" src="ICON">
<script>parent.document.title = "owned"</script>
<img src="data:," onerror="parent.document.title = 'owned'">
"""


async def _watched(visitor: Visitor) -> Page:
    page = await visitor.tab()
    await page.add_init_script(_LISTEN)
    return page


async def _violations(page: Page) -> Any:
    return await page.evaluate("JSON.parse(sessionStorage.violations || '[]')")


async def test_no_page_violates_its_policy(visitor: Visitor) -> None:
    page = await _watched(visitor)
    for path in _ENTRANCES:
        await page.goto(f"{visitor.site.url}{path}")
        await expect(page.locator("h1")).to_be_visible()
    await visitor.enter("/auth/register", name="Ada")
    for path, heading in _PAGES.items():
        await page.goto(f"{visitor.site.url}{path}")
        await expect(page.get_by_role("heading", name=heading, exact=True).first).to_be_visible()
    for path in _FORMS:
        await page.goto(f"{visitor.site.url}{path}")
        await expect(page.locator("h1, h2, .bare-name").first).to_be_visible()
        await (
            page.reload()
        )  # a page from the browser's cache brings the policy that was kept with it
        await expect(page.locator("h1, h2, .bare-name").first).to_be_visible()
    await page.goto(f"{visitor.site.url}/no-such-page")
    await expect(page.get_by_text("Page not found")).to_be_visible()
    assert await _violations(page) == []
    # An unknown address is a 404 in the console, and nothing else may be in it.
    visitor.troubles = [trouble for trouble in visitor.troubles if "404" not in trouble]


async def test_links_dialogs_menus_toasts_and_the_palette_work_under_the_policy(
    visitor: Visitor,
) -> None:
    await visitor.enter("/auth/register", name="Ada")
    page = await _watched(visitor)
    await page.goto(f"{visitor.site.url}/")
    for path, heading in _PAGES.items():
        await page.locator(f'a[data-nav="{path}"]').click()
        await expect(page.get_by_role("heading", name=heading, exact=True).first).to_be_visible()
    await page.keyboard.press("?")
    await expect(page.get_by_role("dialog")).to_be_visible()
    await page.keyboard.press("Escape")
    await page.keyboard.press("Control+k")
    await page.get_by_role("combobox", name="Search or jump to").fill("connectors")
    await expect(page.locator("mj-palette .pf")).to_contain_text("Paste a message id to open it")
    await page.keyboard.press("Enter")
    await expect(page).to_have_url(re.compile("/connectors$"))
    await page.get_by_role("button", name="More").click()
    await page.get_by_role("menuitem", name="Test").click()
    toast = page.locator("[data-sonner-toast]")
    await expect(toast).to_be_visible()
    await expect(toast).to_have_css("position", "absolute")  # it has its styles
    for look in ("Dark", "Light"):
        await page.get_by_role("button", name="Your account").click()
        await page.get_by_role("menuitem", name=look).click()
        await expect(page.locator("html")).to_have_class(re.compile(look.lower()))
        await expect(page.get_by_role("menu")).to_have_count(0)
    await page.locator('[data-mode="live"]').click()
    await expect(page.locator('[data-mode="live"]')).to_have_class("on")
    assert await _violations(page) == []


async def test_signing_in_and_out_works_under_the_policy(visitor: Visitor) -> None:
    await visitor.enter("/auth/register", name="Ada")
    await visitor.context.clear_cookies()
    page = await _watched(visitor)
    await page.goto(f"{visitor.site.url}/keys")
    await expect(page).to_have_url(re.compile(r"/login/?\?next=%2Fkeys$"))
    await page.get_by_label("E-mail").fill(visitor.email)
    await page.get_by_label("Password", exact=True).fill(visitor.password)
    await page.get_by_role("button", name="Sign in").click()
    await expect(page.get_by_role("heading", name="Keys", exact=True)).to_be_visible()
    await page.get_by_role("button", name="Your account").click()
    await page.get_by_role("menuitem", name="Sign out").click()
    await expect(page.get_by_role("heading", name="Sign in to MessageJS")).to_be_visible()
    assert await _violations(page) == []


async def test_a_mails_preview_has_its_styles_and_pictures_and_runs_nothing(
    visitor: Visitor,
) -> None:
    await visitor.enter("/auth/register", name="Ada")
    page = await _watched(visitor)
    await page.goto(f"{visitor.site.url}/templates/new")
    await page.get_by_label("Channel").select_option("smtp")
    await page.locator("#html").fill(_MAIL.replace("ICON", f"{visitor.site.url}/icon-192.png"))
    mail = page.frame_locator("mj-preview iframe")
    await expect(mail.locator("#styled")).to_have_css("color", "rgb(1, 2, 3)")
    await expect(mail.locator("#picture")).to_have_js_property("naturalWidth", 192)
    await page.locator("#html").fill("<p id=other>Again</p>")
    await expect(mail.locator("#other")).to_have_text("Again")
    assert "owned" not in await page.title()
    assert await _violations(page) == []
    # Chromium reports each script that it did not run, the one that listens here among them.
    assert [trouble for trouble in visitor.troubles if "script" not in trouble.lower()] == []
    visitor.troubles = []


async def test_a_script_that_isnt_ours_does_not_run(visitor: Visitor) -> None:
    """The policy itself, in a browser: without this the tests above would pass with none at all."""
    page = await visitor.open("/login")
    await expect(page.locator("h1")).to_be_visible()
    await page.evaluate(
        """() => {
            const script = document.createElement("script");
            script.textContent = "document.title = 'owned'";
            document.body.append(script);
            document.body.setAttribute("style", "color: red");
        }"""
    )
    assert await page.title() != "owned"
    assert visitor.troubles
    visitor.troubles = []


@pytest.mark.parametrize(
    "path", ["/", "/login/", "/templates/new", "/no-such-page", "//evil.example/..%2flogin"]
)
async def test_every_answer_of_the_pages_has_the_headers(site: Site, path: str) -> None:
    async with plain_client(site.url) as client:
        headers = (await client.get(httpx.URL(site.url, raw_path=path.encode()))).headers
    policy = headers["content-security-policy"]
    assert policy.startswith("default-src 'none'")
    assert "frame-ancestors 'none'" in policy
    assert "unsafe-eval" not in policy
    assert "unsafe-inline" not in policy.partition("style-src")[0]
    assert (headers["x-frame-options"], headers["x-content-type-options"]) == ("DENY", "nosniff")
    assert headers["referrer-policy"] == "same-origin"


async def test_hashed_assets_are_kept_for_good_and_still_come_compressed(site: Site) -> None:
    async with plain_client(site.url, headers={"Accept-Encoding": "gzip"}) as client:
        page = await client.get("/login/")
        assert (page.headers["cache-control"], page.headers["content-encoding"]) == (
            "no-cache",
            "gzip",
        )
        script = re.search(r"/assets/root-[\w-]+\.js", page.text)
        assert script is not None
        asset = await client.get(script[0])
        assert asset.headers["cache-control"] == "public, max-age=31536000, immutable"
        assert asset.headers["content-encoding"] == "gzip"
        missing = await client.get("/assets/none-abc.js")
        assert (missing.status_code, missing.headers["cache-control"]) == (404, "no-cache")
