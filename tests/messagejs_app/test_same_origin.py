from __future__ import annotations

from pathlib import Path

import pytest

from messagejs_app.same_origin import SameOrigin

# As the bundler wrote it with Reflex 0.10.1.
_CHUNK = (
    "var e={PING:`http://localhost:8000/ping`,EVENT:`ws://localhost:8000/_event`,"
    "UPLOAD:`http://localhost:8000/_upload`,TRANSPORT:`websocket`,TEST_MODE:!1};export{e as t};"
)


@pytest.fixture
def assets(tmp_path: Path) -> Path:
    (tmp_path / "assets").mkdir()
    return tmp_path / "assets"


def test_the_frontend_talks_to_the_origin_that_served_it(assets: Path, tmp_path: Path) -> None:
    chunk = assets / "reflex-env-abc.js"
    chunk.write_text(_CHUNK)
    SameOrigin().post_build(static_dir=tmp_path)
    text = chunk.read_text()
    assert "PING:`${location.origin}/ping`" in text
    assert 'EVENT:`${location.origin.replace(/^http/,"ws")}/_event`' in text
    assert "localhost" not in text


def test_a_build_without_the_chunk_fails(tmp_path: Path, assets: Path) -> None:
    with pytest.raises(RuntimeError, match="found none"):
        SameOrigin().post_build(static_dir=tmp_path)


def test_a_build_with_two_such_chunks_fails(tmp_path: Path, assets: Path) -> None:
    for name in ("reflex-env-a.js", "reflex-env-b.js"):
        (assets / name).write_text(_CHUNK)
    with pytest.raises(RuntimeError, match=r"reflex-env-a\.js, reflex-env-b\.js"):
        SameOrigin().post_build(static_dir=tmp_path)


def test_a_chunk_that_looks_different_fails(tmp_path: Path, assets: Path) -> None:
    (assets / "reflex-env-a.js").write_text("export default {}")
    with pytest.raises(RuntimeError, match="does not contain the URLs"):
        SameOrigin().post_build(static_dir=tmp_path)
