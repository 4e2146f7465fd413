from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from backend.runtime import secrets
from backend.runtime.datadir import DataDir
from backend.runtime.errors import SecretMissing, SecretsLost
from backend.settings import Settings


def test_secrets_are_made_once_and_kept(tmp_path: Path) -> None:
    created = secrets.generate_missing(DataDir(tmp_path), set())
    again = secrets.generate_missing(DataDir(tmp_path), set())
    assert created == again
    assert set(created) == set(secrets.NAMES)


def test_made_secrets_are_such_that_the_settings_take_them(tmp_path: Path) -> None:
    created = secrets.generate_missing(DataDir(tmp_path), set())
    values = {name.lower(): value for name, value in created.items()}
    settings = Settings.model_validate(values)
    assert settings.require_jwt_secret() == created["JWT_SECRET"]
    assert settings.encryption_keys() == (created["ENCRYPTION_KEY"],)


def test_only_the_owner_reads_the_secrets(tmp_path: Path) -> None:
    data_dir = DataDir(tmp_path)
    secrets.generate_missing(data_dir, set())
    assert stat.S_IMODE(data_dir.secrets_path.stat().st_mode) == 0o600


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_root_leaves_the_secrets_to_the_owner_of_the_directory(tmp_path: Path) -> None:
    os.chown(tmp_path, 65534, 65534)
    data_dir = DataDir(tmp_path)
    secrets.generate_missing(data_dir, set())
    assert data_dir.secrets_path.stat().st_uid == 65534


def test_what_the_environment_sets_is_not_replaced(tmp_path: Path) -> None:
    assert "JWT_SECRET" not in secrets.generate_missing(DataDir(tmp_path), {"JWT_SECRET"})


def test_a_database_without_its_secrets_gets_no_new_ones(tmp_path: Path) -> None:
    (tmp_path / "postgres").mkdir()
    with pytest.raises(SecretsLost, match=r"secrets\.env.*Restore"):
        secrets.generate_missing(DataDir(tmp_path), set())
    assert not (tmp_path / "secrets.env").exists()


@pytest.mark.parametrize("name", ["KEY_PEPPER", "ENCRYPTION_KEY"])
def test_a_database_whose_secrets_lack_one_gets_no_new_one(tmp_path: Path, name: str) -> None:
    data_dir = DataDir(tmp_path)
    created = secrets.generate_missing(data_dir, set())
    (tmp_path / "postgres").mkdir()
    kept = "".join(f"{other}={value}\n" for other, value in created.items() if other != name)
    data_dir.secrets_path.write_text(kept)
    with pytest.raises(SecretsLost, match=rf"lacks its {name}\. Restore"):
        secrets.generate_missing(data_dir, set())
    assert data_dir.secrets_path.read_text() == kept
    assert name not in secrets.generate_missing(data_dir, {name})


def test_a_lost_signing_secret_only_ends_log_ins(tmp_path: Path) -> None:
    data_dir = DataDir(tmp_path)
    created = secrets.generate_missing(data_dir, set())
    (tmp_path / "postgres").mkdir()
    data_dir.secrets_path.write_text(
        "".join(f"{n}={v}\n" for n, v in created.items() if n != "JWT_SECRET")
    )
    again = secrets.generate_missing(data_dir, set())
    assert again["KEY_PEPPER"] == created["KEY_PEPPER"]
    assert again["JWT_SECRET"] != created["JWT_SECRET"]


def test_secrets_that_others_could_read_are_closed_to_them(tmp_path: Path) -> None:
    data_dir = DataDir(tmp_path)
    assert not secrets.close_to_others(data_dir)  # there are none yet
    secrets.generate_missing(data_dir, set())
    assert not secrets.close_to_others(data_dir)
    data_dir.secrets_path.chmod(0o644)
    assert secrets.close_to_others(data_dir)
    assert stat.S_IMODE(data_dir.secrets_path.stat().st_mode) == 0o600


def test_an_external_database_asks_for_each_missing_secret_and_says_how_to_make_it() -> None:
    with pytest.raises(SecretMissing) as caught:
        secrets.require_all({"JWT_SECRET"})
    assert "ENCRYPTION_KEY=$(openssl rand -hex 32)" in str(caught.value)
    assert "KEY_PEPPER=$(openssl rand -hex 32)" in str(caught.value)
    assert "JWT_SECRET=" not in str(caught.value)
