"""The first minute: register, a template, a message, and it is there without a reload."""

from __future__ import annotations

import asyncio
import re
import time

import pytest
from playwright.async_api import WebSocketRoute, expect

from tests.e2e.conftest import Visitor

pytestmark = [pytest.mark.browser, pytest.mark.timeout(240)]


async def test_a_new_user_sees_their_first_message_delivered_within_a_minute(
    visitor: Visitor,
) -> None:
    began = time.monotonic()
    overview = await visitor.register()
    await expect(overview.get_by_text("1 of 3")).to_be_visible()
    messages = await visitor.open("/messages")
    await expect(messages.get_by_text("No messages yet")).to_be_visible()

    await overview.get_by_role("button", name="Make a Welcome template").click()
    await expect(overview.get_by_text("2 of 3")).to_be_visible()
    await overview.get_by_role("button", name="Send to Sandbox").click()
    await expect(overview.get_by_text("You are set up.")).to_be_visible()

    row = messages.locator("tbody tr").first  # in the other tab, which nobody has reloaded
    await expect(row).to_contain_text("Delivered")
    await expect(row).to_contain_text("Hi Ada, welcome to Ada Lovelace's project.")
    assert time.monotonic() - began < 60


async def test_rows_arrive_by_themselves_and_change_their_status(visitor: Visitor) -> None:
    page = await visitor.join("/playground")
    messages = await visitor.open("/messages")
    await expect(messages.get_by_text("No messages yet")).to_be_visible()
    await page.locator("#to").fill("sandbox:slow")
    await page.get_by_label("Text").fill("Slowly does it")
    await page.get_by_role("button", name="Send").click()
    row = messages.locator("tbody tr").first
    await expect(row).to_contain_text("Slowly does it")
    await expect(row).to_contain_text("Delivered")  # two seconds later, in the same row


async def test_a_visitor_who_is_not_signed_in_is_sent_to_the_log_in(visitor: Visitor) -> None:
    page = await visitor.open("/keys")
    await expect(page).to_have_url(re.compile(r"/login/?\?next=%2Fkeys$"))


async def test_logging_out_ends_it_and_logging_in_goes_on_where_one_wanted_to(
    visitor: Visitor,
) -> None:
    page = await visitor.join("/")
    await page.get_by_role("button", name="Your account").click()
    await page.get_by_role("menuitem", name="Sign out").click()
    await expect(page.get_by_role("heading", name="Sign in to MessageJS")).to_be_visible()
    await page.goto(f"{visitor.site.url}/templates")
    await expect(page.get_by_role("heading", name="Sign in to MessageJS")).to_be_visible()

    await page.get_by_label("E-mail").fill(visitor.email)
    await page.get_by_label("Password", exact=True).fill("not this one")
    await page.get_by_role("button", name="Sign in").click()
    await expect(
        page.locator(".field", has=page.locator("#password")).get_by_role("alert")
    ).to_contain_text("do not match")
    assert await page.get_by_label("E-mail").input_value() == visitor.email

    await page.get_by_label("Password", exact=True).fill(visitor.password)
    await page.get_by_role("button", name="Sign in").click()
    await expect(page.get_by_role("heading", name="Templates", exact=True)).to_be_visible()


async def test_an_email_that_is_taken_is_named_beside_its_field(visitor: Visitor) -> None:
    await visitor.enter("/auth/register")
    await visitor.context.clear_cookies()
    page = await visitor.open("/register")
    await page.get_by_label("Name").fill("Somebody")
    await page.get_by_label("E-mail").fill(visitor.email)
    await page.get_by_label("Password", exact=True).fill(visitor.password)
    await page.get_by_role("button", name="Create account").click()
    await expect(
        page.locator(".field", has=page.locator("#email")).get_by_role("alert")
    ).to_contain_text("Sign in instead")


async def test_what_is_typed_before_the_server_has_said_anything_stays(visitor: Visitor) -> None:
    await visitor.enter("/auth/register")
    await visitor.context.clear_cookies()
    page = await visitor.tab()
    may_speak = asyncio.Event()

    async def hold(route: WebSocketRoute) -> None:
        """As on a slow line: the page is there, and what the server has to say of it comes
        later.
        """
        await may_speak.wait()
        route.connect_to_server()

    await page.route_web_socket(re.compile("/_event"), hold)
    await page.goto(
        f"{visitor.site.url}/login?error=INVALID_CREDENTIALS&email=old@example.com&next=/templates"
    )
    await expect(page.get_by_label("E-mail")).to_have_value("old@example.com")
    await page.get_by_label("E-mail").fill(visitor.email)
    await page.get_by_label("Password", exact=True).press_sequentially(visitor.password[:7])
    may_speak.set()
    await expect(page.locator(".field").get_by_role("alert")).to_contain_text("do not match")
    await page.keyboard.type(visitor.password[7:])
    await expect(page.get_by_label("E-mail")).to_have_value(visitor.email)
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("heading", name="Templates", exact=True)).to_be_visible()
