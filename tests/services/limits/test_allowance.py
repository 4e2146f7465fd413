"""The rate-limit headers, whichever counter they come from."""

from __future__ import annotations

from pathlib import Path

import pytest

import backend
from backend.errors import RateLimitExceeded
from backend.services.limits.allowance import NOTHING_COUNTED, Allowance, Bucket

KEY = Bucket("key", limit=100, remaining=7, reset_s=30, window_s=3600)
EMPTY_MONTH = Bucket("project", limit=1000, remaining=0, reset_s=86400, window_s=2592000)


def test_the_headers_name_every_limit_in_order() -> None:
    assert Allowance((KEY, EMPTY_MONTH)).headers() == {
        "RateLimit-Policy": '"key";q=100;w=3600, "project";q=1000;w=2592000',
        "RateLimit": '"key";r=7;t=30, "project";r=0;t=86400',
    }


def test_a_refused_try_is_told_when_the_limit_that_refused_it_is_free_again() -> None:
    allowance = Allowance((KEY, EMPTY_MONTH), refused_by=EMPTY_MONTH)
    assert allowance.headers()["Retry-After"] == "86400"
    with pytest.raises(RateLimitExceeded, match=r"^Too many sends; try again in 86400 s\.$") as exc:
        allowance.require("Too many sends")
    assert exc.value.headers == {"Retry-After": "86400"}


def test_where_nothing_was_counted_nothing_is_refused_or_written() -> None:
    NOTHING_COUNTED.require("Too many sends")
    assert NOTHING_COUNTED.headers() == NOTHING_COUNTED.retry_after() == {}


def test_no_other_module_writes_the_headers() -> None:
    root = Path(backend.__path__[0])
    writers = {
        str(path.relative_to(root))
        for path in root.rglob("*.py")
        if '"RateLimit-Policy"' in path.read_text() or '"RateLimit":' in path.read_text()
    }
    assert writers == {"services/limits/allowance.py"}
