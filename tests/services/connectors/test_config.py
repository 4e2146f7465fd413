"""A connector's own pacing and retry settings go over the provider's defaults."""

from __future__ import annotations

from typing import Any

import pytest

from backend.errors import ValidationFailed
from backend.providers.frame.provider import Pacing, Retry
from backend.services.connectors.config import check_config, effective_pacing, effective_retry

DEFAULT = Pacing(per_second=80, per_recipient_per_second=0.5)


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({}, DEFAULT),
        ({"pacing": {}}, DEFAULT),
        ({"pacing": {"perSecond": 10}}, Pacing(10, 0.5)),
        ({"pacing": {"perSecond": None}}, Pacing(None, 0.5)),
        ({"pacing": {"perSecond": None, "perRecipientPerSecond": None}}, Pacing()),
        ({"pacing": None}, Pacing()),
    ],
)
def test_null_unpaces_and_what_is_left_out_stays_the_providers(
    config: dict[str, Any], expected: Pacing
) -> None:
    assert effective_pacing(check_config(config), DEFAULT) == expected


def test_who_paces_recipients_paces_groups_too() -> None:
    groups = Pacing(30, 1, per_group_per_second=0.3)
    assert effective_pacing({"pacing": {"perSecond": 5}}, groups) == Pacing(
        5, 1, per_group_per_second=0.3
    )
    assert effective_pacing({"pacing": {"perRecipientPerSecond": 2}}, groups) == Pacing(30, 2)


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({}, Retry(max_attempts=3, cap_s=60)),
        ({"retry": None}, Retry(max_attempts=3, cap_s=60)),
        ({"retry": {"maxAttempts": 5, "baseS": 0.5}}, Retry(max_attempts=5, base_s=0.5, cap_s=60)),
        (
            {"retry": {"maxAttempts": None, "maxAgeS": 60}},
            Retry(max_attempts=3, cap_s=60, max_age_s=60),
        ),
    ],
)
def test_retry_settings_left_out_or_null_stay_the_providers(
    config: dict[str, Any], expected: Retry
) -> None:
    assert effective_retry(check_config(config), Retry(max_attempts=3, cap_s=60)) == expected


@pytest.mark.parametrize(
    ("config", "field"),
    [
        ({"pacing": {"perSecond": 0}}, "config.pacing.perSecond"),
        ({"pacing": {"perSecond": "fast"}}, "config.pacing.perSecond"),
        ({"pacing": {"per_second": True, "speed": 1}}, "config.pacing.speed"),
        ({"pace": 1}, "config.pace"),
        ({"retry": {"maxAttempts": 0}}, "config.retry.maxAttempts"),
        ({"retry": {"maxAttempts": True}}, "config.retry.maxAttempts"),
        ({"retry": {"baseS": "1"}}, "config.retry.baseS"),
        ({"retry": {"maxAgeS": 1e9}}, "config.retry.maxAgeS"),
    ],
)
def test_a_wrong_setting_is_named(config: dict[str, Any], field: str) -> None:
    with pytest.raises(ValidationFailed) as caught:
        check_config(config)
    assert field in [error.field for error in caught.value.errors]
