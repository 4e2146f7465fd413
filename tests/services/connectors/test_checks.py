"""A connector's test always ends in an answer, whatever its adapter does."""

from __future__ import annotations

from typing import Any

import pytest

from backend.errors import ConnectorFailed
from backend.providers._base import Health, ProviderContext
from backend.providers._registry import provider_types
from backend.providers.sandbox import SandboxProvider
from backend.services.connectors import connectors
from backend.services.connectors.checks import verify_credentials
from backend.services.platform import Platform
from tests.world import World


class FailsToOpen(SandboxProvider):
    type = "fails"

    def __init__(self, credentials: Any, context: ProviderContext) -> None:
        raise ValueError("=?utf-8?q?=0d=0a?=")


class FailsToAnswer(SandboxProvider):
    type = "fails"

    async def validate(self) -> Health:
        raise RuntimeError("secret-words")


class FailsToClose(SandboxProvider):
    type = "fails"

    async def aclose(self) -> None:
        raise OSError("secret-words")


@pytest.mark.parametrize(
    ("adapter", "is_connected"), [(FailsToOpen, False), (FailsToAnswer, False), (FailsToClose, True)]
)
async def test_an_adapter_that_fails_is_a_failed_test_that_says_so(
    adapter: type[SandboxProvider],
    is_connected: bool,
    world: World,
    platform: Platform,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(provider_types(), "fails", adapter)
    connector = await world.connector("fails")
    health = await connectors.test_connector(
        platform.database,
        vault=platform.vault,
        context=platform.providers,
        project_id=world.project_id,
        connector_id=connector.id,
    )
    assert health.connected is is_connected
    assert "secret-words" not in health.message
    if not is_connected:
        assert "failed by itself" in health.message


@pytest.mark.parametrize("adapter", [FailsToOpen, FailsToAnswer])
async def test_an_adapter_that_fails_is_named_before_anything_is_stored(
    adapter: type[SandboxProvider], platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(provider_types(), "fails", adapter)
    with pytest.raises(ConnectorFailed, match="failed by itself"):
        await verify_credentials("fails", {}, context=platform.providers)
