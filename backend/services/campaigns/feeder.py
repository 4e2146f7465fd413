"""Feed campaigns: turn rows into messages, a few hundred at a time, while few enough wait.

Any worker may feed a campaign. Its turn is a lease in the campaign's row. The statement that writes
the message sees to it that a row is accepted once, and only while the campaign runs
(ledger/accept.py), whichever worker feeds it. A campaign that fails is paused. A row that fails is
marked, and the others continue. A turn is short, however long the texts take to render.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final
from uuid import UUID

import structlog
from psycopg.rows import class_row

from backend import ids
from backend.errors import (
    AppError,
    CampaignStateConflict,
    ConnectorNotActive,
    ConnectorNotFound,
    KeyScope,
    ProjectNotActive,
    ProjectNotFound,
    QuotaExceeded,
    RateLimitExceeded,
    ServerError,
    ServiceUnavailable,
    TemplateNotActive,
    TemplateNotFound,
    Unauthenticated,
)
from backend.integers import whole_number
from backend.models import Campaign
from backend.models.project import IS_OPEN
from backend.models.send_queue import DUE, LANES, WATCHED
from backend.outages import OutageLog, is_outage
from backend.process.rounds import Rounds
from backend.services.campaigns.check import errors_of
from backend.services.campaigns.pausing import pause_failing
from backend.services.campaigns.plan import CampaignPlan
from backend.services.campaigns.rows import refuse_rows
from backend.services.campaigns.sender import sender_of
from backend.services.campaigns.states import RUNNING
from backend.services.policy.admission import demand_of
from backend.services.sending.accept import accept
from backend.services.sending.compose import prepare_message

if TYPE_CHECKING:
    from backend.ledger.accept import NewMessage
    from backend.services.campaigns.parts import CampaignParts
    from backend.services.policy.sender import Sender

log = structlog.get_logger()

_EVERY_S: Final = 0.5
_LEASE_S: Final = 5.0
_CHUNK: Final = 500
# How long a turn takes before the next campaign's; its first rows show how many may be rendered
# before the clock is read again.
_TURN_S: Final = 1.0
_FIRST_SLICE: Final = 16
_QUICK_S: Final = 0.2
_AWAY_S: Final = 1.0
# How long a campaign waits: while enough of its messages wait, while a limit is used up (at most),
# and while its last messages are being sent.
_FULL_S: Final = 0.25
_LONGEST_WAIT_S: Final = 60.0
_ENDING_S: Final = 1.0

# How many projects a worker remembers; any other counts as fed the longest ago.
_MOST_FED: Final = 256

# The project that was fed the longest ago comes first, and of its campaigns the one that has waited
# the longest. The campaigns of a project that was switched off wait until it is active again.
_TAKE: Final = f"""
UPDATE campaigns SET next_feed_at = now() + make_interval(secs => %(lease_s)s)
WHERE id = (
    SELECT c.id FROM campaigns c JOIN projects p ON p.id = c.project_id
    LEFT JOIN unnest(%(fed)s::uuid[]) WITH ORDINALITY AS fed(project_id, turn)
        ON fed.project_id = c.project_id
    WHERE c.state = 'running' AND c.next_feed_at <= now() AND {IS_OPEN}
    ORDER BY fed.turn NULLS FIRST, c.next_feed_at LIMIT 1 FOR UPDATE OF c SKIP LOCKED
)
RETURNING id, project_id
"""  # noqa: S608 (made of constants)
_PUT_BACK: Final = """
UPDATE campaigns SET next_feed_at = now() + make_interval(secs => %s), reason = %s WHERE id = %s
    AND state = 'running'
"""
_WAITING: Final = f"""
SELECT count(*) FROM (
    SELECT 1 FROM send_queue WHERE state = {DUE} AND lane = %s AND connector_id = ANY(%s)
        AND due_at <= now() LIMIT %s
) waiting
"""  # noqa: S608 (made of constants)
_ROWS: Final = """
SELECT line, cells FROM campaign_rows WHERE campaign_id = %s AND state = 'pending' ORDER BY line
    LIMIT %s
"""
# From the last row back: the rows that were accepted last wait the longest.
_IS_UNDER_WAY: Final = f"""
SELECT 1 FROM campaign_rows r JOIN send_queue q ON q.message_id = r.message_id
WHERE r.campaign_id = %s AND r.state = 'accepted' AND q.state <> {WATCHED} ORDER BY r.line DESC
    LIMIT 1
"""  # noqa: S608 (made of constants)
_COMPLETE: Final = """
UPDATE campaigns c SET state = 'completed', ended_at = now(), updated_at = now(), reason = NULL,
    accepted_rows = n.accepted, failed_rows = n.failed
FROM (
    SELECT count(*) FILTER (WHERE state = 'accepted') AS accepted,
        count(*) FILTER (WHERE state = 'failed') AS failed
    FROM campaign_rows WHERE campaign_id = %(campaign)s
) n
WHERE c.id = %(campaign)s AND c.state = 'running'
"""

# Wrong with the campaign, not with a row: it pauses, so that a person can fix it.
_STOPPING: Final = (
    ConnectorNotActive, ConnectorNotFound, KeyScope, ProjectNotFound, TemplateNotActive,
    TemplateNotFound,
    Unauthenticated,
)  # fmt: skip
_PASSING: Final = (ProjectNotActive, RateLimitExceeded, QuotaExceeded, ServiceUnavailable)


@dataclass(frozen=True, slots=True)
class _Leased:
    id: UUID
    project_id: UUID


@dataclass(frozen=True, slots=True)
class _PendingRow:
    line: int
    cells: list[str]


@dataclass(frozen=True, slots=True)
class _Wait:
    """How long until the campaign's next turn; `reason` is shown to people."""

    seconds: float = 0.0
    reason: str | None = None


class CampaignFeeder:
    """`ahead`: how many due messages may wait in a connector's lane before no more rows are
    accepted.
    """

    def __init__(
        self,
        parts: CampaignParts,
        *,
        ahead: int,
        lease_s: float = _LEASE_S,
        turn_s: float = _TURN_S,
    ) -> None:
        self._parts = parts
        self._path = parts.path
        self._pool = parts.path.database.raw
        self._ahead = ahead
        self._lease_s = lease_s
        self._turn_s = turn_s
        self._outage = OutageLog("campaign.servers_away")
        self._fed: OrderedDict[UUID, None] = (
            OrderedDict()
        )  # projects, the one fed the longest ago first

    async def run(self) -> None:
        """Feed until canceled. A failed round is logged, and the next one tries again."""
        await Rounds(_EVERY_S, self.feed, on_error=self._report).run()

    def _report(self, error: Exception) -> None:
        if is_outage(error):
            self._outage.warn(error)
        else:
            log.error("campaign.failed", exc_info=error)

    async def feed(self) -> bool:
        """Give one campaign its turn, of the project that was fed the longest ago. False: none
        waits.
        """
        leased = await self._take()
        if leased is None:
            return False
        self._fed[leased.project_id] = None
        self._fed.move_to_end(leased.project_id)
        if len(self._fed) > _MOST_FED:
            self._fed.popitem(last=False)
        try:
            async with self._path.database.session() as session:
                campaign = await Campaign.find_any(session, leased.id)
            wait = await self._feed(campaign) if campaign is not None else None
        except Exception as exc:  # noqa: BLE001 (of this campaign: it waits, or is paused)
            wait = await self._after_failure(leased.id, exc)
        if wait is not None:
            async with self._pool.connection() as connection:
                await connection.execute(_PUT_BACK, (wait.seconds, wait.reason, leased.id))
        return True

    async def _take(self) -> _Leased | None:
        parameters = {"lease_s": self._lease_s, "fed": list(self._fed)}
        async with self._pool.connection() as connection:
            cursor = connection.cursor(row_factory=class_row(_Leased))
            await cursor.execute(_TAKE, parameters)
            return await cursor.fetchone()

    async def _after_failure(self, campaign_id: UUID, error: Exception) -> _Wait | None:
        """Return how long the campaign waits; None: it was paused."""
        if isinstance(error, _PASSING):
            return _Wait(_retry_after_s(error), error.message)
        if is_outage(error):
            self._outage.warn(error)
            return _Wait(_AWAY_S)
        if isinstance(error, AppError):
            reason = error.message
        else:
            name = ids.encode(ids.CAMPAIGN, campaign_id)
            log.error("campaign.failed", campaign_id=name, exc_info=error)
            reason = (
                f"MessageJS failed at the campaign ({type(error).__name__}); the server's log says"
                " more."
            )
        await pause_failing(self._parts, campaign_id, reason)
        return None

    async def _feed(self, campaign: Campaign) -> _Wait:
        sender = await sender_of(self._path, campaign)
        plan = CampaignPlan.of(campaign)
        connectors = await plan.check(self._path, sender)
        room = await self._room(LANES[plan.priority], [connector.id for connector in connectors])
        if room <= 0:
            return _Wait(_FULL_S)
        allowed, wait = await self._allowance(sender)
        if allowed <= 0:
            return wait
        rows = await self._pending(campaign.id, min(room, allowed, _CHUNK))
        if not rows:
            return await self._end(campaign)
        return await self._accept(campaign, plan, sender, rows)

    async def _room(self, lane: int, connector_ids: Sequence[UUID]) -> int:
        async with self._pool.connection() as connection:
            row = await (
                await connection.execute(_WAITING, (lane, list(connector_ids), self._ahead))
            ).fetchone()
        return self._ahead - (row[0] if row is not None else 0)

    async def _allowance(self, sender: Sender) -> tuple[int, _Wait]:
        """Look before taking: a send that a limit refuses would count as a failure of the key."""
        demand = await demand_of(self._path, sender)
        allowance = await self._path.rate_limiter.look(demand) if demand.is_limited else None
        if allowance is None:
            return _CHUNK, _Wait()
        least = min(allowance.buckets, key=lambda bucket: bucket.remaining)
        what = "monthly quota" if least.policy == "project" else "API key's limit"
        seconds = min(float(least.reset_s), _LONGEST_WAIT_S)
        return least.remaining, _Wait(
            seconds,
            f"The {what} of {least.limit} messages is used up; the campaign continues by itself.",
        )

    async def _pending(self, campaign_id: UUID, most: int) -> list[_PendingRow]:
        async with self._pool.connection() as connection:
            cursor = connection.cursor(row_factory=class_row(_PendingRow))
            await cursor.execute(_ROWS, (campaign_id, most), prepare=True)
            return await cursor.fetchall()

    async def _accept(
        self,
        campaign: Campaign,
        plan: CampaignPlan,
        sender: Sender,
        rows: Sequence[_PendingRow],
    ) -> _Wait:
        errors: dict[int, AppError] = {}
        loop = asyncio.get_running_loop()
        ends_at = loop.time() + self._turn_s
        first, size = 0, _FIRST_SLICE
        while first < len(rows) and loop.time() < ends_at:
            began = loop.time()
            errors |= await self._accept_slice(campaign, plan, sender, rows[first : first + size])
            if any(isinstance(error, (*_STOPPING, *_PASSING)) for error in errors.values()):
                break
            first += size
            if loop.time() - began < _QUICK_S:
                size *= 2
        refused = {
            line: error
            for line, error in errors.items()
            if not isinstance(error, (*_STOPPING, *_PASSING))
        }
        await self._refuse(campaign.id, refused)
        others = [error for line, error in errors.items() if line not in refused]
        # An error that stops the campaign comes before one that makes it wait.
        for error in sorted(others, key=lambda error: isinstance(error, _PASSING)):
            raise error
        return _Wait()

    async def _accept_slice(
        self,
        campaign: Campaign,
        plan: CampaignPlan,
        sender: Sender,
        rows: Sequence[_PendingRow],
    ) -> dict[int, AppError]:
        outcomes = await asyncio.gather(
            *(self._accept_row(campaign.id, plan, sender, row) for row in rows)
        )
        return {
            row.line: error for row, error in zip(rows, outcomes, strict=True) if error is not None
        }

    async def _accept_row(
        self, campaign_id: UUID, plan: CampaignPlan, sender: Sender, row: _PendingRow
    ) -> AppError | None:
        """Return why the row cannot be sent; None: it was accepted, or is no longer wanted."""

        async def prepare() -> NewMessage:
            message = await prepare_message(self._path, sender, plan.request(row.cells), None)
            message.columns["campaign_id"] = campaign_id
            return replace(message, campaign_line=row.line)

        try:
            await accept(self._path, sender, prepare)
        except CampaignStateConflict:
            return None  # accepted by another worker, or the campaign no longer runs
        except AppError as error:
            return error
        except Exception as exc:
            if is_outage(exc):
                self._outage.warn(exc)
                return ServiceUnavailable(
                    "The servers behind MessageJS are down; the campaign continues by itself."
                )
            log.exception(
                "campaign.row_failed",
                campaign_id=ids.encode(ids.CAMPAIGN, campaign_id),
                line=row.line,
            )
            return ServerError(
                f"MessageJS failed at this row ({type(exc).__name__}); the server's log says more."
            )
        return None

    async def _refuse(self, campaign_id: UUID, errors: Mapping[int, AppError]) -> None:
        if not errors:
            return
        first = [errors_of(line, error)[0] for line, error in errors.items()]
        async with self._pool.connection() as connection:
            await refuse_rows(connection, campaign_id, first, states=(RUNNING,))

    async def _end(self, campaign: Campaign) -> _Wait:
        """Complete the campaign once all its messages are out: no row is left to accept."""
        async with self._pool.connection() as connection:
            if (
                await (await connection.execute(_IS_UNDER_WAY, (campaign.id,))).fetchone()
                is not None
            ):
                return _Wait(_ENDING_S)
            await connection.execute(_COMPLETE, {"campaign": campaign.id})
        log.info("campaign.completed", campaign_id=str(campaign.id), rows=campaign.total_rows)
        return _Wait()


def _retry_after_s(error: AppError) -> float:
    after = error.headers.get("Retry-After", "")
    return min(float(whole_number(after) or 1), _LONGEST_WAIT_S)
