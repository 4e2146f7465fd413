"""Users and log-ins below the API: who is first, who may register, what the audit log keeps."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta

import psycopg
import pytest
from pydantic import SecretStr
from sqlalchemy.engine import make_url
from sqlmodel import col, select

from backend.errors import InvalidCredentials, InvalidToken, RegistrationClosed, TokenExpired
from backend.ids import new_id
from backend.models import AuditEntry, AuthSession, Connector, Project, ProjectMember, User
from backend.models.base import utc_now
from backend.models.migrate import upgrade
from backend.platform import Platform
from backend.runtime.embedded import EmbeddedServers
from backend.services.accounts import users
from backend.services.accounts.users import Client, SignedIn
from backend.settings import Settings

PASSWORD = "correct horse battery"


async def register(
    platform: Platform, *, settings: Settings | None = None, name: str = "Ada"
) -> SignedIn:
    async with platform.database.transaction() as session:
        return await users.register_user(
            session,
            settings=settings or platform.settings,
            vault=platform.vault,
            email=f"{new_id()}@example.com",
            password=PASSWORD,
            name=name,
            client=Client(address="192.0.2.1", user_agent="test"),
        )


@pytest.fixture
async def empty_platform(settings: Settings, servers: EmbeddedServers) -> AsyncIterator[Platform]:
    """A server nobody has registered at yet."""
    name = f"empty_{new_id().hex}"
    async with await psycopg.AsyncConnection.connect(
        servers.database_url, autocommit=True
    ) as connection:
        await connection.execute(f"CREATE DATABASE {name}")
    url = make_url(servers.database_url).set(database=name).render_as_string(hide_password=False)
    await asyncio.to_thread(upgrade, url)
    platform = await Platform.open(settings.model_copy(update={"database_url": SecretStr(url)}))
    yield platform
    await platform.close()


async def test_of_many_first_registrations_at_once_one_administers(
    empty_platform: Platform,
) -> None:
    signed_in = await asyncio.gather(*(register(empty_platform) for _ in range(4)))
    assert sorted(item.user.is_platform_admin for item in signed_in) == [False, False, False, True]


async def test_a_closed_server_still_takes_its_first_user(empty_platform: Platform) -> None:
    closed = empty_platform.settings.model_copy(update={"registration": "closed"})
    first = await register(empty_platform, settings=closed)
    assert first.user.is_platform_admin
    with pytest.raises(RegistrationClosed):
        await register(empty_platform, settings=closed)


async def test_registering_makes_a_project_its_owner_and_a_sandbox(platform: Platform) -> None:
    signed_in = await register(platform, name="Grace")
    async with platform.database.session() as session:
        [project] = await Project.list_for_member(session, signed_in.user.id)
        member = await ProjectMember.find(session, project.id, signed_in.user.id)
        [connector] = await Connector.list_for_project(session, project.id)
    assert project.name == "Grace's project"
    assert project.plan == platform.settings.default_plan
    assert member is not None
    assert member.role == "owner"
    assert (connector.type, connector.name, connector.is_default) == ("sandbox", "Sandbox", True)


async def test_a_nameless_users_project_is_named_after_the_email(platform: Platform) -> None:
    signed_in = await register(platform, name="")
    async with platform.database.session() as session:
        [project] = await Project.list_for_member(session, signed_in.user.id)
    assert project.name == f"{signed_in.user.email.partition('@')[0]}'s project"


async def test_a_registration_that_fails_leaves_nothing(platform: Platform) -> None:
    email = f"{new_id()}@example.com"

    async def fail_before_the_commit() -> None:
        async with platform.database.transaction() as session:
            await users.register_user(
                session,
                settings=platform.settings,
                vault=platform.vault,
                email=email,
                password=PASSWORD,
            )
            raise RuntimeError

    with pytest.raises(RuntimeError):
        await fail_before_the_commit()
    async with platform.database.session() as session:
        assert await User.find_by_email(session, email) is None


async def test_the_password_is_stored_as_bcrypt_only(platform: Platform) -> None:
    user = (await register(platform)).user
    assert user.password_hash.startswith("$2b$")
    assert PASSWORD not in user.password_hash


async def test_the_audit_log_names_the_actor_and_the_address_and_no_secret(
    platform: Platform,
) -> None:
    signed_in = await register(platform)
    async with platform.database.session() as session:
        query = (
            select(AuditEntry)
            .where(col(AuditEntry.actor_id) == signed_in.user.id)
            .order_by(col(AuditEntry.id))
        )
        entries = (await session.exec(query)).all()
    assert [entry.action for entry in entries] == [
        "user.registered",
        "connector.created",
        "project.created",
    ]
    assert {entry.address for entry in entries} == {"192.0.2.1"}
    assert PASSWORD not in str([entry.model_dump() for entry in entries])


async def test_a_deactivated_user_can_neither_log_in_nor_go_on(platform: Platform) -> None:
    signed_in = await register(platform)
    async with platform.database.transaction() as session:
        pair = await users.issue_tokens(session, signed_in, platform.settings)
        user = await User.find(session, signed_in.user.id)
        assert user is not None
        user.is_active = False
    async with platform.database.session() as session:
        with pytest.raises(InvalidToken):
            await users.authenticate_access(session, pair.access_token, platform.settings)
    with pytest.raises(InvalidCredentials):
        await users.log_in(
            platform.database,
            platform.redis,
            settings=platform.settings,
            email=signed_in.user.email,
            password=PASSWORD,
            client=Client(address="192.0.2.2"),
        )


async def test_a_log_in_brings_a_password_to_the_cost_that_is_set_now(platform: Platform) -> None:
    signed_in = await register(platform)
    dearer = platform.settings.model_copy(update={"bcrypt_cost": platform.settings.bcrypt_cost + 1})
    hashes = set[str]()
    for settings in (platform.settings, dearer, dearer):
        await users.log_in(
            platform.database,
            platform.redis,
            settings=settings,
            email=signed_in.user.email,
            password=PASSWORD,
            client=Client(address="192.0.2.3"),
        )
        async with platform.database.session() as session:
            user = await User.find(session, signed_in.user.id)
        assert user is not None
        hashes.add(user.password_hash)
        assert user.password_hash.startswith(f"$2b${settings.bcrypt_cost:02d}$")
    assert len(hashes) == 2  # written when the cost changed, and then no more


async def test_a_cookie_ends_with_its_life_and_with_its_log_in(platform: Platform) -> None:
    signed_in = await register(platform)
    async with platform.database.transaction() as session:
        cookie = await users.issue_cookie(session, signed_in)
    async with platform.database.session() as session:
        principal = await users.authenticate_cookie(session, cookie)
        assert principal.user_id == signed_in.user.id
        with pytest.raises(InvalidToken):
            await users.authenticate_cookie(session, cookie + "x")
    async with platform.database.transaction() as session:
        await users.log_out(session, signed_in.auth_session.id, signed_in.principal.actor)
    async with platform.database.session() as session:
        with pytest.raises(InvalidToken):
            await users.authenticate_cookie(session, cookie)


async def test_tokens_of_a_log_in_that_ran_out_are_refused(platform: Platform) -> None:
    signed_in = await register(platform)
    past = utc_now() - timedelta(seconds=1)
    async with platform.database.transaction() as session:
        auth_session = await AuthSession.find(session, signed_in.auth_session.id)
        assert auth_session is not None
        auth_session.expires_at = past
        expired = SignedIn(signed_in.user, auth_session)
        pair = await users.issue_tokens(session, expired, platform.settings)
        cookie = await users.issue_cookie(session, expired)
    async with platform.database.session() as session:
        with pytest.raises(InvalidToken):
            await users.authenticate_access(session, pair.access_token, platform.settings)
        with pytest.raises(TokenExpired):
            await users.authenticate_cookie(session, cookie)
        with pytest.raises(TokenExpired):
            await users.refresh(
                session, refresh_token=pair.refresh_token, settings=platform.settings
            )
