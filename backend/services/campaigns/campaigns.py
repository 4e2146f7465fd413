"""A project's campaigns: created from a file, paused, resumed, canceled.

A change holds the lock of the campaign's row. Accepting a row waits for that lock too
(ledger/accept.py), so that no row is accepted once a pause or a cancel has been committed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Self
from uuid import UUID

from sqlmodel import col, select
from sqlmodel.ext.asyncio.session import AsyncSession

from backend.errors import (
    BadRequest,
    CampaignNotFound,
    CampaignStateConflict,
    FieldError,
    IdempotencyConflict,
    InvalidTo,
)
from backend.ids import new_id
from backend.ledger import cancel, hold
from backend.ledger.idempotency import IdempotencyKey, Taken, find_key, take_key
from backend.models import Campaign
from backend.models.base import utc_now
from backend.models.session import driver_of
from backend.names import check_name
from backend.services.access import audit
from backend.services.access.access import Access, Action, Actor
from backend.services.campaigns.check import BAD_ROW, duplicate
from backend.services.campaigns.csv_file import in_reader
from backend.services.campaigns.progress import stored_rows
from backend.services.campaigns.row_spool import RowSpool
from backend.services.campaigns.rows import RowError, count_rows, refuse_rows
from backend.services.campaigns.states import CANCELED, DRAFT, PAUSED, RUNNING
from backend.services.routing.recipients import normalised_recipient
from backend.services.sending.timing import FURTHEST_SEND_AT

if TYPE_CHECKING:
    from backend.services.campaigns.csv_file import CsvFile, CsvRow
    from backend.services.campaigns.plan import CampaignPlan
    from backend.services.policy.send_path import SendPath
    from backend.services.policy.sender import Sender

_CHANGES: Final = {PAUSED: "paused", RUNNING: "resumed", CANCELED: "canceled"}


@dataclass(frozen=True, slots=True)
class NewCampaign:
    """`send_at`: when feeding starts; None: at once. `is_draft`: only stored; resuming starts it.

    A draft's plan may have an empty mapping; `plan_draft` says later what it sends.
    """

    name: str
    plan: CampaignPlan
    id: UUID = field(default_factory=new_id)
    send_at: datetime | None = None
    sends_duplicates: bool = False
    is_draft: bool = False


@dataclass(slots=True)
class ReadRows:
    """A new campaign's rows, read and checked.

    `connector_type`: the type that sends them; None for a draft without a plan.
    """

    spool: RowSpool
    connector_type: str | None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.spool.close()


async def read_rows(path: SendPath, sender: Sender, *, new: NewCampaign, file: CsvFile) -> ReadRows:
    """Check everything that a campaign is made of, outside any transaction.

    Raises what is wrong with the campaign as a whole.
    """
    _check_times(new)
    is_planned = bool(new.plan.mapping) or not new.is_draft
    connector_type = (await new.plan.check(path, sender))[0].type if is_planned else None
    checker = RowChecker(new.plan, None if new.sends_duplicates else connector_type)
    spool = RowSpool(campaign_id=new.id, project_id=sender.project_id)
    try:
        await spool.fill(file, checker.error_of)
    except BaseException:
        spool.close()
        raise
    return ReadRows(spool, connector_type)


async def create_campaign(
    session: AsyncSession,
    sender: Sender,
    *,
    new: NewCampaign,
    rows: ReadRows,
) -> Campaign:
    """Store the campaign with its rows; a worker feeds it."""
    check_name(new.name)
    plan, now = new.plan, utc_now()
    campaign = Campaign(
        id=new.id,
        project_id=sender.project_id,
        name=new.name,
        state=DRAFT if new.is_draft else RUNNING,
        mode=sender.mode,
        key_id=sender.key.id if sender.key is not None else None,
        created_by=sender.access.actor.user_id,
        connector_id=plan.connector_id,
        connector_type=plan.connector_type,
        template_id=plan.template_id,
        message=plan.message,
        subject=plan.subject,
        html=plan.html,
        priority=plan.priority,
        metadata_=dict(plan.metadata) if plan.metadata else None,
        columns=list(plan.columns),
        mapping=dict(plan.mapping),
        send_at=new.send_at,
        expires_at=plan.expires_at,
        next_feed_at=max(now, new.send_at or now),
        started_at=None if new.is_draft else now,
    )
    session.add(campaign)
    await session.flush()
    await rows.spool.store(session)
    campaign.total_rows = rows.spool.total
    after = {"name": campaign.name, "rows": campaign.total_rows, "state": campaign.state}
    audit.record(
        session,
        sender.access.actor,
        "campaign.created",
        project_id=campaign.project_id,
        subject_id=campaign.id,
        after=after,
    )
    return campaign


@dataclass
class RowChecker:
    """Finds what is known to be wrong before a row is tried: it can't be read, or repeats a
    recipient.
    """

    plan: CampaignPlan
    connector_type: str | None
    _seen: set[str] = field(default_factory=set)

    def errors_of(self, rows: Sequence[CsvRow]) -> list[RowError]:
        return [error for row in rows if (error := self.error_of(row)) is not None]

    def error_of(self, row: CsvRow) -> RowError | None:
        if row.problem is not None:
            return RowError(row.line, "", BAD_ROW, row.problem)
        if self.connector_type is None:
            return None
        try:
            to = normalised_recipient(self.connector_type, self.plan.recipient(row.cells))
        except InvalidTo:
            return None  # reported when the row is fed
        if to in self._seen:
            return duplicate(row.line, to)
        self._seen.add(to)
        return None


def _check_times(new: NewCampaign) -> None:
    now = datetime.now(UTC)
    starts_at = max(now, new.send_at or now)
    if starts_at - now > FURTHEST_SEND_AT:
        raise BadRequest(
            "The campaign would start more than a year ahead.",
            errors=[FieldError("sendAt", "VALIDATION_ERROR", "sendAt must lie within a year.")],
        )
    if new.plan.expires_at is not None and new.plan.expires_at <= starts_at:
        raise BadRequest(
            "The campaign would expire before it starts.",
            errors=[
                FieldError(
                    "expiresAt",
                    "VALIDATION_ERROR",
                    "expiresAt must lie after sendAt and after now.",
                )
            ],
        )


async def find_repeated(
    session: AsyncSession, access: Access, key: IdempotencyKey, *, campaign_id: UUID, ttl_s: int
) -> Campaign | None:
    """Return the campaign that an earlier request under this key created.

    None: the key now belongs to `campaign_id`. Raises IdempotencyConflict if the key was used for
    another request.
    """
    access.require(Action.SEND_MESSAGES)
    connection = await driver_of(session)
    earlier = await take_key(connection, access.project_id, key, owner=campaign_id, ttl_s=ttl_s)
    return await _created_under(session, access, key, earlier)


async def find_earlier(
    session: AsyncSession, access: Access, key: IdempotencyKey
) -> Campaign | None:
    """Like `find_repeated`, but don't take the key."""
    access.require(Action.SEND_MESSAGES)
    earlier = await find_key(await driver_of(session), access.project_id, key)
    return await _created_under(session, access, key, earlier)


async def _created_under(
    session: AsyncSession, access: Access, key: IdempotencyKey, earlier: Taken | None
) -> Campaign | None:
    if earlier is None:
        return None
    if earlier.request_hash != key.request_hash:
        raise IdempotencyConflict
    return await _find(session, access, earlier.message_id)


async def get_campaign(session: AsyncSession, access: Access, *, campaign_id: UUID) -> Campaign:
    """Raises CampaignNotFound, also for one of a mode that must not be seen."""
    access.require(Action.VIEW_MESSAGES)
    return await _find(session, access, campaign_id)


async def _find(session: AsyncSession, access: Access, campaign_id: UUID) -> Campaign:
    campaign = await Campaign.find(session, access.project_id, campaign_id)
    if campaign is None or (access.only_mode is not None and campaign.mode != access.only_mode):
        raise CampaignNotFound
    return campaign


async def find_project_of(session: AsyncSession, campaign_id: UUID) -> UUID:
    """Look across tenants: check the caller's access before showing anything.

    Raises CampaignNotFound.
    """
    campaign = await Campaign.find_any(session, campaign_id)
    if campaign is None:
        raise CampaignNotFound
    return campaign.project_id


async def plan_draft(
    path: SendPath,
    session: AsyncSession,
    sender: Sender,
    *,
    campaign_id: UUID,
    name: str,
    plan: CampaignPlan,
) -> Campaign:
    """Set what a draft sends.

    Raises CampaignNotFound, CampaignStateConflict, and what is wrong with every row.
    """
    campaign = await _locked(session, sender.project_id, campaign_id, sender.mode, (DRAFT,))
    check_name(name)
    connectors = await plan.check(path, sender)
    campaign.name = name
    campaign.connector_id, campaign.connector_type = plan.connector_id, plan.connector_type
    campaign.template_id, campaign.message = plan.template_id, plan.message
    campaign.subject, campaign.html, campaign.mapping = plan.subject, plan.html, dict(plan.mapping)
    checker = RowChecker(plan, connectors[0].type)
    async for rows in stored_rows(path.database, sender.access, campaign_id=campaign_id):
        errors = await in_reader(partial(checker.errors_of, rows))
        await refuse_rows(await driver_of(session), campaign_id, errors, states=(DRAFT,))
    return campaign


async def pause_campaign(
    session: AsyncSession, access: Access, *, campaign_id: UUID, reason: str | None = None
) -> Campaign:
    """Accept no more rows, and hold the messages that no worker has claimed."""
    access.require(Action.SEND_MESSAGES)
    campaign = await _locked(session, access.project_id, campaign_id, access.only_mode, (RUNNING,))
    campaign.reason = reason
    await _enter(session, campaign, PAUSED, access.actor)
    await hold.hold_campaign(await driver_of(session), campaign.id)
    return campaign


async def resume_campaign(session: AsyncSession, access: Access, *, campaign_id: UUID) -> Campaign:
    """Start a draft, or continue after a pause."""
    access.require(Action.SEND_MESSAGES)
    campaign = await _locked(
        session, access.project_id, campaign_id, access.only_mode, (DRAFT, PAUSED)
    )
    if not campaign.mapping:
        raise CampaignStateConflict(
            "The draft does not say what it sends; finish it on the dashboard."
        )
    now = utc_now()
    campaign.reason = None
    campaign.started_at = campaign.started_at or now
    campaign.next_feed_at = max(now, campaign.send_at or now)
    await _enter(session, campaign, RUNNING, access.actor)
    await hold.release_campaign(await driver_of(session), campaign.id)
    return campaign


async def cancel_campaign(session: AsyncSession, access: Access, *, campaign_id: UUID) -> Campaign:
    """End it for good: accept no more rows, and cancel the messages that no worker has claimed."""
    access.require(Action.SEND_MESSAGES)
    campaign = await _locked(
        session, access.project_id, campaign_id, access.only_mode, (DRAFT, RUNNING, PAUSED)
    )
    campaign.ended_at, campaign.reason = utc_now(), None
    await _enter(session, campaign, CANCELED, access.actor)
    connection = await driver_of(session)
    await cancel.cancel_campaign(connection, campaign.id)
    counts = await count_rows(connection, campaign.id)
    campaign.accepted_rows, campaign.failed_rows = counts.accepted, counts.failed
    return campaign


async def _locked(
    session: AsyncSession,
    project_id: UUID,
    campaign_id: UUID,
    mode: str | None,
    states: tuple[str, ...],
) -> Campaign:
    """Raises CampaignNotFound or CampaignStateConflict."""
    query = select(Campaign).where(
        col(Campaign.id) == campaign_id, col(Campaign.project_id) == project_id
    )
    campaign = (
        await session.exec(query.with_for_update().execution_options(populate_existing=True))
    ).first()
    if campaign is None or (mode is not None and campaign.mode != mode):
        raise CampaignNotFound
    if campaign.state not in states:
        raise CampaignStateConflict(
            f"The campaign is '{campaign.state}'; this needs one that is {' or '.join(states)}.",
            details={"state": campaign.state},
        )
    return campaign


async def _enter(session: AsyncSession, campaign: Campaign, state: str, actor: Actor) -> None:
    before: dict[str, Any] = {"state": campaign.state}
    campaign.state = state
    audit.record(
        session,
        actor,
        f"campaign.{_CHANGES[state]}",
        project_id=campaign.project_id,
        subject_id=campaign.id,
        before=before,
        after={"state": state} | ({"reason": campaign.reason} if campaign.reason else {}),
    )
    await session.flush()
