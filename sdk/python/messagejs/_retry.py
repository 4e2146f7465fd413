"""When to repeat a call: no answer, 429 and 5xx; the wait grows, and no message is sent twice."""

from __future__ import annotations

import random
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import httpx

from messagejs._calls import Answer, Call
from messagejs._errors import ApiError, RateLimited, error_of

_REPEATABLE = frozenset({429, 500, 502, 503, 504})
_BASE_S = 0.25
_CAP_S = 8.0


@dataclass(frozen=True)
class Transport:
    """Turns calls into HTTP requests, for both clients."""

    api_key: str
    base_url: str
    retries: int

    def __post_init__(self) -> None:
        if not self.api_key.strip():
            raise ValueError(
                "api_key is empty; pass a secret key (sk_live_... or sk_test_...), which the"
                " dashboard shows once under Keys"
            )

    def request(self, call: Call[Any]) -> httpx.Request:
        headers = {"Authorization": f"Bearer {self.api_key}", "Accept": "application/json"}
        if call.creates:
            headers["Idempotency-Key"] = call.idempotency_key or str(uuid.uuid4())
        return httpx.Request(
            call.method,
            f"{self.base_url}/api/v1{call.path}",
            params=dict(call.query),
            json=call.body,
            headers=headers,
        )

    def may_repeat(self, call: Call[Any], tries: int, status: int | None) -> bool:
        """Tell whether to try again; `status` None: there was no answer."""
        is_safe = call.creates or call.repeatable or call.method in {"GET", "HEAD"}
        return tries <= self.retries and is_safe and (status is None or status in _REPEATABLE)

    def delay_s(self, tries: int, headers: Mapping[str, str]) -> float:
        """Return the server's Retry-After (at most a minute), else a growing, random delay."""
        asked_s = retry_after_s(headers)
        if asked_s is not None:
            return min(asked_s, 60.0)
        return random.uniform(0.0, min(_CAP_S, _BASE_S * 2.0**tries))  # noqa: S311 (jitter, not a secret)


def retry_after_s(headers: Mapping[str, str]) -> float | None:
    value = headers.get("retry-after", "")
    return float(value) if value.isdigit() else None


def answer_of(response: httpx.Response) -> Answer:
    """Return a success; raises an ApiError for anything else."""
    body = _object(response)
    if response.is_success:
        return Answer(body, response.headers)
    error: ApiError = error_of(
        response.status_code, body, request_id=response.headers.get("x-request-id")
    )
    if isinstance(error, RateLimited):
        error.retry_after_s = retry_after_s(response.headers)
    raise error


def _object(response: httpx.Response) -> dict[str, Any]:
    try:
        body = response.json()
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}
