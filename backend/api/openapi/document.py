"""The OpenAPI 3.1 document and the docs page, whose scripts come from a package, not from a CDN."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.staticfiles import StaticFiles

from backend.api.inputs.bodies import ErrorBody
from backend.api.openapi.links import add_links

OPENAPI_PATH: Final = "/api/openapi.json"

DESCRIPTION: Final = """
Send messages by WhatsApp, Telegram, SMS and e-mail through one API.

**Authentication.** One header for everything: `Authorization: Bearer ...` with an access token from
`/auth/login` (dashboard API) or an API key (`sk_...`, `pk_...`; sending and reading messages).

**Web pages.** A publishable key sends templates whose access is `signed`, each message with a
`sendToken` that your backend got from `/send-tokens`. It reads nothing, and works on the pages of
its allowed origins only.

**Errors.** `{"error", "code", "details", "requestId"}`; `details.errors` names each wrong field,
the first 50 of them. Send `Accept: application/problem+json` for RFC 9457.

**Lists.** `limit` (1-100), `offset` or `cursor`; the answer's `pagination` says where you are.

**Changes.** A resource's `ETag` goes back as `If-Match` with a change: 412 when someone else was
faster.

**Rate limits.** `RateLimit-Policy` and `RateLimit` on answers, `Retry-After` on a 429.
"""

TAGS: Final = [
    {"name": "Messages", "description": "Send a message and see what became of it."},
    {
        "name": "Auth",
        "description": "Accounts and log-ins. Access tokens live 15 minutes; refresh them.",
    },
    {"name": "Projects", "description": "A project owns keys, connectors, templates and messages."},
    {
        "name": "Members",
        "description": "Who belongs to a project: owner, admin, developer or viewer.",
    },
    {"name": "Audit", "description": "Who changed what, and from where."},
    {"name": "Keys", "description": "API keys. The key's text is shown once, when it is created."},
    {
        "name": "Connectors",
        "description": "A project's accounts at providers. Credentials are never returned.",
    },
    {
        "name": "Routes",
        "description": "Channels that are tried one after the other, under a name that sends use.",
    },
    {"name": "Templates", "description": "Texts with variables, and who may send them."},
    {"name": "Callbacks", "description": "Where providers report what became of a message."},
    {"name": "Campaigns", "description": "One message to every row of a CSV table."},
    {"name": "Administration", "description": "For the server's administrators."},
    {"name": "Instance", "description": "What this server is and offers."},
    {"name": "Analytics", "description": "What became of messages, how fast, and why some failed."},
    {"name": "Health", "description": "For supervisors and load balancers."},
]

# An explicit "default" also keeps FastAPI from documenting its own 422, which this API never
# answers.
DEFAULT_RESPONSES: Final[dict[int | str, dict[str, Any]]] = {
    "default": {"model": ErrorBody, "description": "What went wrong, and what to do about it"}
}

_PAGE: Final = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>MessageJS API</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="/docs/assets/swagger-ui.css">
</head>
<body>
<div id="swagger-ui"></div>
<script src="/docs/assets/swagger-ui-bundle.js"></script>
<script src="/docs/start.js"></script>
</body>
</html>
"""

_START: Final = """window.ui = SwaggerUIBundle({
  url: "%s",
  dom_id: "#swagger-ui",
  deepLinking: true,
  persistAuthorization: false,
  tryItOutEnabled: true,
  displayRequestDuration: true,
  defaultModelsExpandDepth: 0,
  validatorUrl: null,
});
"""


def _assets() -> Path:
    spec = find_spec("fastapi_offline")
    if spec is None or spec.origin is None:
        raise RuntimeError(
            "The package 'fastapi-offline' is missing; run 'pip install fastapi-offline'."
        )
    return Path(spec.origin).parent / "static"


async def _docs_page(_: Request) -> Response:
    return HTMLResponse(_PAGE)


async def _docs_start(_: Request) -> Response:
    return Response(_START % OPENAPI_PATH, media_type="text/javascript")


def error_responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Document the errors a route is known for; all others fall under "default"."""
    return {status: {"model": ErrorBody} for status in statuses}


def _without_null(document: dict[str, Any]) -> dict[str, Any]:
    """Describe an optional parameter by its type alone: a query and a header can leave out, not say
    null.
    """
    operations = [item for described in document["paths"].values() for item in described.values()]
    for parameter in (item for operation in operations for item in operation.get("parameters", ())):
        schema = parameter["schema"]
        kinds = [kind for kind in schema.get("anyOf", ()) if kind != {"type": "null"}]
        if len(kinds) == 1:
            del schema["anyOf"]
            parameter["schema"] = {**kinds[0], **schema}
    return document


def _errors_as_json(document: dict[str, Any]) -> dict[str, Any]:
    """Describe errors as JSON where the right answer is something else, a type that FastAPI gives
    to both.
    """
    operations = [entry for described in document["paths"].values() for entry in described.values()]
    for status, response in (
        item for operation in operations for item in operation["responses"].items()
    ):
        if status[0] in "45d" and len(content := response.get("content", {})) == 1:
            response["content"] = {"application/json": next(iter(content.values()))}
    return document


def install(app: FastAPI) -> None:
    app.add_route("/docs", _docs_page, include_in_schema=False)
    app.add_route("/docs/start.js", _docs_start, include_in_schema=False)
    app.mount("/docs/assets", StaticFiles(directory=_assets()), name="docs-assets")

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            document = get_openapi(
                title=app.title,
                version=app.version,
                openapi_version="3.1.0",
                description=DESCRIPTION,
                routes=app.routes,
                tags=TAGS,
            )
            app.openapi_schema = add_links(_errors_as_json(_without_null(document)))
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]  # FastAPI's own way to extend the document
