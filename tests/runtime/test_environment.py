from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from backend.runtime.datadir import DataDir, Running
from backend.runtime.environment import Environment, masked, shown_value, variable
from backend.runtime.errors import WrongSettings
from backend.runtime.process import Identity
from backend.settings import Settings, get_settings


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """None of our variables is set, and the working directory is empty."""
    before = dict(os.environ)
    monkeypatch.chdir(tmp_path)
    for field_name in Settings.model_fields:
        os.environ.pop(variable(field_name), None)
    get_settings.cache_clear()
    yield
    os.environ.clear()
    os.environ.update(before)
    get_settings.cache_clear()


def test_a_wrong_setting_is_named_with_its_value() -> None:
    os.environ["PORT"] = "eighty"
    with pytest.raises(WrongSettings, match=r"PORT=eighty: .*integer"):
        Environment().settings()


def test_a_wrong_secret_is_named_without_its_value() -> None:
    os.environ["ENCRYPTION_KEY"] = "tooshort"
    with pytest.raises(WrongSettings) as caught:
        Environment().settings()
    assert "ENCRYPTION_KEY: needs 64 hexadecimal digits" in str(caught.value)
    assert "tooshort" not in str(caught.value)


def test_settings_that_contradict_each_other_are_named() -> None:
    os.environ["PROVIDER_TIMEOUT_S"] = "40"
    with pytest.raises(WrongSettings, match=r"PROVIDER_TIMEOUT_S .*LEASE_S"):
        Environment().settings()


def test_every_wrong_setting_is_named_at_once() -> None:
    os.environ |= {"PORT": "eighty", "LOG_LEVEL": "loud"}
    with pytest.raises(WrongSettings) as caught:
        Environment().settings()
    assert "PORT=eighty" in str(caught.value)
    assert "LOG_LEVEL=loud" in str(caught.value)


def test_options_override_variables_and_variables_override_dotenv() -> None:
    Path(".env").write_text("PORT=7001\nHOST=10.0.0.1\nWORKERS=3\n")
    os.environ |= {"PORT": "7002", "HOST": "10.0.0.2"}
    environment = Environment({"PORT": "7003"})
    settings = environment.settings()
    assert (settings.port, settings.host, settings.workers) == (7003, "10.0.0.2", 3)
    assert (environment.source("WORKERS"), environment.source("HOST")) == (".env", "env")
    assert environment.source("LOG_LEVEL") == "default"


def test_dotenv_sets_our_variables_only() -> None:
    Path(".env").write_text("LD_PRELOAD=evil.so\nPORT=7001\n")
    Environment()
    assert "LD_PRELOAD" not in os.environ


def test_a_relative_data_directory_stays_where_the_command_was_given(tmp_path: Path) -> None:
    environment = Environment({"MESSAGEJS_DATA_DIR": "data"})
    os.chdir("/")
    assert environment.settings().data_dir == tmp_path / "data"


def test_other_commands_find_a_running_supervisor(tmp_path: Path) -> None:
    running = Running(
        Identity.of(os.getpid()), "http://127.0.0.1:1", {"DATABASE_URL": "postgresql://x@/y"}
    )
    DataDir(tmp_path).announce(running)
    environment = Environment({"MESSAGEJS_DATA_DIR": str(tmp_path)})
    assert environment.join_running() == running
    assert environment.settings().require_database_url() == "postgresql://x@/y"
    assert environment.source("DATABASE_URL") == "messagejs up"


def test_a_set_database_overrides_a_running_supervisor(tmp_path: Path) -> None:
    os.environ["DATABASE_URL"] = "postgresql://mine@/db"
    DataDir(tmp_path).announce(
        Running(Identity.of(os.getpid()), "http://x", {"DATABASE_URL": "postgresql://x@/y"})
    )
    environment = Environment({"MESSAGEJS_DATA_DIR": str(tmp_path)})
    assert environment.join_running() is None
    assert environment.settings().require_database_url() == "postgresql://mine@/db"


def test_a_supervisor_on_the_same_database_lends_the_redis_that_it_runs(tmp_path: Path) -> None:
    os.environ["DATABASE_URL"] = "postgresql://mine@/db"
    announced = {"DATABASE_URL": "postgresql://mine@/db", "REDIS_URL": "unix:///run/valkey.sock"}
    running = Running(Identity.of(os.getpid()), "http://x", announced)
    DataDir(tmp_path).announce(running)
    environment = Environment({"MESSAGEJS_DATA_DIR": str(tmp_path)})
    assert environment.join_running() == running
    assert environment.settings().require_redis_url() == "unix:///run/valkey.sock"


def test_what_a_dead_supervisor_announced_is_not_used(tmp_path: Path) -> None:
    DataDir(tmp_path).announce(Running(Identity(os.getpid(), "another start"), "http://x", {}))
    assert Environment({"MESSAGEJS_DATA_DIR": str(tmp_path)}).join_running() is None


def test_a_damaged_announcement_counts_as_none(tmp_path: Path) -> None:
    (tmp_path / "runtime.json").write_text(json.dumps({"supervisor": 3}))
    assert DataDir(tmp_path).running() is None


@pytest.mark.parametrize(
    ("secret", "shown"),
    [
        ("abc123", "********"),
        ("postgresql://app:hunter2@db:5432/m", "postgresql://app:********@db:5432/m"),
        ("postgresql://app:p@ss@db/m", "postgresql://app:********@db/m"),
        ("unix:///tmp/valkey.sock?db=0", "unix:///tmp/valkey.sock?db=0"),
    ],
)
def test_secrets_are_masked(secret: str, shown: str) -> None:
    assert masked(secret) == shown


def test_the_settings_are_shown_as_people_write_them() -> None:
    os.environ |= {"JWT_SECRET": "s" * 32, "ALLOWED_ORIGINS": "https://a.example,https://b.example"}
    settings = Environment().settings()
    assert shown_value(settings, "jwt_secret") == "********"
    assert shown_value(settings, "allowed_origins") == "https://a.example, https://b.example"
    assert shown_value(settings, "sentry_dsn") == "-"
    assert shown_value(settings, "allow_private_network") == "false"
