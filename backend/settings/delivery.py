"""How messages are accepted, handed over and retried."""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from backend.settings.base import DAY_S, LONGEST_S, Base


class DeliverySettings(Base):
    idempotency_ttl_s: int = Field(
        24 * 3600, ge=60, le=LONGEST_S, description="How long an Idempotency-Key is remembered"
    )
    accept_queue_limit: int = Field(
        2000, ge=1, description="Sends that may wait for the group commit before the answer is 503"
    )
    campaign_body_limit_bytes: int = Field(
        50 * 1024 * 1024, ge=1024, description="Largest upload of a campaign"
    )
    campaign_max_rows: int = Field(100_000, ge=1, description="Rows a campaign's file may have")
    campaign_ahead: int = Field(
        5000,
        ge=1,
        description=(
            "Messages of campaigns that may wait for one connector; more are accepted as these are"
            " sent"
        ),
    )
    workers: int = Field(
        1, ge=0, le=64, description="Delivery worker processes started by `messagejs up`"
    )
    delivery_concurrency: int = Field(
        400, ge=1, le=5000, description="Sends in flight in one worker"
    )
    lease_s: float = Field(
        30.0, ge=0.5, le=DAY_S, description="How long a claimed message belongs to a worker"
    )
    provider_timeout_s: float = Field(
        20.0,
        gt=0,
        le=DAY_S,
        description="Deadline of one exchange with a provider; less than LEASE_S",
    )
    retry_max_attempts: int = Field(8, ge=1, description="Attempts before a message has failed")
    retry_base_s: float = Field(
        1.0, gt=0, le=DAY_S, description="Longest delay of the first retry; doubles each time"
    )
    retry_cap_s: float = Field(
        15 * 60.0, gt=0, le=LONGEST_S, description="Longest delay between attempts"
    )
    retry_max_age_s: float = Field(
        24 * 3600.0, gt=0, le=LONGEST_S, description="Age of a message at which retrying ends"
    )
    uncertain_settle_s: float = Field(
        15.0,
        gt=0,
        le=DAY_S,
        description="How long a receipt may settle a send whose outcome is unknown",
    )
    circuit_first_pause_s: float = Field(
        5.0,
        gt=0,
        le=DAY_S,
        description=(
            "Pause of a connector that only fails, before one message tests it; doubles each time"
        ),
    )
    circuit_longest_pause_s: float = Field(300.0, gt=0, le=DAY_S, description="Longest such pause")
    shutdown_grace_s: float = Field(
        12.0,
        ge=0,
        le=DAY_S,
        description="How long sends in flight may take to finish when stopping",
    )

    @model_validator(mode="after")
    def _lease_outlives_the_exchange(self) -> Self:
        if self.provider_timeout_s >= self.lease_s:
            raise ValueError(
                f"PROVIDER_TIMEOUT_S ({self.provider_timeout_s:g}) must be under LEASE_S"
                f" ({self.lease_s:g}); otherwise a slow send outlives its claim"
            )
        return self
