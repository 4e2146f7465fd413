"""Send tokens: a customer's backend allows a web page one send."""

from __future__ import annotations

from fastapi import Request

from backend.api.inputs.access import SendingKey, bearer_token
from backend.api.inputs.dependencies import PlatformDep
from backend.api.openapi.document import error_responses
from backend.api.resources.routers import api_router
from backend.api.resources.send_tokens.bodies import SendTokenAnswer, SendTokenBody
from backend.services.sending.issue import create_send_token

router = api_router(prefix="/api/v1/send-tokens", tags=["Messages"])


@router.post(
    "",
    status_code=201,
    summary="Let a web page send one message",
    responses=error_responses(400, 401, 403, 404, 413, 415),
)
async def make_send_token(
    request: Request, body: SendTokenBody, sender: SendingKey, platform: PlatformDep
) -> SendTokenAnswer:
    """For a secret key.

    The page sends the token with its publishable key: `POST /messages` with `sendToken`.

    The token is good once, for one template, one recipient and ten minutes at most; the page says
    no more than the variables that are not locked. A backend with the Python client signs tokens
    without this call.
    """
    token = await create_send_token(
        platform.send_path, sender, bearer_token(request), body.to_new_token()
    )
    return SendTokenAnswer.of(token)
