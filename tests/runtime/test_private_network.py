"""When `messagejs up` lets connectors use private hosts: only on a server for this machine."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from backend.runtime.datadir import DataDir
from backend.runtime.environment import Environment, variable
from backend.runtime.output import Printer
from backend.runtime.up import _prepare_environment
from backend.settings import Settings, get_settings


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    for name in (variable(field) for field in Settings.model_fields):
        monkeypatch.setenv(name, "")  # so that what is added is taken away again
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    get_settings.cache_clear()
    yield
    get_settings.cache_clear()


@pytest.mark.parametrize(
    ("variables", "is_allowed"),
    [
        ({}, True),
        ({"HOST": "0.0.0.0"}, False),
        ({"API_BASE_URL": "https://api.example.com"}, False),
        ({"TRUSTED_PROXIES": "127.0.0.1"}, False),
        ({"API_BASE_URL": "https://api.example.com", "ALLOW_PRIVATE_NETWORK": "true"}, True),
        ({"ALLOW_PRIVATE_NETWORK": "false"}, False),
    ],
)
def test_private_hosts_are_not_allowed_automatically_behind_a_proxy_or_a_public_url(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, variables: dict[str, str], is_allowed: bool
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    environment = Environment()
    before = dict(os.environ)
    try:
        _prepare_environment(
            environment, environment.settings(), DataDir(tmp_path), Printer("json")
        )
        assert environment.settings().allow_private_network is is_allowed
    finally:
        for name in os.environ.keys() - before.keys():
            del os.environ[name]
