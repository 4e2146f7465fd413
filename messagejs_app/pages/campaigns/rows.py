"""What the campaign pages show, made from the read models."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from backend import ids
from backend.services.campaigns import states
from backend.services.campaigns.check import RowPreview
from backend.services.campaigns.progress import Progress
from backend.services.campaigns.rows import RowError
from messagejs_app.components.statuses import dot, word
from messagejs_app.wording import instant, number

# Errors that a page shows; the download has them all.
MOST_ERRORS: Final = 20
_DOTS: Final = {
    states.DRAFT: "queued ring",
    states.RUNNING: "sending halo",
    states.PAUSED: "throttled half",
    states.COMPLETED: "delivered",
    states.CANCELED: "canceled dash",
}


@dataclass
class ListedCampaign:
    id: str = ""
    name: str = ""
    state: str = ""
    dot: str = ""
    rows: str = ""
    done: str = ""
    failed: str = ""
    percent: str = ""
    at: str = ""


@dataclass
class StatusCount:
    status: str
    dot: str
    messages: str


@dataclass
class RowProblem:
    row: str
    field: str
    code: str
    message: str


@dataclass
class Sample:
    recipient: str
    text: str


def listed(progress: Progress) -> ListedCampaign:
    campaign = progress.campaign
    done = progress.accepted + progress.failed
    return ListedCampaign(
        id=ids.encode(ids.CAMPAIGN, campaign.id),
        name=campaign.name,
        state=campaign.state.capitalize(),
        dot=_DOTS[campaign.state],
        rows=number(campaign.total_rows),
        done=number(progress.accepted),
        failed=number(progress.failed),
        percent=f"{100 * done // max(1, campaign.total_rows)}%",
        at=instant(campaign.created_at),
    )


def counts_of(progress: Progress) -> list[StatusCount]:
    counts = [
        StatusCount("Not accepted yet", "queued ring", number(progress.pending)),
        *(
            StatusCount(word(status), dot(status), number(count))
            for status, count in sorted(progress.messages.items())
        ),
        StatusCount("Rows with errors", "failed", number(progress.failed)),
    ]
    return [count for count in counts if count.messages != "0"]


def problem_of(error: RowError) -> RowProblem:
    return RowProblem(number(error.row), error.field, error.code, error.message)


def sample_of(preview: RowPreview) -> Sample:
    return Sample(preview.to, str(preview.content.get("text", "")))
