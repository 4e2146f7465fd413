"""Webhook verification, against the example of the Standard Webhooks specification."""

from __future__ import annotations

import base64
import hashlib
import hmac
import time

import pytest
from messagejs import WebhookRejected, verify_webhook

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
BODY = b'{"test": 2432232314}'


def _headers(body: bytes = BODY, *, age_s: int = 0, secret: str = SECRET) -> dict[str, str]:
    timestamp = str(int(time.time()) - age_s)
    key = base64.b64decode(secret.removeprefix("whsec_"))
    digest = hmac.digest(key, f"msg_1.{timestamp}.".encode() + body, hashlib.sha256)
    signature = f"v1,{base64.b64encode(digest).decode()}"
    return {"Webhook-Id": "msg_1", "Webhook-Timestamp": timestamp, "Webhook-Signature": signature}


def test_the_specifications_example_verifies() -> None:
    headers = {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }
    assert verify_webhook(BODY, headers, SECRET, tolerance_s=1e12) == {"test": 2432232314}


def test_one_of_several_signatures_is_enough() -> None:
    headers = _headers()
    headers["Webhook-Signature"] = f"v1,AAAA v1a,BBBB {headers['Webhook-Signature']}"
    assert verify_webhook(BODY, headers, SECRET)


def test_what_was_changed_is_refused() -> None:
    for body, headers in (
        (BODY + b" ", _headers()),
        (BODY, _headers(age_s=301)),
        (BODY, {**_headers(), "Webhook-Id": "msg_2"}),
        (BODY, {**_headers(), "Webhook-Signature": ""}),
        (BODY, _headers(secret="whsec_" + base64.b64encode(b"other").decode())),
        (BODY, {}),
    ):
        with pytest.raises(WebhookRejected):
            verify_webhook(body, headers, SECRET)
