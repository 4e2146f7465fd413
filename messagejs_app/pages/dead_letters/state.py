"""What was given up and why; redriven or discarded by one, by choice, or by filter."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlencode
from uuid import UUID

from backend import ids
from backend.errors import AppError
from backend.services.access import audit
from backend.services.access.access import Action
from backend.services.connectors import connectors
from backend.services.lists.paging import PageRequest
from backend.services.messages import redrive
from backend.services.messages.dead_letters import DeadLetterFilter
from backend.services.messages.message_filters import MessageFilter
from backend.services.policy.sender import Sender
from backend.services.reporting.dead_letters import list_dead_letters
from backend.services.reporting.messages import MessageSummary
from messagejs_app.events import Events, Steps, complain, event, go_to, say
from messagejs_app.session import Session
from messagejs_app.wording import instant, number, plural, recipient

PATH: Final = "/dead-letters"
_PAGE_SIZE: Final = 50
_FILTERS: Final = ("connector", "code")
CODES: Final = {
    "RETRIES_EXHAUSTED": "Retries used up",
    "CONNECTOR_GONE": "Connector gone",
    "MESSAGE_UNREADABLE": "Message unreadable",
}


@dataclass
class Row:
    id: str
    address: str
    reason: str
    code: str
    kind: str
    connector: str
    at: str


@dataclass
class Choice:
    value: str
    name: str


class DeadLettersState(Session):
    rows: list[Row] = []
    chosen: list[str] = []
    filters: dict[str, str] = {}
    shown_filters: dict[str, str] = {}
    connector_choices: list[Choice] = []
    total: str = ""
    older: str = ""
    is_first_page: bool = True
    is_loaded: bool = False
    is_busy: bool = False
    progress: str = ""
    # What is asked for before it is done: redrive or discard, of the chosen ones or of all.
    question: str = ""

    @event
    async def load(self) -> Events:
        await self._enter()
        query = self.router.url.query_parameters
        self._put(
            filters={name: query[name][:200] for name in _FILTERS if query.get(name)},
            chosen=[],
            question="",
        )
        await self._look()
        self.is_loaded = True
        return None

    @event
    async def filter_by(self, name: str, value: str) -> Events:
        merged = {
            item: text
            for item, text in {**self.filters, name: value}.items()
            if text and item in _FILTERS
        }
        return go_to(f"{PATH}?{urlencode(merged)}" if merged else PATH)

    @event
    async def choose(self, message_id: str) -> Events:
        if all(row.id != message_id for row in self.rows):
            return None
        is_chosen = message_id in self.chosen
        self.chosen = (
            [item for item in self.chosen if item != message_id]
            if is_chosen
            else [*self.chosen, message_id]
        )
        return None

    @event
    async def choose_page(self) -> Events:
        """All on the page, or none."""
        self.chosen = [] if len(self.chosen) == len(self.rows) else [row.id for row in self.rows]
        return None

    @event
    async def ask(self, question: str) -> Events:
        self.question = question
        return None

    @event
    async def close(self, _is_open: bool) -> Events:
        self.question = ""
        return None

    @event
    async def redrive_one(self, message_id: str) -> Steps:
        self.is_busy = True
        yield None
        try:
            done = await self._redrive([message_id])
        finally:
            self.is_busy = False
        yield self._report(done)

    @event
    async def redrive_chosen(self) -> Steps:
        self._put(is_busy=True, question="")
        yield None
        try:
            done = await self._redrive(self.chosen)
        finally:
            self.is_busy = False
        yield self._report(done)

    @event
    async def redrive_all(self) -> Steps:
        """Step by step, so that the page shows how far it is."""
        self._put(is_busy=True, question="", progress="Redriving…")
        yield None
        counts, after = [0, 0], None
        try:
            while True:
                platform, access = await self._authorize(Action.SEND_MESSAGES)
                caller = Sender(access, self._checked_mode)
                done = await redrive.redrive_matching(
                    platform.send_path,
                    caller,
                    self._selection(),
                    after=after,
                    limit=redrive.MOST_REDRIVEN,
                )
                counts = [counts[0] + done.redriven, counts[1] + len(done.results) - done.redriven]
                after = done.next_cursor
                if after is None:
                    break
                self.progress = f"{number(counts[0])} redriven…"
                yield None
            await self._note("redriven", {"redriven": counts[0], "failed": counts[1]})
            await self._look()
        finally:
            self._put(is_busy=False, progress="", chosen=[])
        yield say(_sentence(*counts))

    @event
    async def discard_one(self, message_id: str) -> Events:
        self.chosen = [message_id]
        return await self._discard_chosen()

    @event
    async def discard_chosen(self) -> Events:
        return await self._discard_chosen()

    async def _discard_chosen(self) -> Events:
        async with self._work(Action.SEND_MESSAGES) as work:
            count = await redrive.discard_many(
                work.session, work.access, message_ids=_uuids(self.chosen)
            )
        return await self._discarded(count)

    @event
    async def discard_all(self) -> Events:
        count = 0
        while True:
            async with self._work(Action.SEND_MESSAGES) as work:
                step = await redrive.discard_matching(
                    work.session, work.access, filters=self._selection()
                )
            count += step
            if step < redrive.MOST_DISCARDED:
                return await self._discarded(count)

    async def _redrive(self, message_ids: Sequence[str]) -> redrive.Redrive:
        platform, access = await self._authorize(Action.SEND_MESSAGES)
        done = await redrive.redrive_many(
            platform.send_path, Sender(access, self._checked_mode), _uuids(message_ids)
        )
        await self._note(
            "redriven", {"redriven": done.redriven, "failed": len(done.results) - done.redriven}
        )
        await self._look()
        self.chosen = []
        return done

    def _report(self, done: redrive.Redrive) -> Events:
        problem = next(
            (result.outcome for result in done.results if isinstance(result.outcome, AppError)),
            None,
        )
        if problem is None:
            return say(_sentence(done.redriven, 0))
        return complain(
            f"{_sentence(done.redriven, len(done.results) - done.redriven)} {problem.message}"
        )

    async def _discarded(self, count: int) -> Events:
        await self._note("discarded", {"discarded": count})
        await self._look()
        self._put(question="", chosen=[])
        return say(f"{plural(count, 'dead letter')} discarded. The messages stay failed.")

    async def _note(self, what: str, after: dict[str, Any]) -> None:
        async with self._work(Action.SEND_MESSAGES) as work:
            named = {"filter": dict(self.filters)} if self.filters else {}
            audit.record(
                work.session,
                work.principal.actor,
                f"dead_letters.{what}",
                project_id=work.access.project_id,
                after={**after, **named},
            )

    async def _look(self) -> None:
        before = ids.decode(ids.MESSAGE, self.router.url.query_parameters.get("before", ""))
        async with self._work(Action.VIEW_MESSAGES) as work:
            ours = await connectors.list_connectors(work.session, work.access)
            page = await list_dead_letters(
                work.session,
                work.access,
                filters=self._selection(),
                page=PageRequest(limit=_PAGE_SIZE, cursor=before),
            )
        names = {item.id: item.name for item in ours}
        merged = dict(self.filters)
        if page.next_cursor is not None:
            merged["before"] = ids.encode(ids.MESSAGE, page.next_cursor)
        choices = [Choice(ids.encode(ids.CONNECTOR, item.id), item.name) for item in ours]
        shown = {**{choice.value: choice.name for choice in choices}, **CODES}
        at_least = "more than " if page.is_total_estimate else ""
        self._put(
            rows=[_row(item, names) for item in page.items],
            connector_choices=choices,
            shown_filters={name: shown.get(value, value) for name, value in self.filters.items()},
            total=(f"{at_least}{plural(page.total, 'dead letter')}"),
            older=f"{PATH}?{urlencode(merged)}" if page.next_cursor is not None else "",
            is_first_page=before is None,
        )

    def _selection(self) -> DeadLetterFilter:
        connector = ids.decode(ids.CONNECTOR, self.filters.get("connector", ""))
        return DeadLetterFilter(
            MessageFilter(connector=connector, mode=self._checked_mode),
            self.filters.get("code") or None,
        )


def _row(message_summary: MessageSummary, names: dict[UUID, str]) -> Row:
    return Row(
        id=ids.encode(ids.MESSAGE, message_summary.id),
        address=recipient(message_summary.recipient),
        reason=message_summary.error or "",
        code=CODES.get(message_summary.error_code or "", message_summary.error_code or ""),
        kind=message_summary.connector_type,
        connector=names.get(
            message_summary.connector_id, message_summary.connector_type.capitalize()
        ),
        at=instant(message_summary.failed_at),
    )


def _uuids(message_ids: Sequence[str]) -> list[UUID]:
    return [value for item in message_ids if (value := ids.decode(ids.MESSAGE, item)) is not None]


def _sentence(redriven: int, failed: int) -> str:
    stayed = f" {plural(failed, 'message')} could not be sent again." if failed else ""
    return f"{plural(redriven, 'message')} on the way again.{stayed}"
