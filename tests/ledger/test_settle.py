"""The rule of receipts, without a database: any order and any repetition end in one and the same
standing.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from backend.ledger.settle import Report, Standing, settle
from backend.status import RANK, Status

START = datetime(2026, 11, 21, 12, tzinfo=UTC)
REPORTED = [Status.SENT, Status.DELIVERED, Status.READ, Status.FAILED, Status.UNDELIVERED]

reports = st.builds(
    lambda status, second: Report(status, START + timedelta(seconds=second), "131026", "Gone"),
    st.sampled_from(REPORTED),
    st.integers(0, 60),
)
standings = st.sampled_from(list(Status)).map(Standing)


@st.composite
def orders(draw: st.DrawFn) -> tuple[list[Report], list[list[Report]]]:
    """Receipts in their own order, and the same ones shuffled, repeated, and split into batches."""
    reported = draw(st.lists(reports, max_size=6))
    again = draw(
        st.permutations(
            reported
            + draw(st.lists(st.sampled_from(reported), max_size=4) if reported else st.just([]))
        )
    )
    batches: list[list[Report]] = [[]]
    for report in again:
        if draw(st.booleans()):
            batches.append([])
        batches[-1].append(report)
    return reported, batches


@given(standings, orders())
def test_any_order_ends_in_the_highest_rank(
    before: Standing, reports: tuple[list[Report], list[list[Report]]]
) -> None:
    in_order, batches = reports
    at_once, _ = settle(before, in_order)
    standing = before
    for batch in batches:
        after, raised = settle(standing, batch)
        assert RANK[after.status] >= RANK[standing.status]
        assert [RANK[item.status] for item in raised] == sorted(
            {RANK[item.status] for item in raised}
        )
        standing = after
    highest = max([RANK[before.status], *(RANK[item.status] for item in in_order)])
    assert RANK[standing.status] == RANK[at_once.status] == highest
    assert (standing.delivered_at, standing.read_at) == (at_once.delivered_at, at_once.read_at)


@given(standings, st.lists(reports, max_size=6))
def test_the_same_receipts_again_change_nothing(before: Standing, reports: list[Report]) -> None:
    once, _ = settle(before, reports)
    assert settle(once, reports) == (once, [])


@given(standings, st.lists(reports, max_size=6))
def test_who_has_the_message_has_no_failure(before: Standing, reports: list[Report]) -> None:
    after, _ = settle(before, reports)
    if any(item.status in {Status.DELIVERED, Status.READ} for item in reports):
        assert after.delivered_at is not None
        assert (after.failed_at, after.error_code, after.error_reason) == (None, None, None)
    if after.status in {Status.FAILED, Status.UNDELIVERED} and after.status != before.status:
        assert after.failed_at is not None
        assert after.error_code == "131026"


def test_a_batch_tells_each_status_it_went_through() -> None:
    at = START
    reported = [Report(Status.READ, at), Report(Status.SENT, at), Report(Status.DELIVERED, at)]
    _, raised = settle(Standing(Status.QUEUED), reported)
    assert [item.status for item in raised] == ["sent", "delivered", "read"]


def test_the_earliest_instant_counts() -> None:
    late, early = (
        Report(Status.DELIVERED, START + timedelta(seconds=9)),
        Report(Status.DELIVERED, START),
    )
    after, _ = settle(Standing(Status.SENT), [late])
    assert settle(after, [early])[0].delivered_at == START
