"""A project with what it owns, made directly through models; for tests below the API."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any
from uuid import UUID

from backend.crypto import keyed_hash, random_token
from backend.dispatch.circuits import Circuits
from backend.dispatch.pacing import Pacer
from backend.dispatch.retry import RetryPolicy
from backend.ids import new_id
from backend.ledger.idempotency import IdempotencyKey
from backend.models import (
    ApiKey,
    Attempt,
    Connector,
    Message,
    Project,
    ProjectMember,
    Template,
    User,
)
from backend.platform import Platform
from backend.queueing import ReadySet
from backend.services.access.access import ALLOWED, Access, Role, UserPrincipal, system_access
from backend.services.connectors.connectors import NewConnector, create_connector
from backend.services.delivery.broken import BrokenConnectors
from backend.services.delivery.circuit import CircuitRows
from backend.services.delivery.engine import DeliveryEngine
from backend.services.delivery.open_connectors import OpenConnectors
from backend.services.delivery.sweeper import Sweeper
from backend.services.policy.request import SendRequest
from backend.services.policy.sender import Sender
from backend.services.sending.accept import Accepted, accept_message

ALL_SCOPES = ["messages:send", "messages:read"]


class World:
    """One tenant. `platform` is shared; what it makes is its own."""

    def __init__(self, platform: Platform, user_id: UUID, project_id: UUID) -> None:
        self.platform = platform
        self.user_id = user_id
        self.project_id = project_id

    @classmethod
    async def make(cls, platform: Platform) -> World:
        async with platform.database.transaction() as session:
            user = User(email=f"{new_id()}@example.com", password_hash="x")
            session.add(user)
            await session.flush()
            project = Project(user_id=user.id, name="World")
            session.add(project)
            await session.flush()
            session.add(ProjectMember(project_id=project.id, user_id=user.id))
        return cls(platform, user.id, project.id)

    async def connector(
        self, type_: str = "sandbox", credentials: Mapping[str, Any] | None = None, **fields: Any
    ) -> Connector:
        """Unpaced, unless `config` says otherwise: tests send much, and to few recipients."""
        fields.setdefault("config", {"pacing": None})
        async with self.platform.database.transaction() as session:
            return await create_connector(
                session,
                system_access(self.project_id),
                vault=self.platform.vault,
                new=NewConnector(type=type_, name=type_, credentials=credentials or {}, **fields),
            )

    async def template(self, content: str = "Hello {{name}}", **fields: Any) -> Template:
        async with self.platform.database.transaction() as session:
            defaults: dict[str, Any] = {
                "name": "welcome",
                "connector_type": "sandbox",
                "variables": ["name"],
            }
            template = Template(
                project_id=self.project_id, content=content, **{**defaults, **fields}
            )
            session.add(template)
        return template

    async def key(self, **fields: Any) -> str:
        """Return the text of a new secret live key."""
        text = f"sk_live_{random_token()}"
        pepper = self.platform.settings.require_key_pepper()
        async with self.platform.database.transaction() as session:
            defaults: dict[str, Any] = {"name": "key", "scopes": ALL_SCOPES, "hint": text[:12]}
            session.add(
                ApiKey(
                    project_id=self.project_id,
                    key_hash=keyed_hash(pepper, text),
                    **{**defaults, **fields},
                )
            )
        return text

    async def send(
        self, request: SendRequest, *, idempotency: IdempotencyKey | None = None
    ) -> Accepted:
        caller = Sender(system_access(self.project_id), "live")
        return await accept_message(
            self.platform.send_path, caller, request, idempotency=idempotency
        )

    async def message(self, message_id: UUID) -> Message:
        async with self.platform.database.session() as session:
            message = await Message.find(session, self.project_id, message_id)
        assert message is not None
        return message

    async def attempts(self, message_id: UUID) -> list[Attempt]:
        async with self.platform.database.session() as session:
            return await Attempt.list_for_message(session, message_id)

    async def wait_for(self, message_id: UUID, *statuses: str, timeout_s: float = 10.0) -> Message:
        ends_at = time.monotonic() + timeout_s
        while True:
            message = await self.message(message_id)
            if message.status in statuses:
                return message
            if time.monotonic() > ends_at:
                raise AssertionError(
                    f"still '{message.status}' after {timeout_s} s: {message.error_reason}"
                )
            await asyncio.sleep(0.02)


def make_circuits(
    platform: Platform,
    connectors: OpenConnectors,
    *,
    first_pause_s: float = 0.2,
    longest_pause_s: float = 1.0,
) -> Circuits:
    """With pauses that a test can wait for."""
    return Circuits(
        platform.redis,
        platform.doorbell,
        CircuitRows(platform.database.raw, connectors),
        first_pause_s=first_pause_s,
        longest_pause_s=longest_pause_s,
    )


def make_engine(
    platform: Platform, *, base_urls: Mapping[str, str] | None = None, **overrides: Any
) -> DeliveryEngine:
    """An engine as workers/process.py makes it, on the test's own loop; `base_urls` name the
    fakes.
    """
    settings = platform.settings
    context = replace(
        platform.providers, base_urls={**platform.providers.base_urls, **(base_urls or {})}
    )
    connectors = OpenConnectors(platform.database, platform.vault, context)
    platform.on_change.append(connectors.forget)
    options: dict[str, Any] = {
        "retry_policy": RetryPolicy(
            settings.retry_max_attempts,
            settings.retry_base_s,
            settings.retry_cap_s,
            settings.retry_max_age_s,
        ),
        "concurrency": settings.delivery_concurrency,
        "lease_s": settings.lease_s,
        "exchange_timeout_s": settings.provider_timeout_s,
        "settle_s": settings.uncertain_settle_s,
        "pacer": Pacer(platform.redis),
        "circuits": make_circuits(platform, connectors),
        "broken": BrokenConnectors(
            platform.database, platform.mail, public_url=settings.public_url
        ),
    }
    return DeliveryEngine(
        database=platform.database,
        ready=ReadySet(platform.redis),
        doorbell=platform.doorbell,
        connectors=connectors,
        **{**options, **overrides},
    )


def make_sweeper(
    platform: Platform, *, settle_s: float = 15.0, max_age_s: float = 24 * 3600.0
) -> Sweeper:
    return Sweeper(platform.database.raw, platform.doorbell, settle_s=settle_s, max_age_s=max_age_s)


def acting(user: UserPrincipal, project_id: UUID) -> Access:
    """Return the access of a person who owns the project."""
    return Access(project_id, user.actor, None, ALLOWED[Role.OWNER], "owner")
