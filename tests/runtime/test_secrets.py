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
    made = secrets.generate_missing(DataDir(tmp_path), set())
    again = secrets.generate_missing(DataDir(tmp_path), set())
    assert made == again
    assert set(made) == set(secrets.NAMES)


def test_made_secrets_are_such_that_the_settings_take_them(tmp_path: Path) -> None:
    made = secrets.generate_missing(DataDir(tmp_path), set())
    values = {name.lower(): value for name, value in made.items()}
    settings = Settings.model_validate(values)
    assert settings.require_jwt_secret() == made["JWT_SECRET"]
    assert settings.encryption_keys() == (made["ENCRYPTION_KEY"],)


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


def test_an_external_database_asks_for_each_missing_secret_and_says_how_to_make_it() -> None:
    with pytest.raises(SecretMissing) as caught:
        secrets.require_all({"JWT_SECRET"})
    assert "ENCRYPTION_KEY=$(openssl rand -hex 32)" in str(caught.value)
    assert "KEY_PEPPER=$(openssl rand -hex 32)" in str(caught.value)
    assert "JWT_SECRET=" not in str(caught.value)
