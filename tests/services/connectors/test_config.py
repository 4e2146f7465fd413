"""Pacing: a connector's own choice goes over the provider's default."""

from __future__ import annotations

from typing import Any

import pytest

from backend.errors import ValidationFailed
from backend.providers._base import Pacing
from backend.services.connectors.config import check_config, effective_pacing

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
def test_null_unpaces_and_what_is_left_out_stays_the_providers(config: dict[str, Any], expected: Pacing) -> None:
    assert effective_pacing(check_config(config), DEFAULT) == expected


@pytest.mark.parametrize(
    ("config", "field"),
    [
        ({"pacing": {"perSecond": 0}}, "config.pacing.perSecond"),
        ({"pacing": {"perSecond": "fast"}}, "config.pacing.perSecond"),
        ({"pacing": {"per_second": True, "speed": 1}}, "config.pacing.speed"),
        ({"pace": 1}, "config.pace"),
    ],
)
def test_a_wrong_setting_is_named(config: dict[str, Any], field: str) -> None:
    with pytest.raises(ValidationFailed) as caught:
        check_config(config)
    assert field in [error.field for error in caught.value.errors]
