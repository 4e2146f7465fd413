"""Bodies of the audit log."""

from __future__ import annotations

from typing import Any, Final
from uuid import UUID

from pydantic import Field

from backend import ids
from backend.api.inputs.bodies import Instant, Pagination, ResponseBody
from backend.models.user import User
from backend.services.access.audit import AuditLine
from backend.services.lists.paging import Page

# What an action's noun says its subject is.
_PREFIX: Final = {
    "project": ids.PROJECT,
    "key": ids.KEY,
    "connector": ids.CONNECTOR,
    "template": ids.TEMPLATE,
    "route": ids.ROUTE,
    "message": ids.MESSAGE,
    "dead_letters": ids.MESSAGE,
    "campaign": ids.CAMPAIGN,
    "member": ids.USER,
    "user": ids.USER,
    "password": ids.USER,
    "email": ids.USER,
    "session": ids.SESSION,
    "invitation": ids.INVITATION,
}


SUBJECT_PREFIXES: Final = tuple(sorted(set(_PREFIX.values())))


def subject_id_of(text: str) -> UUID | None:
    """Return the UUID of any id that can be a subject, None when the text is none."""
    return next(
        (result for prefix in SUBJECT_PREFIXES if (result := ids.decode(prefix, text)) is not None),
        None,
    )


class ActorBody(ResponseBody):
    id: str = Field(examples=["usr_01h455vb4pex5vsknk084sn02q"])
    email: str
    name: str

    @classmethod
    def of(cls, user: User) -> ActorBody:
        return cls(id=ids.encode(ids.USER, user.id), email=user.email, name=user.name)


class AuditEntryBody(ResponseBody):
    id: str = Field(examples=["aud_01h455vb4pex5vsknk084sn02q"])
    created_at: Instant
    project_id: str | None
    actor: ActorBody | None = Field(
        description="null: an API key, the system, or someone who wasn't logged in"
    )
    key_id: str | None = Field(
        description="The API key that acted; null: a person, or the system",
        examples=["key_01h455vb4pex5vsknk084sn02q"],
    )
    action: str = Field(examples=["key.created"])
    subject: str | None = Field(
        description="The id of what was changed", examples=["key_01h455vb4pex5vsknk084sn02q"]
    )
    address: str = Field(description="Where the call came from", examples=["198.51.100.7"])
    before: dict[str, Any] | None
    after: dict[str, Any] | None

    @classmethod
    def of(cls, line: AuditLine) -> AuditEntryBody:
        entry = line.entry
        noun = entry.action.partition(".")[0]
        prefix = _PREFIX.get(noun, noun)
        return cls(
            id=ids.encode(ids.AUDIT, entry.id),
            created_at=entry.created_at,
            project_id=(
                ids.encode(ids.PROJECT, entry.project_id) if entry.project_id is not None else None
            ),
            actor=ActorBody.of(line.actor) if line.actor is not None else None,
            key_id=ids.encode(ids.KEY, entry.key_id) if entry.key_id is not None else None,
            action=entry.action,
            subject=ids.encode(prefix, entry.subject_id) if entry.subject_id is not None else None,
            address=entry.address,
            before=entry.before,
            after=entry.after,
        )


class AuditList(ResponseBody):
    entries: list[AuditEntryBody]
    pagination: Pagination

    @classmethod
    def of(cls, page: Page[AuditLine]) -> AuditList:
        return cls(
            entries=[AuditEntryBody.of(line) for line in page.items], pagination=Pagination.of(page)
        )
