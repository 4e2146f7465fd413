"""The project's name, and whether the user's e-mail address is confirmed."""

from __future__ import annotations

from typing import Any, Final

from backend.errors import RateLimitExceeded, ValidationFailed
from backend.services.access.access import Action
from backend.services.accounts import projects, recovery, users
from backend.services.limits.logins import count_mail
from messagejs_app.events import Events, Steps, complain, event, say
from messagejs_app.session import Session

_NAME_LIMIT: Final = 255


class SettingsState(Session):
    error: str = ""
    is_saving: bool = False
    mail_enabled: bool = True
    is_confirmed: bool = True

    @event
    async def load(self) -> Events:
        await self._enter()
        self.error = ""
        async with self._work(Action.VIEW_PROJECT) as work:
            user = await users.get_user(work.session, work.principal)
            is_confirmed = user.email_confirmed_at is not None
        self._put(mail_enabled=work.platform.settings.mail_enabled, is_confirmed=is_confirmed)
        return None

    @event
    async def rename(self, data: dict[str, Any]) -> Steps:
        name = str(data.get("name") or "").strip()
        if not name or len(name) > _NAME_LIMIT:
            self.error = f"A project needs a name of 1 to {_NAME_LIMIT} characters."
            return
        self.error, self.is_saving = "", True
        yield None
        try:
            async with self._work(Action.UPDATE_PROJECT) as work:
                await projects.update_project(work.session, work.access, {"name": name})
        except ValidationFailed as exc:
            self.error = exc.message
            return
        finally:
            self.is_saving = False
        await self._enter()
        yield say(f"The project is called {name} now.")

    @event
    async def send_confirmation(self) -> Events:
        async with self._work(Action.VIEW_PROJECT) as work:
            platform, me = work.platform, work.principal
        try:
            await count_mail(platform.redis, email=me.email, address=me.address)
        except RateLimitExceeded as exc:
            return complain(exc.message)
        platform.mail.later(
            recovery.send_confirmation_link(
                platform.database, platform.mail, platform.settings, me.user_id
            )
        )
        if platform.settings.mail_enabled:
            return say(f"A link is on its way to {me.email}. Open it within a week.")
        return say("The link is in the server’s log. Open it within a week.")
