"""A connector's test ends in an answer that names the adapter, whatever that does."""

from __future__ import annotations

from typing import Any

import pytest

from backend.errors import ConnectorFailed
from backend.platform import Platform
from backend.providers.frame.provider import Health, ProviderContext
from backend.providers.frame.registry import provider_types
from backend.providers.sandbox import SandboxProvider
from backend.services.access.access import system_access
from backend.services.connectors import connectors
from backend.services.connectors.checks import verify_credentials
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


async def checked(
    world: World, adapter: type[SandboxProvider], monkeypatch: pytest.MonkeyPatch
) -> Health:
    monkeypatch.setitem(provider_types(), "fails", adapter)
    platform, connector = world.platform, await world.connector("fails")
    return await connectors.test_connector(
        platform.database,
        system_access(world.project_id),
        vault=platform.vault,
        context=platform.providers,
        connector_id=connector.id,
    )


@pytest.mark.parametrize("adapter", [FailsToOpen, FailsToAnswer])
async def test_an_adapter_that_fails_is_the_connectors_fault_and_says_no_secrets(
    adapter: type[SandboxProvider], world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ConnectorFailed, match="failed by itself") as caught:
        await checked(world, adapter, monkeypatch)
    assert "secret-words" not in caught.value.message


async def test_what_an_adapter_said_counts_although_it_fails_to_close(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert (await checked(world, FailsToClose, monkeypatch)).connected


@pytest.mark.parametrize("adapter", [FailsToOpen, FailsToAnswer])
async def test_an_adapter_that_fails_is_named_before_anything_is_stored(
    adapter: type[SandboxProvider], platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(provider_types(), "fails", adapter)
    with pytest.raises(ConnectorFailed, match="failed by itself"):
        await verify_credentials("fails", {}, context=platform.providers)
