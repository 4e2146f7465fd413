"""A status never goes back: the whole table, written out."""

from __future__ import annotations

import pytest

from backend.status import FAILURES, IN_PROGRESS, PENDING, RANK, Status, may_follow

# From the left column, a message may go to what stands right; to nothing else.
_MAY_GO_TO = {
    "scheduled": (
        "queued sending uncertain sent undelivered failed canceled expired blocked delivered read"
    ),
    "queued": "sending uncertain sent undelivered failed canceled expired blocked delivered read",
    "sending": "uncertain sent undelivered failed canceled expired blocked delivered read",
    "uncertain": "sent undelivered failed canceled expired blocked delivered read",
    "sent": "undelivered failed canceled expired blocked delivered read",
    "undelivered": "delivered read",
    "failed": "delivered read",
    "canceled": "delivered read",
    "expired": "delivered read",
    "blocked": "delivered read",
    "delivered": "read",
    "read": "",
}


@pytest.mark.parametrize("current", list(Status))
def test_a_status_goes_forward_only(current: Status) -> None:
    assert {new for new in Status if may_follow(current, new)} == {
        Status(s) for s in _MAY_GO_TO[current].split()
    }


def test_every_status_has_a_rank_and_none_follows_itself() -> None:
    assert set(RANK) == set(Status)
    assert not any(may_follow(status, status) for status in Status)


def test_a_receipt_may_report_a_failure_after_the_acceptance_and_a_delivery_settles_it() -> None:
    assert may_follow(Status.SENT, Status.FAILED)
    assert may_follow(Status.FAILED, Status.DELIVERED)
    assert not may_follow(Status.DELIVERED, Status.FAILED)


def test_the_groups_do_not_overlap() -> None:
    assert not IN_PROGRESS & FAILURES
    assert set(PENDING) <= IN_PROGRESS
    assert all(
        RANK[status] < RANK[Status.SENT] < RANK[failure]
        for status in IN_PROGRESS
        for failure in FAILURES
    )


def test_a_status_is_its_own_text() -> None:
    """It goes into JSON, SQL and the database as it is."""
    assert f"{Status.SENT}" == "sent"
    assert [status.value for status in Status] == [str(status) for status in Status]
