"""What an SMTP connector may be given."""

from __future__ import annotations

from typing import Any

import pytest

from backend.providers.frame.registry import parse_credentials


def test_a_domain_outside_ascii_becomes_ascii() -> None:
    parsed = parse_credentials("smtp", {"host": "h", "fromAddress": "info@münchen.example.org"})
    assert parsed.model_dump()["from_address"] == "info@xn--mnchen-3ya.example.org"


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        ({}, "host"),
        ({"host": "h"}, "fromAddress is needed"),
        ({"host": "h", "username": "apikey", "password": "x"}, "fromAddress is needed"),
        ({"host": "h", "username": "a@example.com"}, "username and password go together"),
        ({"host": "h", "fromAddress": "a@example.com", "port": 70000}, "port"),
        ({"host": "h", "fromAddress": "a@example.com", "security": "ssl"}, "security"),
        ({"host": "h\r\nx", "fromAddress": "a@example.com"}, "host"),
        ({"host": "h", "fromAddress": "a@example.com", "fromName": "x\r\nBcc: y"}, "fromName"),
        ({"host": "h", "fromAddress": "nobody"}, "fromAddress"),
        ({"host": "..", "fromAddress": "a@example.com"}, "host"),
        ({"host": ".example.com", "fromAddress": "a@example.com"}, "host"),
        ({"host": "a..example.com", "fromAddress": "a@example.com"}, "host"),
        ({"host": "a" * 64 + ".example.com", "fromAddress": "a@example.com"}, "host"),
        ({"host": "[::1", "fromAddress": "a@example.com"}, "host"),
        ({"host": "[mail]", "fromAddress": "a@example.com"}, "host"),
    ],
)
def test_credentials_that_cannot_work_are_refused(values: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        parse_credentials("smtp", values)


@pytest.mark.parametrize(
    "host", ["mail", "mail_relay.internal", "smtp.example.com.", "127.0.0.1", "::1", "[::1]"]
)
def test_hosts_that_can_be_looked_up_are_accepted(host: str) -> None:
    parse_credentials("smtp", {"host": host, "fromAddress": "a@example.com"})
