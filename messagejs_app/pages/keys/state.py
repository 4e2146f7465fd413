"""The project's keys. A new key's text is in the state only while its dialog is open."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Literal, cast

from backend import ids
from backend.errors import BadRequest, KeyNotFound
from backend.integers import whole_number
from backend.services.access.access import Action
from backend.services.keys import keys
from backend.services.keys.keys import PUBLISHABLE_SCOPES, SCOPES, NewKey
from messagejs_app.events import Events, Steps, event, go_to, say
from messagejs_app.session import Session, field_errors
from messagejs_app.wording import instant, number

PATH: Final = "/keys"
_EXPIRIES: Final = {"30": 30, "90": 90, "365": 365}
_SOON: Final = timedelta(days=3)


@dataclass
class ListedKey:
    id: str
    name: str
    hint: str
    kind: str
    mode: str
    grants: str
    last_used: str
    expires: str
    expires_soon: bool
    has_ended: bool


@dataclass
class NewKeyText:
    """The key that has just been created."""

    text: str = ""
    name: str = ""
    kind: str = ""
    mode: str = ""
    scopes: str = ""
    origins: str = ""
    limit: str = ""
    expires: str = ""


class KeysState(Session):
    rows: list[ListedKey] = []
    is_loaded: bool = False
    is_creating: bool = False
    is_saving: bool = False
    kind: str = "secret"
    new_mode: str = "live"
    errors: dict[str, str] = {}
    created: NewKeyText = NewKeyText()
    has_stored: bool = False
    revoking: str = ""
    revoking_name: str = ""

    @event
    async def load(self) -> Events:
        await self._enter()
        await self._look()
        self._put(created=NewKeyText(), revoking="", errors={})
        self.is_creating = bool(self.router.url.query_parameters.get("new"))
        self.new_mode = self._checked_mode
        self.is_loaded = True
        return None

    @event
    async def show_create(self, is_shown: bool) -> Events:
        self._put(is_creating=is_shown, errors={}, kind="secret", new_mode=self._checked_mode)
        if not is_shown and self.router.url.query_parameters.get("new"):
            return go_to(PATH)
        return None

    @event
    async def choose_kind(self, kind: str) -> Events:
        self._put(kind="publishable" if kind == "publishable" else "secret", errors={})
        return None

    @event
    async def choose_new_mode(self, mode: str) -> Events:
        self.new_mode = "test" if mode == "test" else "live"
        return None

    @event
    async def create(self, data: dict[str, Any]) -> Steps:
        self.errors, self.is_saving = {}, True
        yield None
        try:
            await self._create(data)
        except BadRequest as exc:
            self.errors = {name.partition("[")[0]: text for name, text in field_errors(exc).items()}
        finally:
            self.is_saving = False

    @event
    async def store(self, has_stored: bool) -> Events:
        self.has_stored = has_stored
        return None

    @event
    async def done(self) -> Events:
        if not self.has_stored:
            return None
        self._put(created=NewKeyText(), has_stored=False)
        return go_to(PATH) if self.router.url.query_parameters.get("new") else None

    @event
    async def ask_revoke(self, key_id: str, name: str) -> Events:
        self._put(revoking=key_id, revoking_name=name)
        return None

    @event
    async def show_revoke(self, is_shown: bool) -> Events:
        if not is_shown:
            self.revoking = ""
        return None

    @event
    async def revoke(self) -> Events:
        key_id = ids.decode(ids.KEY, self.revoking)
        if key_id is None:
            raise KeyNotFound
        async with self._work(Action.MANAGE_KEYS) as work:
            await keys.revoke_key(work.session, work.access, key_id=key_id)
        self.revoking = ""
        await self._look()
        return say(f"{self.revoking_name} revoked. It is refused from now on.")

    async def _create(self, data: dict[str, Any]) -> None:
        new = self._new_key(data)
        if new is None:
            return
        async with self._work(Action.MANAGE_KEYS) as work:
            settings = work.platform.settings
            key, text = await keys.create_key(
                work.session,
                work.access,
                pepper=settings.require_key_pepper(),
                vault=work.platform.vault,
                new=new,
                most_keys=settings.max_keys_per_project,
            )
            created = NewKeyText(
                text=text,
                name=key.name,
                kind=key.kind.capitalize(),
                mode=key.mode.capitalize(),
                scopes=" ".join(key.scopes),
                origins=" ".join(key.allowed_origins),
                limit=(
                    f"{number(key.rate_limit)} messages an hour"
                    if key.rate_limit
                    else "The project's"
                ),
                expires=instant(key.expires_at),
            )
        await self._look()
        self._put(created=created, has_stored=False, is_creating=False)

    def _new_key(self, data: dict[str, Any]) -> NewKey | None:
        """The form as the service takes it; None where `errors` says what is wrong."""
        errors: dict[str, str] = {}
        name = str(data.get("name") or "").strip()
        if not name:
            errors["name"] = "Give the key a name, such as 'Booking server'."
        limit = str(data.get("rateLimit") or "").strip().replace(",", "")
        if limit and not whole_number(limit):
            errors["rateLimit"] = (
                f"'{limit[:20]}' is not a number of messages; write one such as 1000, or leave it"
                " empty."
            )
        scopes = tuple(scope for scope in SCOPES if data.get(f"scope.{scope}"))
        if self.kind == "secret" and not scopes:
            errors["scopes"] = "Choose at least one; a key without scopes can do nothing."
        if errors:
            self.errors = errors
            return None
        origins = tuple(str(data.get("allowedOrigins") or "").replace(",", " ").split())
        days = _EXPIRIES.get(str(data.get("expires") or ""))
        return NewKey(
            name=name,
            kind=cast("Literal['secret', 'publishable']", self.kind),
            mode=cast("Literal['live', 'test']", self.new_mode),
            scopes=scopes if self.kind == "secret" else PUBLISHABLE_SCOPES,
            allowed_origins=origins if self.kind == "publishable" else (),
            rate_limit=int(limit) if limit else None,
            expires_at=datetime.now(UTC) + timedelta(days=days) if days else None,
        )

    async def _look(self) -> None:
        async with self._work(Action.VIEW_KEYS) as work:
            ours = await keys.list_keys(work.session, work.access)
        now = datetime.now(UTC)
        self.rows = [
            ListedKey(
                id=ids.encode(ids.KEY, item.id),
                name=item.name,
                hint=item.hint,
                kind=item.kind.capitalize(),
                mode=item.mode.capitalize(),
                grants=", ".join(
                    item.allowed_origins if item.kind == "publishable" else item.scopes
                ),
                last_used=instant(item.last_used_at),
                expires=instant(item.expires_at),
                expires_soon=item.expires_at is not None and item.expires_at - now < _SOON,
                has_ended=item.expires_at is not None and item.expires_at <= now,
            )
            for item in ours
        ]
