"""The rule: what receipts make of a message.

No database; the same receipts in any order end the same.

A status only rises by rank (backend/status.py). Instants are the earliest ones reported. A handset
that has the message settles the question: a failure reported before is forgotten.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from backend.status import FAILURES, RANK, Status, may_follow


@dataclass(frozen=True, slots=True)
class Standing:
    """What is known about a message: the columns of its row that receipts may change."""

    status: Status
    sent_at: datetime | None = None
    delivered_at: datetime | None = None
    read_at: datetime | None = None
    failed_at: datetime | None = None
    error_code: str | None = None
    error_reason: str | None = None


@dataclass(frozen=True, slots=True)
class Report:
    """One receipt: `at` lies between the message's creation and the receipt's arrival."""

    status: Status
    at: datetime
    code: str = ""
    reason: str = ""


def settle(standing: Standing, reports: Sequence[Report]) -> tuple[Standing, list[Report]]:
    """Return what the reports make of a message, and those that raised its status, lowest first."""
    raised = []
    # What came together is taken in its natural order: each status it went through has its event.
    for report in sorted(reports, key=lambda item: (RANK[item.status], item.at)):
        after = _after(standing, report)
        if after.status != standing.status:
            raised.append(report)
        standing = after
    return standing, raised


def _after(standing: Standing, report: Report) -> Standing:
    rises = may_follow(standing.status, report.status)
    if report.status in FAILURES:
        if not rises:
            return standing
        return replace(
            standing,
            status=report.status,
            failed_at=report.at,
            error_code=report.code or None,
            error_reason=report.reason or None,
        )
    standing = replace(standing, sent_at=standing.sent_at or report.at) if rises else standing
    if report.status in {Status.DELIVERED, Status.READ}:
        standing = replace(
            standing,
            delivered_at=_earlier(standing.delivered_at, report.at),
            failed_at=None,
            error_code=None,
            error_reason=None,
        )
    if report.status == Status.READ:
        standing = replace(standing, read_at=_earlier(standing.read_at, report.at))
    if not rises:
        return standing
    # `sent` settles what was uncertain; the reason of the doubt isn't an error any more.
    return replace(standing, status=report.status, error_code=None, error_reason=None)


def _earlier(known: datetime | None, at: datetime) -> datetime:
    return at if known is None else min(known, at)
