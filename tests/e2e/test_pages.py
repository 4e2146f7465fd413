"""What each page promises to the person in front of it."""

from __future__ import annotations

import re

import pytest
from playwright.async_api import Page, expect

from tests.e2e.conftest import Visitor
from tests.plain_http import plain_client
from tests.providers.fakes import FakeSmtp

pytestmark = [pytest.mark.browser, pytest.mark.timeout(240)]


async def _send(page: Page, to: str, text: str = "Hello") -> None:
    """Send a text from the Playground."""
    await page.locator("#to").fill(to)
    await page.get_by_label("Text").fill(text)
    await page.get_by_role("button", name="Send").click()


async def test_a_key_is_shown_once_and_works(visitor: Visitor) -> None:
    page = await visitor.join("/keys")
    await page.get_by_role("button", name="Create key").first.click()
    dialog = page.get_by_role("dialog")
    await dialog.get_by_role("button", name="Create key").click()
    await expect(dialog.get_by_role("alert")).to_contain_text("Give the key a name")
    await dialog.get_by_label("Name").fill("Booking server")
    await dialog.get_by_role("button", name="Create key").click()

    await expect(dialog.get_by_role("heading", name="Copy your key now")).to_be_visible()
    key = await dialog.locator("#new-key").inner_text()
    await expect(dialog.get_by_role("button", name="Done")).to_be_disabled()
    await page.keyboard.press("Escape")
    await expect(dialog).to_be_visible()
    await dialog.get_by_text("I have stored the key").click()
    await dialog.get_by_role("button", name="Done").click()
    await expect(dialog).not_to_be_visible()
    assert key not in await page.content()
    await page.reload()
    await expect(page.get_by_text("Booking server")).to_be_visible()
    assert key not in await page.content()

    async with plain_client(visitor.site.url) as client:
        body = {"to": "sandbox:delivered", "connector": "sandbox", "message": "Hello"}
        answer = await client.post(
            "/api/v1/messages", json=body, headers={"Authorization": f"Bearer {key}"}
        )
    assert answer.status_code == 202, answer.text


async def test_a_page_takes_no_click_before_it_has_loaded(visitor: Visitor) -> None:
    """What is opened or typed before would be reset by its load."""
    page = await visitor.join("/keys")
    content = page.locator("#content")
    await expect(content).not_to_have_attribute("inert", re.compile(".*"))
    # The dashboard's socket opens, and nothing is ever said through it.
    await page.route_web_socket(re.compile("_event"), lambda _: None)
    await page.reload()
    await expect(content).to_have_attribute("inert", "")


async def test_a_connectors_form_says_what_is_wrong_beside_the_field(visitor: Visitor) -> None:
    page = await visitor.join("/connectors")
    await page.locator('[data-provider="twilio"]').click()
    await page.get_by_role("button", name="Add connector").click()
    for name, words in (
        ("accountSid", "Account SID is needed."),
        ("authToken", "Auth token is needed."),
    ):
        field = page.locator(".field", has=page.locator(f'[name="credentials.{name}"]'))
        await expect(field.get_by_role("alert")).to_have_text(words)


async def test_a_connector_is_tested_and_its_secret_never_comes_back(visitor: Visitor) -> None:
    page = await visitor.join("/connectors/new?type=smtp")
    async with FakeSmtp(username="ada", password="hunter2-hunter2") as smtp:
        await page.locator('[name="credentials.host"]').fill(smtp.host)
        await page.locator('[name="credentials.port"]').fill(str(smtp.port))
        await page.locator('[name="credentials.security"]').select_option("none")
        await page.locator('[name="credentials.username"]').fill("ada")
        await page.locator('[name="credentials.password"]').fill("hunter2-hunter2")
        await page.locator('[name="credentials.fromAddress"]').fill("ada@example.com")
        await page.get_by_role("button", name="Add connector").click()
        result = page.locator('.cfoot [role="status"]')  # the first test runs by itself
        await expect(result).to_contain_text(f"Connected to {smtp.host}:{smtp.port} as 'ada'")
    await page.reload()
    await expect(page.get_by_text("Cannot be read back.")).to_be_visible()
    assert await page.locator('[name="credentials.password"]').input_value() == ""
    assert "hunter2-hunter2" not in await page.content()


async def test_a_connectors_pace_is_checked_and_kept(visitor: Visitor) -> None:
    page = await visitor.join("/connectors/new?type=smtp")
    async with FakeSmtp() as smtp:
        await page.locator('[name="credentials.host"]').fill(smtp.host)
        await page.locator('[name="credentials.port"]').fill(str(smtp.port))
        await page.locator('[name="credentials.security"]').select_option("none")
        await page.locator('[name="credentials.fromAddress"]').fill("ada@example.com")
        pace = page.locator('[name="pacing.perSecond"]')
        await pace.fill("fast")
        await page.get_by_role("button", name="Add connector").click()
        await expect(page.locator(".field", has=pace).get_by_role("alert")).to_be_visible()
        await pace.fill("2,5")
        await page.get_by_role("button", name="Add connector").click()
        await expect(page.locator('.cfoot [role="status"]')).to_contain_text("Connected")
    await page.reload()
    await expect(pace).to_have_value("2.5")


async def test_a_paused_connector_says_so_and_refuses(visitor: Visitor) -> None:
    page = await visitor.join("/connectors")
    await page.get_by_role("button", name="More").click()
    await page.get_by_role("menuitem", name="Pause").click()
    await expect(page.locator("tbody tr").first).to_contain_text("Paused")


async def test_the_editor_shows_what_arrives_while_one_types(visitor: Visitor) -> None:
    page = await visitor.join("/templates/new")
    await page.get_by_label("Channel").select_option("twilio")
    await page.get_by_label("Content").fill("Your code is {{code}}.")
    await expect(page.locator(".vars")).to_contain_text("code")
    await expect(page.locator(".bubble")).to_have_text("Your code is 482913.")
    await expect(page.get_by_text("1 segment", exact=True)).to_be_visible()
    await page.get_by_label("Sample of code").fill("7")
    await expect(page.locator(".bubble")).to_have_text("Your code is 7.")

    await page.get_by_label("Content").fill("Your code is {{code.")
    await expect(page.locator(".edsec").first.get_by_role("alert")).to_contain_text("line 1")
    await page.get_by_label("Content").fill("Your code is {{code}}, Ada.")
    await page.get_by_role("button", name="Create template").click()
    await expect(page.get_by_role("alert")).to_contain_text("Give the template a name.")
    await page.get_by_label("Name", exact=True).fill("Login code")
    # Nothing typed may be lost, however quickly it is saved.
    await page.keyboard.press("Control+Enter")
    await expect(page).to_have_url(re.compile(r"/templates/tpl_"))
    await expect(page.get_by_text("v1 live")).to_be_visible()
    await page.reload()
    assert await page.get_by_label("Content").input_value() == "Your code is {{code}}, Ada."


async def test_the_playground_shows_the_call_and_what_becomes_of_it(visitor: Visitor) -> None:
    page = await visitor.join("/playground")
    await _send(page, "sandbox:failed", "Hello Bob")
    await expect(page.get_by_text("202 Accepted")).to_be_visible()
    await expect(page.locator("#moments")).to_contain_text("Failed")
    await expect(page.locator("section.code pre").first).to_contain_text('message: "Hello Bob"')
    await page.get_by_role("tab", name="Python").click()
    await expect(page.locator("section.code pre").first).to_contain_text("httpx.post(")

    await page.locator("#to").fill("sandbox:nowhere")
    await page.get_by_role("button", name="Send").click()
    field = page.locator(".field", has=page.locator("#to"))
    await expect(field.get_by_role("alert")).to_contain_text("isn't a sandbox recipient")
    await expect(page.get_by_text("400 INVALID_TO")).to_be_visible()


async def test_a_message_opens_beside_the_list_with_all_that_happened_to_it(
    visitor: Visitor,
) -> None:
    page = await visitor.join("/playground")
    await _send(page, "sandbox:failed", "Drawn beside")
    await page.get_by_role("link", name="Open message").click()
    drawer = page.get_by_role("dialog", name="Message")
    await expect(drawer).to_contain_text("Drawn beside")
    await expect(drawer).to_contain_text("Attempt 1")
    await expect(drawer).to_contain_text("sandbox_failed")
    assert "id=msg_" in page.url
    await page.reload()  # the address is enough
    await expect(drawer).to_contain_text("Drawn beside")
    await page.keyboard.press("Escape")
    await expect(drawer).not_to_be_visible()
    assert "id=" not in page.url


async def test_filters_stand_in_the_address(visitor: Visitor) -> None:
    page = await visitor.join("/playground")
    await _send(page, "sandbox:failed", "This one fails")
    await expect(page.locator("#moments")).to_contain_text("Failed")
    await _send(page, "sandbox:delivered", "This one arrives")
    await expect(page.locator("#moments")).to_contain_text("Delivered")
    await page.goto(f"{visitor.site.url}/messages")
    await expect(page.locator("tbody tr")).to_have_count(2)
    await page.get_by_role("button", name="Status").click()
    await page.get_by_role("menuitem", name="Failed").click()
    await expect(page.locator("tbody tr")).to_have_count(1)
    assert "status=failed" in page.url
    await page.reload()
    await expect(page.locator("tbody tr")).to_have_count(1)
    await page.get_by_role("button", name="Clear filters").click()
    await expect(page.locator("tbody tr")).to_have_count(2)


async def test_the_palette_and_the_keyboard_go_everywhere(visitor: Visitor) -> None:
    page = await visitor.join("/")
    await expect(page.get_by_text("Send your first message")).to_be_visible()
    await page.keyboard.press("Control+k")
    await page.get_by_role("combobox", name="Search or jump to").fill("create key")
    await page.keyboard.press("Enter")
    await expect(
        page.get_by_role("dialog").get_by_role("heading", name="Create key")
    ).to_be_visible()
    await page.keyboard.press("Escape")
    await expect(page.get_by_role("dialog")).not_to_be_visible()
    await page.keyboard.press("g")
    await page.keyboard.press("m")
    await expect(page.get_by_role("heading", name="Messages", exact=True)).to_be_visible()
    await page.keyboard.press("?")
    await expect(page.get_by_role("dialog").get_by_role("heading", name="Keyboard")).to_be_visible()


async def test_live_and_test_do_not_mix(visitor: Visitor) -> None:
    page = await visitor.join("/playground")
    await _send(page, "sandbox:delivered", "Only a test")
    await expect(page.locator("#moments")).to_contain_text("Delivered")
    await page.goto(f"{visitor.site.url}/messages")
    await expect(page.locator("tbody tr")).to_have_count(1)
    await page.get_by_role("button", name="Live", exact=True).click()
    await expect(page.get_by_text("No messages yet")).to_be_visible()
    await expect(page.get_by_text("Test mode.")).not_to_be_visible()


async def test_retention_is_set_for_the_project(visitor: Visitor) -> None:
    page = await visitor.join("/settings")
    card = page.locator("form", has=page.locator("#contentRetention"))
    await expect(card.locator("#contentRetentionDays")).not_to_be_visible()
    await card.get_by_label("Content", exact=True).select_option("days")
    await card.get_by_label("Remove content after").fill("soon")
    await card.get_by_label("Remove messages after").fill("90")
    await card.get_by_role("button", name="Save").click()
    await expect(card.get_by_role("alert")).to_contain_text(
        "Write a number of days from 1 to 3650."
    )
    await card.get_by_label("Remove content after").fill("30")
    await card.get_by_role("button", name="Save").click()
    await expect(page.get_by_text("Saved. What is due now")).to_be_visible()
    await page.reload()
    await expect(card.locator("#contentRetention")).to_have_value("days")
    await expect(card.locator("#contentRetentionDays")).to_have_value("30")
    await expect(card.locator("#retentionDays")).to_have_value("90")


async def test_a_route_is_made_and_sent_by(visitor: Visitor) -> None:
    page = await visitor.join("/connectors")
    await expect(page.locator("tbody tr").first).to_be_visible()  # the page has loaded
    await page.get_by_role("button", name="Add route").click()
    dialog = page.get_by_role("dialog")
    await dialog.get_by_role("button", name="Save").click()
    await expect(dialog.get_by_role("alert").or_(dialog.locator(".note.bad"))).to_contain_text(
        "at least one step"
    )
    await dialog.get_by_label("Name").fill("urgent")
    await dialog.get_by_label("First").select_option("sandbox")
    await dialog.get_by_label("Not delivered within").fill("soon")
    await dialog.get_by_role("button", name="Save").click()
    await expect(dialog).to_contain_text("'soon' is not a duration")
    await dialog.get_by_label("Not delivered within").fill("5m")
    await dialog.get_by_role("button", name="Save").click()
    row = page.get_by_role("row", name="urgent")
    await expect(row).to_contain_text("5m")

    await page.goto(f"{visitor.site.url}/playground")
    await page.locator("#connectorId").select_option(label="Route urgent")
    await page.locator("#to").fill("sandbox:delivered")
    await page.get_by_label("Text").fill("Hello")
    await page.get_by_role("button", name="Send").click()
    await expect(page.get_by_text("202 Accepted")).to_be_visible()
