"""The project's members and open invitations.

What a role may do is asked on every use, not only shown.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID

from backend import ids
from backend.errors import (
    AlreadyMember,
    Forbidden,
    InvitationNotFound,
    MemberNotFound,
    RateLimitExceeded,
)
from backend.services.access.access import ALLOWED, Action, Role
from backend.services.accounts import invitations, members
from backend.services.limits.logins import count_invitation
from backend.services.lists.paging import PageRequest
from messagejs_app.events import Events, Steps, event, go_to, say
from messagejs_app.pages.recovery import NO_EMAIL, email_of
from messagejs_app.session import Session, Work
from messagejs_app.wording import instant, plural

# More than fit one screen are a program's business: GET /projects/{id}/members has pages.
_MOST: Final = 200


@dataclass
class MemberRow:
    id: str
    name: str
    email: str
    role: str
    role_name: str
    joined: str
    is_me: bool
    may_change: bool


@dataclass
class InvitationRow:
    id: str
    email: str
    role_name: str
    expires: str
    has_expired: bool


class PeopleState(Session):
    people: list[MemberRow] = []
    open_invitations: list[InvitationRow] = []
    count: str = ""
    may_manage: bool = False
    is_owner: bool = False
    is_loaded: bool = False
    is_inviting: bool = False
    is_sending: bool = False
    errors: dict[str, str] = {}
    # Where mail is not set the one who invites hands the link on; it cannot be had again.
    link: str = ""
    link_for: str = ""
    removing: str = ""
    removing_name: str = ""
    is_leaving: bool = False

    @event
    async def load(self) -> Events:
        self._put(is_inviting=False, errors={}, link="", removing="")
        await self._look()
        self.is_loaded = True
        return None

    @event
    async def show_invite(self, is_shown: bool) -> Events:
        self._put(is_inviting=is_shown, errors={}, link="", link_for="")
        return None

    @event
    async def invite(self, data: dict[str, Any]) -> Steps:
        email = email_of(str(data.get("email") or ""))
        if email is None:
            self.errors = {"email": NO_EMAIL}
            return
        self.errors, self.is_sending = {}, True
        yield None
        try:
            said = await self._invite(email, role_of(str(data.get("role") or "")))
        except AlreadyMember as exc:
            self.errors = {"email": exc.message}
            return
        except (Forbidden, RateLimitExceeded) as exc:
            self.errors = {"": exc.message}
            return
        finally:
            self.is_sending = False
        await self._look()
        yield said

    async def _invite(self, email: str, role: Role) -> Events:
        async with self._work(Action.MANAGE_MEMBERS) as work:
            platform = work.platform
            await count_invitation(platform.redis, platform.settings, work.principal)
            new = await invitations.invite(
                work.session,
                work.access,
                work.principal,
                platform.settings,
                email=email,
                role=role,
            )
        platform.mail.post(new.mail)
        if not platform.settings.mail_enabled:
            self._put(link=new.link, link_for=email)
            return None
        self.is_inviting = False
        return say(f"{email} is invited. The link in the mail is good for a week.")

    @event
    async def revoke(self, invitation_id: str, email: str) -> Events:
        result = ids.decode(ids.INVITATION, invitation_id)
        if result is None:
            raise InvitationNotFound
        async with self._work(Action.MANAGE_MEMBERS) as work:
            await invitations.revoke_invitation(work.session, work.access, result)
        await self._look()
        return say(f"The invitation of {email} is revoked. Its link is refused from now on.")

    @event
    async def change_role(self, user_id: str, role: str) -> Events:
        async with self._work(Action.MANAGE_MEMBERS) as work:
            member = await members.change_role(
                work.session, work.access, _user(user_id), role_of(role)
            )
            who = member.user.name or member.user.email
        await self._look()
        return say(f"{who} is {role} now, from the next click on.")

    @event
    async def ask_remove(self, user_id: str, name: str, is_me: bool) -> Events:
        self._put(removing=user_id, removing_name=name, is_leaving=is_me)
        return None

    @event
    async def show_remove(self, is_shown: bool) -> Events:
        if not is_shown:
            self.removing = ""
        return None

    @event
    async def remove(self) -> Events:
        user_id = _user(self.removing)
        self.removing = ""
        # Everybody may leave: the service asks for more where it is somebody else.
        async with self._work(Action.VIEW_PROJECT) as work:
            await members.remove_member(work.session, work.access, user_id)
            has_left = user_id == work.principal.user_id
        if has_left:
            self.project_id = ""
            return go_to("/")
        await self._look()
        return say(f"{self.removing_name} is removed and can no longer open the project.")

    async def _look(self) -> None:
        async with self._work(Action.VIEW_MEMBERS) as work:
            me = await members.get_member(work.session, work.access, work.principal.user_id)
            mine = Role(me.membership.role)
            page = await members.page_of_members(
                work.session, work.access, PageRequest(limit=_MOST)
            )
            may_manage = Action.MANAGE_MEMBERS in ALLOWED[mine]
            rows = [
                _row(item, mine, work.principal.user_id, may_manage=may_manage)
                for item in page.items
            ]
            waiting = await self._invitations(work) if may_manage else []
        self._put(
            people=rows,
            open_invitations=waiting,
            count=plural(page.total, "person", "people"),
            may_manage=may_manage,
            is_owner=mine is Role.OWNER,
        )

    async def _invitations(self, work: Work) -> list[InvitationRow]:
        page = await invitations.page_of_invitations(
            work.session, work.access, PageRequest(limit=_MOST)
        )
        now = datetime.now(UTC)
        return [
            InvitationRow(
                id=ids.encode(ids.INVITATION, item.id),
                email=item.email,
                role_name=item.role.capitalize(),
                expires=instant(item.expires_at),
                has_expired=item.expires_at <= now,
            )
            for item in page.items
        ]


def role_of(text: str) -> Role:
    """Raises Forbidden for what the browser has made up."""
    try:
        return Role(text)
    except ValueError as exc:
        raise Forbidden(f"There is no role '{text[:20]}'; choose {', '.join(Role)}.") from exc


def _row(member: members.Member, mine: Role, me: UUID, *, may_manage: bool) -> MemberRow:
    role = Role(member.membership.role)
    return MemberRow(
        id=ids.encode(ids.USER, member.user.id),
        name=member.user.name or member.user.email,
        email=member.user.email,
        role=role.value,
        role_name=role.capitalize(),
        joined=instant(member.membership.created_at),
        is_me=member.user.id == me,
        # Only owners make or unmake owners.
        may_change=may_manage and (role is not Role.OWNER or mine is Role.OWNER),
    )


def _user(text: str) -> UUID:
    result = ids.decode(ids.USER, text)
    if result is None:
        raise MemberNotFound
    return result
