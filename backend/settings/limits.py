"""How much a key, a project, a user and an address may do."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from backend.settings.base import LONGEST_S, Base


class LimitSettings(Base):
    dashboard_rate_limit_per_minute: int = Field(
        100, ge=0, description="Dashboard API calls per user and minute; 0: off"
    )
    global_rate_limit_per_minute: int = Field(
        6000,
        ge=0,
        description=(
            "Requests per address, web process and minute, not counting sends with a key; 0: off"
        ),
    )
    default_plan: Literal["free", "pro", "enterprise"] = Field(
        "enterprise", description="Plan of a new project"
    )
    api_key_rate_limit: int | None = Field(
        None, ge=1, description="Messages per window of a key without its own limit"
    )
    api_key_rate_window: int = Field(
        3_600_000,
        ge=1000,
        le=LONGEST_S * 1000,
        description="Window of keys' rate limits, in milliseconds",
    )
    free_monthly_quota: int | None = Field(
        10_000, ge=1, description="Messages per month of a project on the free plan"
    )
    pro_monthly_quota: int | None = Field(
        1_000_000, ge=1, description="Messages per month of a project on the pro plan"
    )
    enterprise_monthly_quota: int | None = Field(
        None, ge=1, description="The same on the enterprise plan; empty: no quota"
    )
    rate_limit_fail_open_secret: bool = Field(
        True, description="Without Redis, let secret keys send uncounted"
    )
    rate_limit_fail_open_publishable: bool = Field(
        False, description="Without Redis, let publishable keys send uncounted"
    )
    key_expiry_days: int = Field(
        0,
        ge=0,
        le=36_500,
        description="Days until a new key without its own expiry expires; 0: never",
    )
    max_keys_per_project: int = Field(
        100, ge=0, description="API keys a project may have; 0: no limit"
    )

    def monthly_quotas(self) -> dict[str, int | None]:
        """Messages per calendar month of each plan; None: no quota."""
        return {
            "free": self.free_monthly_quota,
            "pro": self.pro_monthly_quota,
            "enterprise": self.enterprise_monthly_quota,
        }
