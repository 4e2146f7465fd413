"""What was given up and why; redriven or discarded one by one, by choice, or by filter."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlencode
from uuid import UUID

from backend import ids
from backend.services.access.access import Action
from backend.services.connectors import connectors
from backend.services.lists.paging import PageRequest
from backend.services.messages import redrive
from backend.services.messages.dead_letters import DeadLetterFilter
from backend.services.messages.message_filters import MessageFilter
from backend.services.policy.sender import Sender
from backend.services.reporting.dead_letters import list_dead_letters
from backend.services.reporting.messages import MessageSummary
from messagejs_app.components.controls import Choice
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
class DeadLetterRow:
    id: str
    address: str
    reason: str
    code: str
    kind: str
    connector: str
    at: str


class DeadLettersState(Session):
    rows: list[DeadLetterRow] = []
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
    # What must be confirmed: to redrive or discard, the chosen ones or all.
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
            field: text
            for field, text in {**self.filters, name: value}.items()
            if text and field in _FILTERS
        }
        return go_to(f"{PATH}?{urlencode(merged)}" if merged else PATH)

    @event
    async def choose(self, message_id: str) -> Events:
        if all(row.id != message_id for row in self.rows):
            return None
        others = [chosen for chosen in self.chosen if chosen != message_id]
        self.chosen = others if message_id in self.chosen else [*others, message_id]
        return None

    @event
    async def choose_page(self) -> Events:
        """Choose all on the page, or none."""
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
            result = await self._redrive([message_id])
        finally:
            self.is_busy = False
        yield _report(result)

    @event
    async def redrive_chosen(self) -> Steps:
        self._put(is_busy=True, question="")
        yield None
        try:
            result = await self._redrive(self.chosen)
        finally:
            self.is_busy = False
        yield _report(result)

    @event
    async def redrive_all(self) -> Steps:
        """In batches, so that the page shows the progress."""
        self._put(is_busy=True, question="", progress="Redriving…")
        yield None
        redriven, failed, after = 0, 0, None
        try:
            while True:
                platform, access = await self._authorize(Action.SEND_MESSAGES)
                batch = await redrive.redrive_matching(
                    platform.send_path,
                    Sender(access, self._checked_mode),
                    self._selection(),
                    after=after,
                    limit=redrive.MOST_REDRIVEN,
                )
                redriven += batch.redriven
                failed += batch.failed
                after = batch.next_cursor
                if after is None:
                    break
                self.progress = f"{number(redriven)} redriven…"
                yield None
            await self._look()
        finally:
            self._put(is_busy=False, progress="", chosen=[])
        yield say(_sentence(redriven, failed))

    @event
    async def discard_one(self, message_id: str) -> Events:
        self.chosen = [message_id]
        return await self._discard_chosen()

    @event
    async def discard_chosen(self) -> Events:
        return await self._discard_chosen()

    async def _discard_chosen(self) -> Events:
        async with self._work(Action.SEND_MESSAGES) as work:
            discarded = await redrive.discard_many(
                work.session, work.access, message_ids=_uuids(self.chosen)
            )
        return await self._say_discarded(discarded)

    @event
    async def discard_all(self) -> Events:
        discarded = 0
        while True:
            async with self._work(Action.SEND_MESSAGES) as work:
                batch = await redrive.discard_matching(
                    work.session, work.access, filters=self._selection()
                )
            discarded += batch
            if batch < redrive.MOST_DISCARDED:
                return await self._say_discarded(discarded)

    async def _redrive(self, message_ids: Sequence[str]) -> redrive.Redrive:
        platform, access = await self._authorize(Action.SEND_MESSAGES)
        result = await redrive.redrive_many(
            platform.send_path, Sender(access, self._checked_mode), _uuids(message_ids)
        )
        await self._look()
        self.chosen = []
        return result

    async def _say_discarded(self, count: int) -> Events:
        await self._look()
        self._put(question="", chosen=[])
        return say(f"{plural(count, 'dead letter')} discarded. The messages stay failed.")

    async def _look(self) -> None:
        before = ids.decode(ids.MESSAGE, self.router.url.query_parameters.get("before", ""))
        async with self._work(Action.VIEW_MESSAGES) as work:
            all_connectors = await connectors.list_connectors(work.session, work.access)
            page = await list_dead_letters(
                work.session,
                work.access,
                filters=self._selection(),
                page=PageRequest(limit=_PAGE_SIZE, cursor=before),
            )
        names = {connector.id: connector.name for connector in all_connectors}
        choices = [Choice(ids.encode(ids.CONNECTOR, id_), name) for id_, name in names.items()]
        older = ""
        if page.next_cursor is not None:
            cursor = ids.encode(ids.MESSAGE, page.next_cursor)
            older = f"{PATH}?{urlencode({**self.filters, 'before': cursor})}"
        total = plural(page.total, "dead letter")
        shown = {**{choice.value: choice.name for choice in choices}, **CODES}
        self._put(
            rows=[_row(message, names) for message in page.items],
            connector_choices=choices,
            shown_filters={name: shown.get(value, value) for name, value in self.filters.items()},
            total=f"more than {total}" if page.is_total_estimate else total,
            older=older,
            is_first_page=before is None,
        )

    def _selection(self) -> DeadLetterFilter:
        connector = ids.decode(ids.CONNECTOR, self.filters.get("connector", ""))
        return DeadLetterFilter(
            MessageFilter(connector=connector, mode=self._checked_mode),
            self.filters.get("code") or None,
        )


def _row(message: MessageSummary, names: dict[UUID, str]) -> DeadLetterRow:
    code = message.error_code or ""
    return DeadLetterRow(
        id=ids.encode(ids.MESSAGE, message.id),
        address=recipient(message.recipient),
        reason=message.error or "",
        code=CODES.get(code, code),
        kind=message.connector_type,
        connector=names.get(message.connector_id, message.connector_type.capitalize()),
        at=instant(message.failed_at),
    )


def _uuids(message_ids: Sequence[str]) -> list[UUID]:
    decoded = (ids.decode(ids.MESSAGE, message_id) for message_id in message_ids)
    return [message_id for message_id in decoded if message_id is not None]


def _report(result: redrive.Redrive) -> Events:
    sentence = _sentence(result.redriven, result.failed)
    if result.first_error is None:
        return say(sentence)
    return complain(f"{sentence} {result.first_error.message}")


def _sentence(redriven: int, failed: int) -> str:
    stayed = f" {plural(failed, 'message')} could not be sent again." if failed else ""
    return f"{plural(redriven, 'message')} on the way again.{stayed}"
