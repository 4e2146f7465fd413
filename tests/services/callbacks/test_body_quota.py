"""A connector's callbacks are kept up to so many bytes a day; another connector has its own."""

from __future__ import annotations

from backend.ids import new_id
from backend.services.callbacks.body_quota import LONGEST_BODY_BYTES, BodyQuota


def test_what_a_connector_has_used_up_comes_back_within_a_day() -> None:
    now = 0.0
    quota = BodyQuota(1000, clock=lambda: now)
    mine, other = new_id(), new_id()
    assert [len(quota.kept(mine, b"x" * 400)) for _ in range(3)] == [400, 400, 0]
    assert quota.kept(mine, b"short") == b"short"
    assert len(quota.kept(other, b"x" * 1000)) == 1000
    now = 24 * 3600 / 4  # a quarter of 1000 bytes is there again, beside the 195 that were left
    assert len(quota.kept(mine, b"x" * 446)) == 0
    assert len(quota.kept(mine, b"x" * 445)) == 445
    now = 10 * 24 * 3600
    assert [len(quota.kept(mine, b"x" * 600)) for _ in range(2)] == [600, 0]


def test_of_one_body_a_part_is_kept() -> None:
    assert len(BodyQuota(1 << 30).kept(new_id(), b"x" * 3_000_000)) == LONGEST_BODY_BYTES
    assert BodyQuota(0).kept(new_id(), b"x") == b""


def test_connectors_not_heard_of_for_long_are_forgotten() -> None:
    quota = BodyQuota(10)
    first = new_id()
    assert quota.kept(first, b"x" * 10)
    for _ in range(10_000):
        quota.kept(new_id(), b"")
    assert quota.kept(first, b"x" * 10)
