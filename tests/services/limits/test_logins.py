"""Limits on tries: counted in Redis, and never in the way when Redis is down."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import pytest
import redis.asyncio
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from backend.errors import RateLimitExceeded
from backend.ids import new_id
from backend.platform import Platform
from backend.services.limits.dashboard_calls import count_dashboard_call
from backend.services.limits.logins import LoginAttempts


def attempts(platform: Platform, email: str, address: str, **limits: int) -> LoginAttempts:
    return LoginAttempts(
        platform.redis, platform.settings.model_copy(update=limits), email=email, address=address
    )


async def test_an_address_is_limited_over_all_accounts(platform: Platform) -> None:
    address = f"addr-{new_id()}"
    for _ in range(3):
        await attempts(platform, str(new_id()), address, login_attempts_per_address=3).take()
    with pytest.raises(RateLimitExceeded):
        await attempts(platform, str(new_id()), address, login_attempts_per_address=3).take()


async def test_an_account_is_limited_over_all_addresses_and_spellings(platform: Platform) -> None:
    email = f"{new_id()}@example.com"
    for _ in range(30):
        await attempts(platform, email, str(new_id()), login_attempts_per_account=3).take()
    with pytest.raises(RateLimitExceeded):
        await attempts(
            platform, f" {email.upper()}", str(new_id()), login_attempts_per_account=3
        ).take()


async def test_wrong_passwords_elsewhere_lock_nobody_out(platform: Platform) -> None:
    email, home, stranger = f"{new_id()}@example.com", str(new_id()), str(new_id())
    for _ in range(3):
        await attempts(platform, email, stranger, login_attempts_per_account=3).take()
    with pytest.raises(RateLimitExceeded):
        await attempts(platform, email, stranger, login_attempts_per_account=3).take()
    await attempts(platform, email, home, login_attempts_per_account=3).take()


async def test_where_the_password_was_right_before_no_flood_from_elsewhere_counts(
    platform: Platform,
) -> None:
    email, home = f"{new_id()}@example.com", str(new_id())
    known = attempts(platform, email, home, login_attempts_per_account=1)
    await known.take()
    await known.give_back()
    for _ in range(12):
        with suppress(RateLimitExceeded):
            await attempts(platform, email, str(new_id()), login_attempts_per_account=1).take()
    with pytest.raises(RateLimitExceeded):
        await attempts(platform, email, str(new_id()), login_attempts_per_account=1).take()
    await attempts(platform, email, home, login_attempts_per_account=1).take()


async def test_a_proxy_on_this_machine_is_not_one_address_for_everybody(platform: Platform) -> None:
    """None of them is refused."""
    for _ in range(3):
        await attempts(platform, str(new_id()), "127.0.0.1", login_attempts_per_address=1).take()


async def test_one_ipv6_network_is_one_address(platform: Platform) -> None:
    network = f"2001:db8:{new_id().hex[-4:]}:{new_id().hex[-4:]}"
    for host in range(3):
        await attempts(
            platform, str(new_id()), f"{network}::{host + 1}", login_attempts_per_address=3
        ).take()
    with pytest.raises(RateLimitExceeded):
        await attempts(
            platform, str(new_id()), f"{network}::ffff", login_attempts_per_address=3
        ).take()


async def test_without_redis_nobody_is_refused_or_kept_waiting(platform: Platform) -> None:
    away = redis.asyncio.Redis(host="127.0.0.1", port=1, retry=Retry(NoBackoff(), 0))
    settings = platform.settings.model_copy(update={"login_attempts_per_account": 1})
    login = LoginAttempts(away, settings, email="a@example.com", address="192.0.2.1")
    async with asyncio.timeout(20):
        await login.take()
        await login.take()
        await login.give_back()
        assert await count_dashboard_call(away, new_id(), 1) == {}
