"""Providers' callbacks, whatever the provider.

No session and no key: the provider's signature is the proof.
"""

from __future__ import annotations

from typing import Any, Final
from uuid import UUID

from fastapi import Request, Response
from starlette.responses import PlainTextResponse

from backend.api.frame.address_limit import AddressLimit
from backend.api.inputs.dependencies import ConnectorId, PlatformDep
from backend.api.openapi.document import error_responses
from backend.api.resources.routers import api_router
from backend.errors import Forbidden
from backend.platform import Platform
from backend.providers.frame.callbacks import CallbackRequest

router = api_router(prefix="/api/v1/callbacks", tags=["Callbacks"])

_BODIES: Final[dict[str, Any]] = {
    "requestBody": {
        "description": "As the provider of the connector writes it",
        "required": True,
        "content": {
            "application/json": {"schema": {"type": "object"}},
            "application/x-www-form-urlencoded": {"schema": {"type": "object"}},
        },
    }
}


@router.get(
    "/{connectorId}",
    summary="Answer a provider's handshake",
    response_class=PlainTextResponse,
    responses=error_responses(403, 404),
)
async def answer_handshake(
    connector_id: ConnectorId, request: Request, platform: PlatformDep
) -> PlainTextResponse:
    """What a provider asks when the callback's URL is set (WhatsApp: `hub.verify_token`,
    `hub.challenge`).
    """
    _limit_strangers(request, platform, connector_id)
    said = CallbackRequest(
        query=_query(request), headers=_headers(request), urls=_urls(request, platform)
    )
    return PlainTextResponse(await platform.callbacks.answer_handshake(connector_id, said))


@router.post(
    "/{connectorId}",
    summary="Take a provider's callback",
    response_class=Response,
    responses=error_responses(403, 404, 413, 415, 503),
    openapi_extra=_BODIES,
)
async def receive_callback(
    connector_id: ConnectorId, request: Request, platform: PlatformDep
) -> Response:
    """Delivery receipts.

    Verified by the provider's signature, stored, and answered at once; the same one twice counts
    once. Receipts move a message's status by rank, in whatever order they come.
    """
    _limit_strangers(request, platform, connector_id)
    said = CallbackRequest(
        body=await request.body(),
        query=_query(request),
        headers=_headers(request),
        urls=_urls(request, platform),
    )
    try:
        await platform.callbacks.receive(connector_id, said)
    except Forbidden:
        _limit(request)
        raise
    return Response(status_code=200)


def _limit_strangers(request: Request, platform: Platform, connector_id: UUID) -> None:
    """Callbacks come as fast as messages go, so they are not counted; guesses and forgeries are."""
    if not platform.callbacks.knows(connector_id):
        _limit(request)


def _limit(request: Request) -> None:
    limit: AddressLimit = request.app.state.address_limit
    limit.count_caller(request.scope)


def _query(request: Request) -> str:
    query: bytes = request.scope["query_string"]
    return query.decode("latin-1")


def _headers(request: Request) -> dict[str, str]:
    return {name.lower(): value for name, value in request.headers.items()}


def _urls(request: Request, platform: Platform) -> tuple[str, ...]:
    """Return what the provider may have called and signed: a proxy hides the scheme, and may change
    the host.
    """
    path = request.url.path
    tail = f"{path}?{query}" if (query := _query(request)) else path
    origins = [
        platform.settings.public_url,
        *(f"{scheme}://{request.url.netloc}" for scheme in ("https", "http")),
    ]
    return tuple(dict.fromkeys(origin + tail for origin in origins))
