"""Mails that someone may have this server send."""

from __future__ import annotations

import pytest

from backend.errors import RateLimitExceeded
from backend.ids import new_id
from backend.platform import Platform
from backend.services.limits.mails import count_mail


async def test_an_account_gets_five_mails_an_hour_from_any_address(platform: Platform) -> None:
    email = f"{new_id()}@example.com"
    for _ in range(5):
        await count_mail(platform.redis, email=email, address=str(new_id()))
    with pytest.raises(RateLimitExceeded, match="Too many mails from here"):
        await count_mail(platform.redis, email=email.upper(), address=str(new_id()))


async def test_an_address_may_ask_for_thirty_mails_an_hour(platform: Platform) -> None:
    address = str(new_id())
    for _ in range(30):
        await count_mail(platform.redis, email=f"{new_id()}@example.com", address=address)
    with pytest.raises(RateLimitExceeded):
        await count_mail(platform.redis, email=f"{new_id()}@example.com", address=address)
