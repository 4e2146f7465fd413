"""A real `messagejs up` with its dashboard, and a real Chromium in front of it."""

from __future__ import annotations

import itertools
import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Final, Literal

import pytest
import pytest_asyncio
from playwright.async_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Page,
    Request,
    async_playwright,
    expect,
)

from tests.runtime.conftest import Up

SHOTS: Final = Path(__file__).parent.parent / "shots"
_CHROMIUMS: Final = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_PASSWORD: Final = "correct horse battery"
_numbers = itertools.count(1)

# Not the sandbox, which needs what a container or root does not give it; no pages of Chromium's own
# beside ours.
_ARGUMENTS: Final = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-features=HttpsUpgrades,WebUIOmniboxPopup,WebUIOmniboxAimPopup,WebUIOmniboxFullPopup",
)
_LOOKS: Final[tuple[tuple[int, Literal["light", "dark"], str], ...]] = (
    (390, "light", "rgb(255, 255, 255)"),
    (390, "dark", "rgb(17, 17, 19)"),
    (1440, "dark", "rgb(17, 17, 19)"),
    (1440, "light", "rgb(255, 255, 255)"),
)

expect.set_options(timeout=20_000)


class Site(Up):
    """`messagejs up` with its pages."""

    def __init__(self, data_dir: Path) -> None:
        super().__init__(data_dir, has_pages=True, env={"REGISTRATIONS_PER_ADDRESS": "0"})

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


class Visitor:
    """One person's browser. What goes wrong behind the page is collected in `troubles`."""

    def __init__(self, context: BrowserContext, site: Site) -> None:
        self.context = context
        self.site = site
        self.email = f"visitor-{next(_numbers)}@example.com"
        self.password = _PASSWORD
        self.troubles: list[str] = []

    async def tab(self) -> Page:
        page = await self.context.new_page()
        page.on("console", self._hear)
        page.on("pageerror", lambda error: self.troubles.append(f"page error: {error}"))
        page.on("request", self._see)
        return page

    async def open(self, path: str) -> Page:
        """Open a tab on a page."""
        page = await self.tab()
        await page.goto(f"{self.site.url}{path}")
        return page

    async def enter(self, path: str, context: BrowserContext | None = None, **fields: str) -> None:
        """Post one of the forms without its page; the cookie is this browser's, or that of another
        context.
        """
        form: dict[str, str | float | bool] = {
            "email": self.email,
            "password": self.password,
            **fields,
        }
        origin = {"Origin": self.site.url}
        request = (context or self.context).request
        answer = await request.post(
            f"{self.site.url}{path}", form=form, headers=origin, max_redirects=0
        )
        assert answer.headers["location"] == "/", answer.headers

    async def join(self, path: str, name: str = "Ada Lovelace") -> Page:
        """Make an account without its form; returns a tab."""
        await self.enter("/auth/register", name=name)
        return await self.open(path)

    async def register(self, name: str = "Ada Lovelace") -> Page:
        """Make an account in the browser; returns the tab, on Overview."""
        page = await self.open("/register")
        await page.get_by_label("Name").fill(name)
        await page.get_by_label("E-mail").fill(self.email)
        await page.get_by_label("Password", exact=True).fill(self.password)
        await page.get_by_role("button", name="Create account").click()
        await expect(page.get_by_role("heading", name="Overview")).to_be_visible()
        await expect(page.get_by_text("Send your first message")).to_be_visible()
        return page

    def _hear(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            self.troubles.append(f"console: {message.text}")

    def _see(self, request: Request) -> None:
        if not request.url.startswith(
            (self.site.url, self.site.url.replace("http", "ws"), "data:", "blob:")
        ):
            self.troubles.append(f"foreign request: {request.url}")


async def look_at(page: Page, name: str) -> None:
    """Light and dark, 390 and 1440 px wide: screenshots to look at in tests/shots, and nothing that
    sticks out.
    """
    SHOTS.mkdir(exist_ok=True)
    for width, scheme, background in _LOOKS:
        await page.set_viewport_size({"width": width, "height": 900})
        await page.emulate_media(color_scheme=scheme)
        await expect(page.locator(".radix-themes").first).to_have_css(
            "background-color", background
        )
        # What still moves or fades after the change is taken at its end.
        shot = SHOTS / f"{name}-{width}-{scheme}.png"
        await page.screenshot(path=shot, full_page=width < 800, animations="disabled")
        wide = await page.evaluate("document.documentElement.scrollWidth")
        assert wide <= width, f"{name} is {wide} px wide where there are {width}"


@pytest.fixture(scope="session")
def chromium() -> str:
    result = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, _CHROMIUMS)), None)
    if result is None:
        reason = f"no Chromium: none of {', '.join(_CHROMIUMS)} is on PATH, and CHROMIUM is not set"
        if (
            os.environ.get("MESSAGEJS_REQUIRE_BROWSER") == "1"
        ):  # in CI a browser test not run is a failure
            pytest.fail(reason)
        pytest.skip(reason)
    return result


@pytest.fixture(scope="session")
def site(chromium: str) -> Iterator[Site]:
    home = Path(tempfile.mkdtemp(prefix="mjs-e2e-"))
    home.chmod(0o711)
    site = Site(home / "data")
    site.start_and_wait()
    yield site
    site.clean_up()
    shutil.rmtree(home, ignore_errors=True)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser(chromium: str) -> AsyncIterator[Browser]:
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium, args=_ARGUMENTS)
        yield browser
        await browser.close()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def warm_context(browser: Browser) -> AsyncIterator[BrowserContext]:
    """One for all visitors in turn: what a cold one fetches and compiles costs a second a test."""
    context = await browser.new_context(viewport={"width": 1440, "height": 900}, locale="en-GB")
    yield context
    await context.close()


@pytest_asyncio.fixture(loop_scope="session")
async def visitor(warm_context: BrowserContext, site: Site) -> AsyncIterator[Visitor]:
    """Somebody whom nothing in the browser knows; at the end nothing may have gone wrong behind the
    pages.
    """
    visitor = Visitor(warm_context, site)
    yield visitor
    for page in warm_context.pages:
        await page.evaluate("localStorage.clear()")
        await page.close()
    await warm_context.clear_cookies()
    assert visitor.troubles == []
