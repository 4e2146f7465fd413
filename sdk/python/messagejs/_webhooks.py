"""Verify a webhook.

Source: Standard Webhooks 1.0 (webhook-id, webhook-timestamp, webhook-signature).
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import time
from collections.abc import Mapping
from typing import Any, Final

TOLERANCE_S: Final = 300


class WebhookRejected(ValueError):
    """The sender doesn't have the secret, or the request is too old: answer 400 and stop."""


def verify_webhook(
    body: bytes, headers: Mapping[str, str], secret: str, *, tolerance_s: float = TOLERANCE_S
) -> dict[str, Any]:
    """Return the event of a webhook; raises WebhookRejected.

    `body` is the raw request body, `secret` the endpoint's (`whsec_...`).
    """
    lowered = {name.lower(): value for name, value in headers.items()}
    message_id, timestamp = lowered.get("webhook-id", ""), lowered.get("webhook-timestamp", "")
    if not message_id or not timestamp.isdigit():
        raise WebhookRejected("The headers webhook-id and webhook-timestamp are missing.")
    if abs(time.time() - int(timestamp)) > tolerance_s:
        raise WebhookRejected(
            f"The webhook's timestamp {timestamp} is more than {tolerance_s:g} s from now; check this"
            " server's clock."
        )
    signed = b"%b.%b.%b" % (message_id.encode(), timestamp.encode(), body)
    expected = base64.b64encode(hmac.digest(_key(secret), signed, hashlib.sha256)).decode()
    candidates = [part.partition(",") for part in lowered.get("webhook-signature", "").split()]
    if not any(
        version == "v1" and hmac.compare_digest(value, expected) for version, _, value in candidates
    ):
        raise WebhookRejected(
            "No signature matches; check the endpoint's secret, and that the body is the raw one."
        )
    event: dict[str, Any] = json.loads(body)
    return event


def _key(secret: str) -> bytes:
    try:
        return base64.b64decode(secret.removeprefix("whsec_"), validate=True)
    except binascii.Error as exc:
        raise ValueError(
            "The webhook secret is not 'whsec_' and base64; copy it from the dashboard."
        ) from exc
