"""What to send, the call that would send it, and what became of it."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, cast

from backend import ids
from backend.errors import AppError
from backend.provider_types import SANDBOX, describe_connector_types
from backend.services.access.access import Action
from backend.services.connectors import connectors
from backend.services.lists.paging import PageRequest
from backend.services.policy.request import SendRequest
from backend.services.policy.sender import Sender
from backend.services.reporting.messages import MessageDetail, message_detail
from backend.services.routing import saved_routes
from backend.services.sending.accept import accept_message
from backend.services.templates import templates
from backend.services.templates.channels import type_of_channel
from backend.status import IN_PROGRESS, Status
from messagejs_app import snippets
from messagejs_app.components.controls import Choice
from messagejs_app.components.statuses import dot, word
from messagejs_app.events import Events, Steps, background, event
from messagejs_app.samples import sample_of
from messagejs_app.session import Session, field_errors
from messagejs_app.snippets import Piece
from messagejs_app.wording import duration

PATH: Final = "/playground"
_LOOK_S: Final = 0.4
_LOOK_FOR_S: Final = 60.0
_MOST_ROUTES: Final = 100
# Statuses after which no provider reports another one.
_RESTING: Final = frozenset(set(Status) - set(IN_PROGRESS) - {Status.SENT})


@dataclass
class VariableValue:
    name: str
    value: str


@dataclass
class Moment:
    """A status, and how long after the send it came."""

    status: str
    css: str
    is_ring: bool
    after: str


class PlaygroundState(Session):
    what: str = "template"
    connectors: list[Choice] = []
    connector_id: str = ""
    templates: list[Choice] = []
    template_id: str = ""
    variables: list[VariableValue] = []
    to_: str = ""
    to_example: str = ""
    text: str = ""
    subject: str = ""
    is_email: bool = False
    language: str = "javascript"
    code: str = ""
    code_parts: list[Piece] = []
    errors: dict[str, str] = {}
    is_loaded: bool = False
    is_sending: bool = False
    answer: list[Piece] = []
    answer_status: str = ""
    is_refused: bool = False
    took: str = ""
    sent_id: str = ""
    moments: list[Moment] = []
    _kinds: dict[str, str] = {}
    _variables: dict[str, list[str]] = {}
    _template_kinds: dict[str, str] = {}
    _values: dict[str, str] = {}

    @event
    async def load(self) -> Events:
        await self._enter()
        query = self.router.url.query_parameters
        async with self._work(Action.VIEW_PROJECT) as work:
            all_connectors = await connectors.list_connectors(work.session, work.access)
            all_templates = await templates.list_templates(work.session, work.access)
            routes = await saved_routes.page_of_routes(
                work.session, work.access, page=PageRequest(limit=_MOST_ROUTES)
            )
        types: dict[str, str] = {}
        self._kinds, self.connectors = {}, []
        for connector in all_connectors:
            if connector.is_active:
                types[str(connector.id)] = connector.type
                self._offer(ids.encode(ids.CONNECTOR, connector.id), connector.name, connector.type)
        for route in routes.items:
            kind = _first_kind(route.steps[0], types)
            self._offer(ids.encode(ids.ROUTE, route.id), f"Route {route.name}", kind)
        self._variables, self._template_kinds, self.templates = {}, {}, []
        for template in all_templates:
            template_id = ids.encode(ids.TEMPLATE, template.id)
            self._variables[template_id] = list(template.variables)
            self._template_kinds[template_id] = template.connector_type
            self.templates.append(Choice(template_id, f"{template.name} v{template.version}"))
        self._put(errors={}, answer=[], sent_id="", moments=[], answer_status="")
        self.what = "template" if self.templates else "text"
        self.template_id = query.get("template", "")
        if self.template_id not in self._variables:
            self.template_id = next(iter(self._variables), "")
        if self.connector_id not in self._kinds:
            self.connector_id = self._connector_for(self.template_id)
        self._arrange()
        self.is_loaded = True
        return None

    @event
    async def choose_what(self, what: str) -> Events:
        self._put(what="text" if what == "text" else "template", errors={})
        self._arrange()
        return None

    @event
    async def choose_connector(self, connector_id: str) -> Events:
        if connector_id in self._kinds:
            self._put(connector_id=connector_id, errors={})
            self._arrange()
        return None

    @event
    async def choose_template(self, template_id: str) -> Events:
        if template_id in self._variables:
            self._put(
                template_id=template_id, errors={}, connector_id=self._connector_for(template_id)
            )
            self._arrange()
        return None

    @event
    async def choose_language(self, language: str) -> Events:
        self.language = snippets.language_of(language)
        self._write_code()
        return None

    @event
    async def fill(self, name: str, text: str) -> Events:
        self._take({name: text})
        self._write_code()
        return None

    @event
    async def send(self, data: dict[str, Any]) -> Steps:
        self._take(data)
        self._write_code()
        if not self.to_.strip():
            self.errors = {"to": f"Enter a recipient, such as {self.to_example}."}
            return
        self._put(errors={}, is_sending=True, moments=[], sent_id="")
        yield None
        began = time.perf_counter()
        try:
            platform, access = await self._authorize(Action.SEND_MESSAGES)
            accepted = await accept_message(
                platform.send_path, Sender(access, self._checked_mode), self._request()
            )
        except AppError as exc:
            self._show_refusal(exc, began)
            return
        finally:
            self.is_sending = False
        message_id = ids.encode(ids.MESSAGE, accepted.message_id)
        body = json.dumps({"messageId": message_id, "status": accepted.status}, indent=2)
        self._put(
            answer=snippets.pieces(body, "json"),
            answer_status="202 Accepted",
            is_refused=False,
            took=duration((time.perf_counter() - began) * 1000),
            sent_id=message_id,
        )
        yield PlaygroundState.follow()

    @background
    async def follow(self) -> Events:
        """Show each status as it comes, for a minute or until no other one can come."""
        ends_at = time.monotonic() + _LOOK_FOR_S
        while time.monotonic() < ends_at:
            async with self:
                message_id = ids.decode(ids.MESSAGE, self.sent_id)
                if message_id is None or not self._is_watched(PATH):
                    return None
                async with self._work(Action.VIEW_MESSAGES) as work:
                    detail = await message_detail(work.session, work.access, message_id=message_id)
                self._put(moments=_moments(detail))
                if detail.summary.status in _RESTING:
                    return None
            await asyncio.sleep(_LOOK_S)
        return None

    def _offer(self, id_: str, name: str, kind: str) -> None:
        """Offer a connector, or a route; `kind`: the type it sends by first."""
        self._kinds[id_] = kind
        self.connectors.append(Choice(id_, name))

    def _show_refusal(self, exc: AppError, began: float) -> None:
        body = json.dumps(
            {"error": exc.message, "code": exc.error_code, "details": exc.details},
            indent=2,
            ensure_ascii=False,
        )
        self._put(
            errors={_form_name(name): text for name, text in field_errors(exc).items()},
            answer=snippets.pieces(body, "json"),
            answer_status=f"{exc.status} {exc.error_code}",
            is_refused=True,
            took=duration((time.perf_counter() - began) * 1000),
        )

    def _take(self, data: dict[str, Any]) -> None:
        # A field that isn't on the page right now comes as None.
        given = {name: str(value) for name, value in data.items() if value is not None}
        for name, plain in (("to", "to_"), ("message", "text"), ("subject", "subject")):
            if name in given:
                self._put(**{plain: given[name]})
        known = {f"variables.{name}" for names in self._variables.values() for name in names}
        values = {
            name.removeprefix("variables."): text for name, text in given.items() if name in known
        }
        self._values = {**self._values, **values}

    def _request(self) -> SendRequest:
        is_template = self.what == "template"
        return SendRequest(
            to=self.to_.strip(),
            connector_id=ids.decode(ids.CONNECTOR, self.connector_id),
            route=self.connector_id if self._is_route else None,
            template_id=ids.decode(ids.TEMPLATE, self.template_id) if is_template else None,
            variables=self._wanted_values() if is_template else None,
            text=None if is_template else self.text,
            subject=(self.subject or None) if self.is_email and not is_template else None,
        )

    @property
    def _is_route(self) -> bool:
        return ids.decode(ids.ROUTE, self.connector_id) is not None

    def _wanted_values(self) -> dict[str, str]:
        names = self._variables.get(self.template_id, [])
        return {name: self._values[name] for name in names if self._values.get(name)}

    def _connector_for(self, template_id: str) -> str:
        """Return a connector that fits the template: of its type, else the Sandbox, else any."""
        for kind in (self._template_kinds.get(template_id, SANDBOX), SANDBOX):
            fitting = [id_ for id_, connector_kind in self._kinds.items() if connector_kind == kind]
            if fitting:
                return fitting[0]
        return next(iter(self._kinds), "")

    def _arrange(self) -> None:
        kind = self._kinds.get(self.connector_id, SANDBOX)
        described = next(type_ for type_ in describe_connector_types() if type_["type"] == kind)
        names = self._variables.get(self.template_id, []) if self.what == "template" else []
        self._values = {**{name: sample_of(name) for name in names}, **self._values}
        self._put(
            is_email=described["recipientKind"] == "email",
            to_example=described["recipientExample"],
            variables=[VariableValue(name, self._values[name]) for name in names],
        )
        if kind == SANDBOX and not self.to_:
            self.to_ = described["recipientExample"]
        self._write_code()

    def _write_code(self) -> None:
        way = "route" if self._is_route else "connectorId"
        body: dict[str, Any] = {way: self.connector_id, "to": self.to_ or self.to_example}
        if self.what == "template":
            names = self._variables.get(self.template_id, [])
            body = {"templateId": self.template_id, **body}
            if names:
                body["variables"] = {name: self._values.get(name, "") for name in names}
        else:
            body["message"] = self.text or "Hello from the Playground"
            if self.is_email and self.subject:
                body["subject"] = self.subject
        key = f"sk_{self._checked_mode}_YOUR_KEY"
        code = snippets.send_call(self.language, base_url=self._base_url, key=key, body=body)
        self._put(
            code=code, code_parts=snippets.pieces(code, cast("snippets.Language", self.language))
        )


def _first_kind(step: Mapping[str, str], types: Mapping[str, str]) -> str:
    return (
        type_of_channel(step["channel"])
        if "channel" in step
        else types.get(step["connectorId"], SANDBOX)
    )


def _form_name(field_name: str) -> str:
    """Return the form's name of an API field; "" if it has none: then the form says it on top."""
    if field_name in {"to", "message", "subject", "templateId"} or field_name.startswith(
        "variables."
    ):
        return field_name
    return "connectorId" if field_name in {"connector", "connectorId", "route", "channels"} else ""


def _moments(detail: MessageDetail) -> list[Moment]:
    began = detail.summary.created_at
    moments = []
    for entry in detail.timeline:
        css = dot(entry.status)
        after = (entry.at - began).total_seconds() * 1000
        moments.append(
            Moment(
                word(entry.status), css.split()[0], "ring" in css, f"+{duration(max(0.0, after))}"
            )
        )
    if detail.summary.status == Status.SENDING:
        moments.append(Moment("Sending", "sending", False, ""))
    return moments
