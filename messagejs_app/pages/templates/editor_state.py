"""One template being written: every pause in typing renders it again, as its channel would
send it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from backend import ids
from backend.errors import AppError, BadRequest
from backend.provider_types import SANDBOX, describe_connector_types
from backend.services.access.access import Action
from backend.services.policy.request import SendRequest
from backend.services.policy.sender import Sender
from backend.services.sending.accept import accept_message
from backend.services.templates import templates
from backend.services.templates.content import TemplateContent
from backend.services.templates.preview import Preview, preview
from backend.services.templates.templates import NewTemplate
from messagejs_app.components.controls import Choice
from messagejs_app.events import Events, Steps, event, go_to, say
from messagejs_app.pages.templates.list_page import PATH, template_id_of
from messagejs_app.samples import sample_of
from messagejs_app.session import Session, field_errors
from messagejs_app.wording import number, plural

_NEW: Final = "new"
_FIRST_TEXT: Final = "Hi {{name}}, "
# Of variables that have gone from the text: they may come back with the next key.
_MOST_SAMPLES: Final = 100
_SINGLE: Final = {"GSM-7": (160, 153), "UCS-2": (70, 67)}


@dataclass
class Variable:
    name: str
    sample: str


class EditorState(Session):
    id: str = ""
    name: str = ""
    kind: str = SANDBOX
    content: str = ""
    subject: str = ""
    html: str = ""
    on_uncertain: str = "hold"
    version: str = ""
    kinds: list[Choice] = []
    variables: list[Variable] = []
    errors: dict[str, str] = {}
    is_loaded: bool = False
    is_dirty: bool = False
    is_saving: bool = False
    shown_text: str = ""
    shown_subject: str = ""
    shown_html: str = ""
    is_email: bool = False
    is_sms: bool = False
    characters: str = ""
    segments: str = ""
    segment_note: str = ""
    segment_hint: str = ""
    segment_fills: list[str] = []
    tests: bool = False
    test_to: str = ""
    test_example: str = ""
    test_error: str = ""
    test_message: str = ""
    is_testing: bool = False
    _samples: dict[str, str] = {}

    @event
    async def load(self) -> Events:
        await self._enter()
        _, access = await self._authorize(Action.VIEW_TEMPLATES)
        expected = self._path.rsplit("/", 1)[-1]
        self._put(errors={}, tests=False, is_dirty=False, test_message="", test_error="")
        self.kinds = [Choice(item["type"], item["title"]) for item in describe_connector_types()]
        if expected == _NEW:
            self._put(
                id=_NEW,
                name="",
                kind=SANDBOX,
                content=_FIRST_TEXT,
                subject="",
                html="",
                version="",
            )
            self.on_uncertain = "hold"
        else:
            async with self._work(Action.VIEW_TEMPLATES) as work:
                template = await templates.get_template(
                    work.session, work.access, template_id=template_id_of(expected)
                )
            self._put(
                id=expected,
                name=template.name,
                kind=template.connector_type,
                content=template.content,
            )
            self._put(
                subject=template.subject or "",
                html=template.html or "",
                version=f"v{template.version}",
            )
            self.on_uncertain = template.on_uncertain
        self._render(access.project_id)
        self.is_loaded = True
        return None

    @event
    async def write(self, name: str, text: str) -> Events:
        """Take over what was typed and draw the preview."""
        _, access = await self._authorize(Action.VIEW_TEMPLATES)
        if name in {"content", "subject", "html"}:
            self._put(**{name: text, "is_dirty": True})
            self._render(access.project_id)
        elif name == "name":
            self._put(name=text, is_dirty=True)
        return None

    @event
    async def choose_kind(self, kind: str) -> Events:
        _, access = await self._authorize(Action.VIEW_TEMPLATES)
        if any(item.value == kind for item in self.kinds):
            self._put(kind=kind, is_dirty=True)
            self._render(access.project_id)
        return None

    @event
    async def give_sample(self, name: str, text: str) -> Events:
        _, access = await self._authorize(Action.VIEW_TEMPLATES)
        if all(variable.name != name for variable in self.variables):
            return None
        self._samples = {**self._samples, name: text}
        self._render(access.project_id)
        return None

    @event
    async def save(self, data: dict[str, Any]) -> Steps:
        """`data` is the form as it stands: newer than the last pause in typing."""
        self.errors, self.is_saving = {}, True
        yield None
        try:
            yield await self._save(data)
        except BadRequest as exc:
            self.errors = field_errors(exc)
        finally:
            self.is_saving = False

    @event
    async def show_test(self, is_shown: bool) -> Events:
        described = {item["type"]: item for item in describe_connector_types()}
        kind = SANDBOX if self.mode == "test" else self.kind
        self._put(
            tests=is_shown,
            test_error="",
            test_message="",
            test_example=described[kind]["recipientExample"],
        )
        return None

    @event
    async def send_test(self, data: dict[str, Any]) -> Steps:
        self._put(test_error="", test_message="", is_testing=True)
        yield None
        try:
            platform, access = await self._authorize(Action.SEND_MESSAGES)
            request = SendRequest(
                to=str(data.get("to") or "").strip(),
                template_id=template_id_of(self.id),
                variables={variable.name: variable.sample for variable in self.variables},
            )
            accepted = await accept_message(
                platform.send_path, Sender(access, self._checked_mode), request
            )
        except AppError as exc:
            self.test_error = exc.errors[0].message if exc.errors else exc.message
        else:
            self.test_message = ids.encode(ids.MESSAGE, accepted.message_id)
        finally:
            self.is_testing = False

    async def _save(self, data: dict[str, Any]) -> Events:
        name = str(data.get("name") or "").strip()
        if not name:
            self.errors = {"name": "Give the template a name."}
            return None
        fields: dict[str, Any] = {
            "name": name,
            "connector_type": self.kind,
            "content": str(data.get("content") or ""),
            "subject": str(data.get("subject") or "") or None,
            "html": str(data.get("html") or "") or None,
            "on_uncertain": "resend" if data.get("onUncertain") == "resend" else "hold",
        }
        async with self._work(Action.MANAGE_TEMPLATES) as work:
            if self.id == _NEW:
                saved = await templates.create_template(
                    work.session, work.access, new=NewTemplate(**fields)
                )
            else:
                saved = await templates.update_template(
                    work.session, work.access, template_id=template_id_of(self.id), changes=fields
                )
            access = work.access
            template_id, version = ids.encode(ids.TEMPLATE, saved.id), f"v{saved.version}"
        was_new = self.id == _NEW
        self._put(name=name, content=fields["content"], version=version, is_dirty=False)
        self._render(access.project_id)
        said = say(f"{name} saved as {version}. Sends use it from now on.")
        return [go_to(f"{PATH}/{template_id}"), said] if was_new else said

    def _render(self, project_id: UUID) -> None:
        content = TemplateContent(self.content, self.subject or None, self.html or None)
        drawn = self._preview(content, project_id)
        # A variable that was just typed shows its sample at once.
        if any(name not in self._samples for name in drawn.variables):
            gone = [
                (name, text) for name, text in self._samples.items() if name not in drawn.variables
            ]
            here = {name: self._samples.get(name, sample_of(name)) for name in drawn.variables}
            self._samples = dict(gone[-_MOST_SAMPLES:]) | here
            drawn = self._preview(content, project_id)
        self.errors = {problem.field: problem.message for problem in drawn.problems}
        if not drawn.problems or drawn.variables:
            self.variables = [
                Variable(name, self._samples.get(name, "")) for name in drawn.variables
            ]
        if not drawn.problems:
            self._put(
                shown_text=drawn.text,
                shown_subject=drawn.subject or "",
                shown_html=drawn.html or "",
            )
        self._put(
            is_email=drawn.channel == "email",
            characters=plural(len(drawn.text), "character"),
            is_sms=drawn.sms is not None,
        )
        self._measure(drawn)

    def _preview(self, content: TemplateContent, project_id: UUID) -> Preview:
        """Raises RenderingLimitExceeded when the project has rendered too much just now."""
        name = self.name or "Untitled"
        return preview(
            content,
            connector_type=self.kind,
            variables=self._samples,
            name=name,
            project_id=project_id,
        )

    def _measure(self, drawn: Preview) -> None:
        if drawn.sms is None:
            return
        single, part = _SINGLE[drawn.sms.encoding]
        count, units = drawn.sms.segments, drawn.sms.units
        room = single if count == 1 else count * part
        over = units - (single if count == 2 else (count - 1) * part)
        fills = [100] * (count - 1) + [
            max(4, min(100, round(100 * (units - (count - 1) * part) / part)))
        ]
        if count == 1:
            fills = [round(100 * units / single)]
        fewer = "one segment" if count == 2 else f"{count - 1} segments"
        self._put(
            segments=plural(count, "segment"),
            segment_note=f"{number(units)} of {number(room)} · {drawn.sms.encoding}",
            segment_hint=(
                f"{plural(over, 'character')} shorter would make it {fewer}." if count > 1 else ""
            ),
            segment_fills=[f"{fill}%" for fill in fills],
        )
