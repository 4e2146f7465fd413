"""Who forgot the password, who was invited, and whose address it is: each gets in by a link, and
only they do.
"""

from __future__ import annotations

import asyncio
import re
from typing import Final

import pytest
from playwright.async_api import Browser, Page, expect

from tests.e2e.conftest import Visitor

pytestmark = [pytest.mark.browser, pytest.mark.timeout(240)]

_NO_MAIL: Final = "Mail is not set: links are printed to the server’s log. Set PLATFORM_SMTP_URL."
_NEW_PASSWORD: Final = "an entirely new one"


async def _link_in_log(visitor: Visitor, page: str, *, after: int) -> str:
    """The path of the first link to `page` that the server has printed past `after` characters of
    its log.
    """
    for _ in range(100):
        result = re.search(rf"/{page}\?token=[\w-]+", visitor.site.log()[after:])
        if result:
            return result[0]
        await asyncio.sleep(0.05)
    pytest.fail(f"no link to {page} in the log: {visitor.site.log()[after:][-2000:]}")


async def _sign_in(page: Page, email: str, password: str) -> None:
    await page.get_by_label("E-mail").fill(email)
    await page.get_by_label("Password", exact=True).fill(password)
    await page.get_by_role("button", name="Sign in").click()


async def test_a_forgotten_password_is_replaced_by_a_link_that_works_once(visitor: Visitor) -> None:
    await visitor.enter("/auth/register")
    await visitor.context.clear_cookies()
    page = await visitor.open("/login")
    await page.get_by_role("link", name="Forgot password?").click()
    await expect(page.get_by_text(_NO_MAIL)).to_be_visible()
    await page.get_by_label("E-mail").fill("no address")
    await page.get_by_role("button", name="Send a link").click()
    await expect(page.locator(".field").get_by_role("alert")).to_contain_text("ada@example.com")
    printed = len(visitor.site.log())
    await page.get_by_label("E-mail").fill(visitor.email)
    await page.get_by_role("button", name="Send a link").click()
    await expect(page.get_by_role("status")).to_contain_text(f"If {visitor.email} has an account")

    link = visitor.site.url + await _link_in_log(visitor, "reset-password", after=printed)
    await page.goto(link)
    await page.get_by_label("New password").fill("short")
    await page.get_by_role("button", name="Change password").click()
    await expect(page.locator(".field").get_by_role("alert")).to_contain_text("Use 8 to")
    await page.get_by_label("New password").fill(_NEW_PASSWORD)
    await page.get_by_role("button", name="Change password").click()
    await expect(page.get_by_role("status")).to_contain_text("The password is changed")
    await page.get_by_role("link", name="Sign in").click()
    await _sign_in(page, visitor.email, _NEW_PASSWORD)
    await expect(page.get_by_role("heading", name="Overview")).to_be_visible()

    # In the same tab, which still knows that it has done this once.
    await page.goto(link)
    await page.get_by_label("New password").fill(_NEW_PASSWORD)
    await page.get_by_role("button", name="Change password").click()
    await expect(page.get_by_role("alert")).to_contain_text("has been used or has expired")
    await expect(page.get_by_role("link", name="Ask for a new link")).to_be_visible()


async def test_an_address_is_confirmed_by_a_press_and_not_by_opening_the_link(
    visitor: Visitor,
) -> None:
    printed = len(visitor.site.log())
    page = await visitor.join("/settings")
    await expect(page.get_by_text(_NO_MAIL)).to_be_visible()
    await expect(page.get_by_text("Your e-mail address is not confirmed.")).to_be_visible()

    link = visitor.site.url + await _link_in_log(visitor, "confirm-email", after=printed)
    await page.goto(link)  # as what looks into every mail does before its reader
    await expect(page.get_by_role("button", name="Confirm e-mail address")).to_be_visible()
    await page.reload()
    await page.get_by_role("button", name="Confirm e-mail address").click()
    await expect(page.get_by_role("status")).to_contain_text(f"{visitor.email} is confirmed.")
    await page.goto(f"{visitor.site.url}/settings")
    await expect(page.get_by_text("Where you are signed in")).to_be_visible()
    await expect(page.get_by_text("This one")).to_be_visible()
    await expect(page.get_by_text("Your e-mail address is not confirmed.")).not_to_be_visible()


async def test_an_invited_user_joins_the_project_with_the_role_given(
    visitor: Visitor, browser: Browser
) -> None:
    page = await visitor.join("/settings", "Grace Hopper")
    context = await browser.new_context(locale="en-GB")
    guest = Visitor(context, visitor.site)
    await page.get_by_role("button", name="Invite").click()
    dialog = page.get_by_role("dialog")
    await dialog.get_by_label("E-mail").fill(visitor.email)
    await dialog.get_by_role("button", name="Invite").click()
    await expect(dialog.get_by_role("alert")).to_contain_text("is a member of")
    await dialog.get_by_label("E-mail").fill(guest.email)
    await dialog.get_by_label("Role").select_option("viewer")
    await dialog.get_by_role("button", name="Invite").click()
    link = await dialog.locator("#invitation-link").inner_text()
    await dialog.get_by_role("button", name="Done").click()
    await expect(page.get_by_role("row", name=guest.email)).to_contain_text("Viewer")

    theirs = await guest.open(link.removeprefix(f"{visitor.site.url}"))
    await expect(theirs.get_by_role("heading", name="Join Grace Hopper's project")).to_be_visible()
    await theirs.get_by_role("link", name="Create an account").click()
    await expect(theirs.get_by_label("E-mail")).to_have_value(guest.email)
    await theirs.get_by_label("E-mail").fill("another@example.com")
    await theirs.get_by_label("Name").fill("Alan Turing")
    await theirs.get_by_label("Password", exact=True).fill(guest.password)
    await theirs.get_by_role("button", name="Create account").click()
    await expect(theirs.locator(".field").get_by_role("alert")).to_contain_text(
        "for another e-mail address"
    )
    await theirs.get_by_label("E-mail").fill(guest.email)
    await theirs.get_by_label("Password", exact=True).fill(guest.password)
    await theirs.get_by_role("button", name="Create account").click()
    await expect(theirs.get_by_role("heading", name="Overview")).to_be_visible()
    await theirs.goto(f"{visitor.site.url}/settings")
    await expect(theirs.get_by_role("row", name=visitor.email)).to_contain_text("Owner")
    await expect(
        theirs.get_by_role("button", name="Invite")
    ).not_to_be_visible()  # a viewer may not

    await page.reload()  # an invitation no more, a member
    row = page.get_by_role("row", name=guest.email)
    await expect(row).to_contain_text("Alan Turing")
    await row.get_by_role("button", name="More").click()
    await page.get_by_role("menuitem", name="Admin").click()
    await expect(row).to_contain_text("Admin")
    await theirs.reload()
    await expect(theirs.get_by_role("button", name="Invite")).to_be_visible()

    await row.get_by_role("button", name="More").click()
    await page.get_by_role("menuitem", name="Remove").click()
    await page.get_by_role("dialog").get_by_role("button", name="Remove").click()
    await expect(row).not_to_be_visible()
    await context.close()
    assert guest.troubles == []


async def test_an_invitation_is_accepted_by_the_one_it_is_for_and_no_longer_once_revoked(
    visitor: Visitor, browser: Browser
) -> None:
    page = await visitor.join("/settings", "Katherine Johnson")
    context = await browser.new_context(locale="en-GB")
    guest = Visitor(context, visitor.site)
    await guest.enter("/auth/register", name="Mary Jackson")

    async def invite(email: str) -> str:
        await page.get_by_role("button", name="Invite").click()
        dialog = page.get_by_role("dialog")
        await dialog.get_by_label("E-mail").fill(email)
        await dialog.get_by_role("button", name="Invite").click()
        link = await dialog.locator("#invitation-link").inner_text()
        await dialog.get_by_role("button", name="Done").click()
        return link.removeprefix(visitor.site.url)

    theirs = await guest.open(await invite("somebody-else@example.com"))
    await expect(theirs.get_by_role("alert")).to_contain_text(
        "the invitation is for somebody-else@example.com"
    )
    await page.get_by_role("button", name="Revoke").click()
    await expect(page.get_by_role("row", name="somebody-else@example.com")).not_to_be_visible()
    await theirs.reload()
    await expect(theirs.get_by_role("alert")).to_contain_text("has been used or has expired")

    await theirs.goto(visitor.site.url + await invite(guest.email))
    await theirs.get_by_role("button", name="Accept invitation").click()
    await expect(theirs.get_by_role("heading", name="Overview")).to_be_visible()
    await expect(theirs.get_by_role("button", name="Switch project")).to_contain_text(
        "Katherine Johnson's project"
    )
    await context.close()
    assert guest.troubles == []


async def test_a_log_in_elsewhere_is_seen_and_ended(visitor: Visitor, browser: Browser) -> None:
    await visitor.enter("/auth/register")
    context = await browser.new_context(user_agent="Mozilla/5.0 (Windows NT 10.0) Firefox/140.0")
    await visitor.enter("/auth/login", context)
    elsewhere = await context.new_page()
    await elsewhere.goto(f"{visitor.site.url}/keys")
    await expect(elsewhere.get_by_text("No keys", exact=True)).to_be_visible()

    page = await visitor.open("/settings")
    await (
        page.get_by_role("row", name="Firefox on Windows").get_by_role("button", name="End").click()
    )
    await expect(page.get_by_text("Firefox on Windows")).not_to_be_visible()
    # By itself: its open page learns of the end.
    await expect(elsewhere.get_by_role("heading", name="Sign in to MessageJS")).to_be_visible()
    await context.close()


async def test_changing_a_password_takes_the_old_one(visitor: Visitor) -> None:
    page = await visitor.join("/settings")
    await page.get_by_label("Current password").fill("not this one")
    await page.get_by_label("New password").fill(_NEW_PASSWORD)
    await page.get_by_role("button", name="Change password").click()
    await expect(page.locator(".field").get_by_role("alert")).to_contain_text("not your password")
    await page.get_by_label("Current password").fill(visitor.password)
    await page.get_by_role("button", name="Change password").click()
    await expect(page.get_by_text("Your password is changed.")).to_be_visible()
    await expect(page.get_by_label("Current password")).to_have_value("")
    await visitor.context.clear_cookies()
    await page.goto(f"{visitor.site.url}/login?next=/keys")
    await _sign_in(page, visitor.email, _NEW_PASSWORD)
    await expect(page.get_by_role("heading", name="Keys", exact=True)).to_be_visible()
