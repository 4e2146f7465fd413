"""The content security policy and the headers beside it, for a site on disk."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.testclient import TestClient

from messagejs_app.page_headers import PageHeaders, inline_scripts

_SCRIPTS = frozenset({"'sha256-abc='"})


async def _answer(request: Request) -> Response:
    if request.headers.get("if-none-match"):
        return Response(status_code=304, headers={"etag": '"1"'})
    if request.url.path.startswith("/assets/"):
        return PlainTextResponse("js", 200 if request.url.path.endswith("known.js") else 404)
    if request.url.path == "/fixed":
        return PlainTextResponse("x", headers={"cache-control": "no-store"})
    return HTMLResponse("<p>page</p>")


def _client(*, base_url: str = "http://desk.example", is_https: bool = False) -> TestClient:
    pages = Starlette(routes=[Route("/{path:path}", _answer)])
    return TestClient(
        PageHeaders(pages, scripts=_SCRIPTS, preview_path="/preview.html", is_https=is_https),
        base_url=base_url,
    )


def _sha256(script: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"


def test_every_inline_script_of_the_site_is_allowed_by_its_hash_and_no_other(
    tmp_path: Path,
) -> None:
    (tmp_path / "keys").mkdir()
    (tmp_path / "index.html").write_text('<script>a()</script><script defer src="/x.js"></script>')
    (tmp_path / "keys" / "index.html").write_text(
        '<script>a()</script>\n<script type="module">\nb("é")\n</script>'
    )
    assert inline_scripts(tmp_path) == {_sha256("a()"), _sha256('\nb("é")\n')}


def test_a_page_allows_its_own_scripts_and_nothing_that_is_made_up() -> None:
    policy = _client().get("/").headers["content-security-policy"]
    directives = dict(directive.strip().split(" ", 1) for directive in policy.split(";"))
    assert directives["script-src"] == "'self' 'sha256-abc='"
    assert directives["style-src-attr"] == "'none'"
    for name in ("default-src", "object-src", "base-uri", "frame-ancestors"):
        assert directives[name] == "'none'"
    for name in ("connect-src", "form-action", "frame-src"):
        assert directives[name] == "'self'"


def test_not_modified_keeps_the_page_the_policy_it_has() -> None:
    """A browser puts the headers of a 304 over those it has kept: a narrower policy would stop the
    page.
    """
    client = _client()
    again = client.get("/", headers={"if-none-match": '"1"'})
    assert again.status_code == 304
    assert (
        again.headers["content-security-policy"]
        == client.get("/").headers["content-security-policy"]
    )
    preview = client.get("/preview.html", headers={"if-none-match": '"1"'})
    assert "frame-ancestors 'self'" in preview.headers["content-security-policy"]


def test_only_the_preview_may_stand_in_a_frame_and_it_runs_no_scripts() -> None:
    headers = _client().get("/preview.html").headers
    assert headers["x-frame-options"] == "SAMEORIGIN"
    assert "default-src 'none'" in headers["content-security-policy"]
    assert "script-src" not in headers["content-security-policy"]
    assert _client().get("/preview.htm").headers["x-frame-options"] == "DENY"


@pytest.mark.parametrize(
    ("path", "kept"),
    [
        ("/assets/known.js", "public, max-age=31536000, immutable"),
        ("/assets/gone.js", "no-cache"),
        ("/dashboard.js", "no-cache"),
        ("/fixed", "no-store"),
    ],
)
def test_only_what_is_named_by_its_content_is_kept_for_good(path: str, kept: str) -> None:
    assert _client().get(path).headers["cache-control"] == kept


def test_behind_tls_browsers_are_told_to_come_by_tls_only() -> None:
    name = "strict-transport-security"
    assert name not in _client().get("/").headers
    assert _client(is_https=True).get("/").headers[name] == "max-age=31536000"
    assert _client(base_url="https://desk.example").get("/").headers[name] == "max-age=31536000"
