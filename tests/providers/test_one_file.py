"""A provider is one file: its class alone makes the product send, render and show it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, Final

import orjson
import pytest

from backend.models import Connector
from backend.platform import Platform
from backend.provider_types import describe_connector_types, icons, sender_fields
from backend.providers.frame import (
    JSON_HEADERS,
    Accepted,
    Capability,
    Credentials,
    Endpoint,
    Health,
    OutboundMessage,
    Provider,
    ProviderContext,
    Token,
    phone_number,
    refusal,
)
from backend.providers.frame.registry import provider_types
from backend.services.connectors.credentials import visible_credentials
from backend.services.delivery.engine import DeliveryEngine
from backend.services.policy.request import SendRequest
from backend.services.templates.channels import channel_names, channel_of, type_of_channel
from messagejs_app.components.controls import provider_icon
from tests.providers.fakes import FakeTelegram
from tests.world import World, make_engine

# --- The file.


class PigeonCredentials(Credentials):
    loft: str
    ring: Token


class PigeonProvider(Provider[PigeonCredentials]):
    type = "pigeon"
    title = "Pigeon post"
    summary = "Short messages by bird."
    icon = "bird"
    channel = "sms"
    recipient_kind = "phone"
    recipient_example = "+14155550123"
    sender_fields = ("loft",)
    base_url = "https://pigeon.example.com"
    capabilities = frozenset({Capability.TEXT})
    credentials_model = PigeonCredentials

    def __init__(self, credentials: PigeonCredentials, context: ProviderContext) -> None:
        super().__init__(credentials, context)
        self._flights = Endpoint(
            context.http,
            "POST",
            f"{self.api_url}/flights",
            {**JSON_HEADERS, "Authorization": f"Ring {credentials.ring.get_secret_value()}"},
            timeout_s=context.timeout_s,
            title=self.title,
        )

    @classmethod
    def validate_recipient(cls, to: str) -> str:
        return phone_number(to)

    async def validate(self) -> Health:
        return Health(True, "Connected to the loft.")

    async def send(self, message: OutboundMessage) -> Accepted:
        body = {"from": self.credentials.loft, "to": message.to, "text": self.check_text(message)}
        answer = await self._flights.call(orjson.dumps(body))
        if not answer.is_success:
            raise refusal(self.title, answer, table={})
        return Accepted(str(answer.body["flight"]))


# --- What the product makes of it.

CREDENTIALS: Final = {"loft": "Harbour", "ring": "ring-4711"}


@pytest.fixture(autouse=True)
def pigeon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Installed as pip would leave it."""
    info = tmp_path / "pigeon-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: pigeon\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        f"[messagejs.providers]\npigeon = {__name__}:PigeonProvider\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    provider_types.cache_clear()
    yield
    provider_types.cache_clear()


@pytest.fixture
async def loft() -> AsyncIterator[FakeTelegram]:
    """Any HTTP server that records what it gets."""
    async with FakeTelegram() as server:
        yield server


@pytest.fixture
async def engine(platform: Platform, loft: FakeTelegram) -> AsyncIterator[DeliveryEngine]:
    engine = make_engine(platform, base_urls={"pigeon": f"http://127.0.0.1:{loft.port}"})
    yield engine
    await engine.close(2)


async def test_it_sends_the_variant_of_its_channel(
    platform: Platform, world: World, engine: DeliveryEngine, loft: FakeTelegram
) -> None:
    connector = await world.connector("pigeon", CREDENTIALS)
    template = await world.template(
        "Hello {{name}}, this is the long text.", variants={"sms": {"content": "Hi {{name}}"}}
    )
    request = SendRequest(
        to="+14155550123",
        connector_id=connector.id,
        template_id=template.id,
        variables={"name": "Ada"},
    )
    loft.reply_once(200, {"flight": 7})
    message_id = (await world.send(request)).message_id
    await platform.doorbell.drain()
    async with asyncio.timeout(10):
        while not loft.received:
            await engine.drain_slice(0.2)
    message = await world.wait_for(message_id, "sent")
    (received,) = loft.received
    assert received.path == "/flights"
    assert received.headers["Authorization"] == "Ring ring-4711"
    assert received.body == {"from": "Harbour", "to": "+14155550123", "text": "Hi Ada"}
    assert (message.provider_message_id, message.connector_type) == ("7", "pigeon")


def test_its_channel_is_known_but_still_stands_for_the_built_in_type() -> None:
    assert channel_of("pigeon") == "sms"
    assert {"pigeon", "sms", "email"} <= set(channel_names())
    names = {name: type_of_channel(name) for name in ("pigeon", "sms", "email", "whatsapp")}
    assert names == {"pigeon": "pigeon", "sms": "twilio", "email": "smtp", "whatsapp": "whatsapp"}


def test_the_form_shows_it() -> None:
    described = {form["type"]: form for form in describe_connector_types()}["pigeon"]
    assert (described["title"], described["recipientKind"]) == ("Pigeon post", "phone")
    fields: list[dict[str, Any]] = described["fields"]
    assert [(field["name"], field["type"]) for field in fields] == [
        ("loft", "text"),
        ("ring", "secret"),
    ]


async def test_the_dashboard_shows_its_icon_and_sender(platform: Platform, world: World) -> None:
    connector: Connector = await world.connector("pigeon", CREDENTIALS)
    assert icons()["pigeon"] == "bird"
    assert "Bird" in str(provider_icon("pigeon"))
    shown = visible_credentials(platform.vault, connector)
    assert [shown[name] for name in sender_fields("pigeon")] == ["Harbour"]
    assert sender_fields("uninstalled") == ()


def test_its_address_is_the_default(platform: Platform) -> None:
    urls = platform.settings.provider_urls({"pigeon": PigeonProvider.base_url})
    assert urls == {"pigeon": "https://pigeon.example.com"}
