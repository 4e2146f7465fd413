"""The Python client: send messages, read them back, let web pages send, verify webhooks.

    from messagejs import Client

    with Client("sk_live_...", base_url="http://127.0.0.1:8000") as client:
        sent = client.send(to="+1234567890", template_id="tpl_...", variables={"code": "12345"})
        print(sent.message_id, client.get(sent.message_id).status)

A web page sends with a publishable key and a token from your backend, which is good for one send:

    from messagejs import create_send_token

    token = create_send_token(
        "sk_live_...", template_id="tpl_...", to="+1234567890", variables={"code": "12345"}
    )
    # Hand token.send_token to the page. client.send_tokens.create(...) asks the server for a token.

`AsyncClient` is the same with `await`. If an answer is lost, the client repeats the request with
the same Idempotency-Key, so a message is never sent twice.
"""

from messagejs._client import AsyncClient, Client
from messagejs._errors import (
    ApiError,
    AuthenticationError,
    ConflictError,
    ConnectionFailed,
    InvalidRequest,
    MessageJSError,
    NotFound,
    PermissionDenied,
    RateLimited,
    ServerError,
)
from messagejs._models import Attempt, BatchItem, BatchResult, Message, Preview, SendToken, Sent
from messagejs._send_tokens import create_send_token
from messagejs._webhooks import WebhookRejected, verify_webhook

__all__ = [
    "ApiError",
    "AsyncClient",
    "Attempt",
    "AuthenticationError",
    "BatchItem",
    "BatchResult",
    "Client",
    "ConflictError",
    "ConnectionFailed",
    "InvalidRequest",
    "Message",
    "MessageJSError",
    "NotFound",
    "PermissionDenied",
    "Preview",
    "RateLimited",
    "SendToken",
    "Sent",
    "ServerError",
    "WebhookRejected",
    "create_send_token",
    "verify_webhook",
]
