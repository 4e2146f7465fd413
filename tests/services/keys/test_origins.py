"""Origins as browsers write them."""

from __future__ import annotations

import pytest

from backend.services.keys.origins import InvalidOrigin, is_local, normalised_origin, origin_host


@pytest.mark.parametrize(
    ("text", "origin"),
    [
        ("https://example.com", "https://example.com"),
        ("https://example.com/", "https://example.com"),
        ("HTTPS://EXAMPLE.com:443", "https://example.com"),
        ("http://example.com:443", "http://example.com:443"),
        ("http://[2001:DB8::1]:8080", "http://[2001:db8::1]:8080"),
        ("https://bücher.example", "https://xn--bcher-kva.example"),
    ],
)
def test_an_origin_is_written_as_a_browser_would(text: str, origin: str) -> None:
    assert normalised_origin(text) == origin


@pytest.mark.parametrize(
    "text",
    [
        "", "example.com", "null", "*", "https://", "https://*.example.com",
        "https://example.com/path",
        "https://example.com?a=b", "https://user@example.com", "ftp://example.com",
        "https://example.com:99999",
        "http://[::1", "https://" + "a" * 300,
    ],
)  # fmt: skip
def test_what_is_no_origin_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(InvalidOrigin, match=r"https://example\.com"):
        normalised_origin(text)


@pytest.mark.parametrize(
    ("origin", "expected"),
    [
        ("http://localhost:3000", True), ("http://app.localhost", True), ("http://127.0.0.1", True),
        ("http://127.9.9.9:1", True), ("http://[::1]:8000", True), ("https://example.com", False),
        ("https://localhost.example.com", False), ("https://notlocalhost", False), ("null", False),
        ("http://192.168.0.1", False),
    ],
)  # fmt: skip
def test_local_means_the_developers_own_machine(origin: str, expected: bool) -> None:
    assert is_local(origin) is expected


@pytest.mark.parametrize(
    ("header", "host"),
    [
        ("https://Example.com:8443", "example.com:8443"),
        ("http://[::1]:8000", "[::1]:8000"),
        ("http://xn--bcher-kva.example", "xn--bcher-kva.example"),
        ("chrome-extension://abcdef", "abcdef"),
        ("file://", ""),
        ("null", ""),
    ],
)
def test_the_host_of_an_origin_is_read_as_browsers_write_it(header: str, host: str) -> None:
    assert origin_host(header) == host


@pytest.mark.parametrize(
    "header",
    [
        "",
        "http://[",
        "http://[::1",
        "x",
        "//x",
        "http:/x",
        "http://u@x",
        "http://x/",
        "http://x:y",
        "http://x\n",
    ],
)
def test_what_is_no_origin_has_no_host(header: str) -> None:
    assert origin_host(header) is None
