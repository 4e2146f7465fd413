"""One connector's form.

Fields come from the provider's schema; secrets go in and never come out.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

from backend import ids
from backend.errors import AppError, BadRequest
from backend.integers import whole_number
from backend.provider_types import (
    callback_help,
    describe_connector_types,
    takes_callbacks,
)
from backend.services.access.access import Action
from backend.services.connectors import connectors
from backend.services.connectors.connectors import NewConnector
from backend.services.connectors.credentials import callback_path, visible_credentials
from backend.services.reporting.overview import ConnectorNumbers, overview
from messagejs_app.events import Events, Steps, event, go_to, say
from messagejs_app.pages.connectors.health import health_of
from messagejs_app.pages.connectors.list_state import PATH, connector_id_of
from messagejs_app.session import Session, field_errors
from messagejs_app.wording import instant, number, percent, plural

_NEW: Final = "new"
_MISSING: Final = "MISSING_REQUIRED_FIELD"
_PACING: Final = {"pacing.perSecond": "perSecond", "pacing.perRecipient": "perRecipientPerSecond"}


@dataclass
class Option:
    value: str
    label: str


@dataclass
class FormField:
    """`name` is the field's path in the API's body, which is also how errors name it."""

    name: str
    label: str
    kind: str
    value: str
    placeholder: str
    help: str
    is_optional: bool
    is_set: bool = False
    options: list[Option] = field(default_factory=list)


class ConnectorFormState(Session):
    id: str = ""
    kind: str = ""
    title: str = ""
    summary: str = ""
    name: str = ""
    fields: list[FormField] = []
    pace: str = ""
    pace_each: str = ""
    pace_default: str = ""
    pace_each_default: str = ""
    is_default: bool = False
    is_active: bool = True
    weight: str = ""
    health: str = ""
    dot: str = ""
    broken_reason: str = ""
    callback_url: str = ""
    callback_help: str = ""
    callback_verified: str = ""
    circuit_reason: str = ""
    circuit_since: str = ""
    next_probe: str = ""
    last_success: str = ""
    error_rate: str = ""
    failed_of: str = ""
    sent: str = ""
    errors: dict[str, str] = {}
    is_loaded: bool = False
    is_saving: bool = False
    is_testing: bool = False
    test_result: str = ""
    test_passed: bool = False
    asks_delete: bool = False

    @event
    async def load(self) -> Events:
        await self._enter()
        self._put(errors={}, test_result="", asks_delete=False, is_loaded=False)
        expected = self._path.rsplit("/", 1)[-1]
        if expected == _NEW:
            return await self._load_new(self.router.url.query_parameters.get("type", ""))
        await self._load_existing(expected)
        # A new connector's first test runs by itself.
        if self.router.url.query_parameters.get("created"):
            return ConnectorFormState.test()
        return None

    @event
    async def save(self, data: dict[str, Any]) -> Steps:
        self.errors, self.is_saving = {}, True
        yield None
        try:
            yield await self._save(data)
        except BadRequest as exc:
            labels = {item.name: item.label for item in self.fields}
            missing = {
                error.field: f"{labels[error.field]} is needed."
                for error in exc.errors
                if error.code == _MISSING and error.field in labels
            }
            self.errors = field_errors(exc) | missing
        finally:
            self.is_saving = False

    @event
    async def test(self) -> Steps:
        platform, access = await self._authorize(Action.MANAGE_CONNECTORS)
        self._put(is_testing=True, test_result="")
        yield None
        try:
            health = await connectors.test_connector(
                platform.database,
                access,
                vault=platform.vault,
                context=platform.providers,
                connector_id=connector_id_of(self.id),
            )
        finally:
            self.is_testing = False
        self._put(test_result=health.message, test_passed=health.connected)
        await self._load_existing(self.id)

    @event
    async def set_active(self, is_active: bool) -> Events:
        await self._update({"is_active": is_active})
        await self._load_existing(self.id)
        if is_active:
            return say(f"{self.name} is active. Its messages go out again.")
        return say(f"{self.name} is paused. Sends to it are refused until you activate it.")

    @event
    async def ask_delete(self, is_shown: bool) -> Events:
        self.asks_delete = is_shown
        return None

    @event
    async def delete(self) -> Events:
        async with self._work(Action.MANAGE_CONNECTORS) as work:
            await connectors.delete_connector(
                work.session, work.access, connector_id=connector_id_of(self.id)
            )
        self.asks_delete = False
        return [go_to(PATH), say(f"{self.name} deleted. Its messages stay in the history.")]

    async def _save(self, data: dict[str, Any]) -> Events:
        name = str(data.get("name") or "").strip()
        if not name:
            self.errors = {"name": "Give the connector a name, such as 'Twilio UK'."}
            return None
        credentials = self._credentials(data)
        config = self._config(data)
        is_default = bool(data.get("isDefault"))
        if self.id == _NEW:
            new = NewConnector(
                type=self.kind,
                name=name,
                credentials=credentials,
                config=config,
                is_default=is_default,
                weight=_weight(data),
            )
            async with self._work(Action.MANAGE_CONNECTORS) as work:
                connector = await connectors.create_connector(
                    work.session, work.access, vault=work.platform.vault, new=new
                )
                connector_id = ids.encode(ids.CONNECTOR, connector.id)
            return [
                go_to(f"{PATH}/{connector_id}?created=1"),
                say(f"{name} added. Testing it now."),
            ]
        changes: dict[str, Any] = {
            "name": name,
            "credentials": credentials,
            "weight": _weight(data),
        }
        if config != self._config(
            {"pacing.perSecond": self.pace, "pacing.perRecipient": self.pace_each}
        ):
            changes["config"] = await self._kept_config() | config
        await self._update(
            changes | ({"is_default": is_default} if is_default != self.is_default else {})
        )
        await self._load_existing(self.id)
        return say(f"{name} saved.")

    async def _update(self, changes: dict[str, Any]) -> None:
        async with self._work(Action.MANAGE_CONNECTORS) as work:
            await connectors.update_connector(
                work.session,
                work.access,
                vault=work.platform.vault,
                connector_id=connector_id_of(self.id),
                changes=changes,
            )

    def _credentials(self, data: dict[str, Any]) -> dict[str, Any]:
        """The form's texts as the schema's types; a number that is none stays a text, for the
        schema to refuse.
        """
        values: dict[str, Any] = {}
        for item in self.fields:
            text = data.get(item.name)
            name = item.name.removeprefix("credentials.")
            if item.kind == "boolean":
                values[name] = bool(text)
            elif item.kind == "number" and (written := whole_number(str(text or ""))) is not None:
                values[name] = written
            else:
                values[name] = str(text or "")
        return values

    async def _kept_config(self) -> dict[str, Any]:
        """The settings that this form does not show stay as they are."""
        async with self._work(Action.MANAGE_CONNECTORS) as work:
            connector = await connectors.get_connector(
                work.session, work.access, connector_id=connector_id_of(self.id)
            )
        return {name: value for name, value in connector.config.items() if name != "pacing"}

    def _config(self, data: dict[str, Any]) -> dict[str, Any]:
        pacing: dict[str, Any] = {}
        for name, key in _PACING.items():
            text = str(data.get(name) or "").strip().replace(",", ".")
            if text:
                try:
                    pacing[key] = float(text)
                except ValueError:
                    pacing[key] = text
        return {"pacing": pacing} if pacing else {}

    async def _load_new(self, kind: str) -> Events:
        described = {item["type"]: item for item in describe_connector_types()}
        if kind not in described:
            return go_to(PATH)
        self._describe(described[kind], {}, is_new=True)
        self._put(
            id=_NEW,
            name=described[kind]["title"],
            is_default=False,
            is_active=True,
            pace="",
            pace_each="",
        )
        self._put(weight="")
        self._put(health="", broken_reason="", circuit_reason="", is_loaded=True)
        return None

    async def _load_existing(self, connector_id: str) -> None:
        async with self._work(Action.VIEW_CONNECTORS) as work:
            connector = await connectors.get_connector(
                work.session, work.access, connector_id=connector_id_of(connector_id)
            )
            numbers = await overview(work.session, work.access, mode=self._checked_mode)
            try:
                shown = visible_credentials(work.platform.vault, connector)
            except AppError as exc:
                shown = {}
                self.errors = field_errors(exc)
        described = next(
            each for each in describe_connector_types() if each["type"] == connector.type
        )
        self._describe(described, shown, is_new=False)
        is_called = takes_callbacks(connector.type)
        self._put(
            callback_url=self._base_url + callback_path(connector.id) if is_called else "",
            callback_help=callback_help(connector.type) if is_called else "",
            callback_verified=instant(connector.callback_verified_at),
        )
        pacing = connector.config.get("pacing") or {}
        if connector.config.get("pacing", pacing) is None:
            self._put(pace_default="", pace_each_default="")  # unpaced by choice
        self._put(
            id=connector_id,
            name=connector.name,
            is_default=connector.is_default,
            is_active=connector.is_active,
            weight=_plain(connector.weight),
            broken_reason=connector.broken_reason or "",
            circuit_reason=connector.circuit_reason or ""
            if connector.circuit_opened_at is not None
            else "",
            circuit_since=instant(connector.circuit_opened_at),
            next_probe=instant(connector.circuit_probe_at),
            pace=_plain(pacing.get("perSecond")),
            pace_each=_plain(pacing.get("perRecipientPerSecond")),
            is_loaded=True,
        )
        self._show_health(next(each for each in numbers.connectors if each.id == connector.id))

    def _show_health(self, numbers: ConnectorNumbers) -> None:
        health, dot = health_of(numbers)
        settled = numbers.handed_over + numbers.failed
        self._put(
            health=health,
            dot=dot,
            last_success=instant(numbers.last_sent_at),
            error_rate=percent(numbers.failed, settled),
            failed_of=f"{number(numbers.failed)} of {number(settled)}" if settled else "",
            sent=plural(numbers.accepted, "message"),
        )

    def _describe(self, described: dict[str, Any], shown: dict[str, Any], *, is_new: bool) -> None:
        pacing = described["pacing"]
        self._put(
            kind=described["type"],
            title=described["title"],
            summary=described["summary"],
            fields=[_form_field(item, shown, is_new=is_new) for item in described["fields"]],
            pace_default=_plain(pacing["perSecond"]),
            pace_each_default=_plain(pacing["perRecipientPerSecond"]),
        )


def _form_field(item: dict[str, Any], shown: dict[str, Any], *, is_new: bool) -> FormField:
    is_secret = item["type"] == "secret"
    default = item["default"] if is_new else None
    return FormField(
        name=f"credentials.{item['name']}",
        label=item["label"],
        kind=item["type"],
        value=_plain(shown.get(item["name"], default)),
        placeholder=item["placeholder"] if is_new or not is_secret else "••••••••••••",
        help=item["help"] if is_new or not is_secret else "Cannot be read back. Empty keeps it.",
        is_optional=not item["required"]
        and item["default"] is None
        and item["type"] not in {"boolean", "select"},
        is_set=is_secret and not is_new,
        options=[Option(_plain(option["value"]), option["label"]) for option in item["options"]],
    )


def _weight(data: dict[str, Any]) -> int | None:
    """What isn't a whole number is out of range, which the service says."""
    text = str(data.get("weight") or "").strip()
    if not text:
        return None
    weight = whole_number(text)
    return weight if weight is not None else -1


def _plain(value: object) -> str:
    if value is None:
        return ""
    return f"{value:g}" if isinstance(value, float) else str(value)
