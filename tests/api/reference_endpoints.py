"""What the reference shows of every endpoint: a request, and its answer's fields and types."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Final, Literal

from tests.api.accounts import PASSWORD

# All of them, as the reference writes them.
ENDPOINTS: Final = """
POST /auth/register
POST /auth/login
GET /auth/me
POST /messages
GET /projects
POST /projects
GET /projects/:id
PUT /projects/:id
DELETE /projects/:id
GET /projects/:projectId/keys
POST /projects/:projectId/keys
DELETE /projects/:projectId/keys/:keyId
GET /projects/:projectId/connectors
POST /projects/:projectId/connectors
GET /projects/:projectId/connectors/:id
PUT /projects/:projectId/connectors/:id
DELETE /projects/:projectId/connectors/:id
POST /projects/:projectId/connectors/:id/test
GET /messages
GET /messages/:id
GET /projects/:projectId/templates
POST /projects/:projectId/templates
GET /projects/:projectId/templates/:id
PUT /projects/:projectId/templates/:id
DELETE /projects/:projectId/templates/:id
GET /analytics/messages
GET /analytics/usage
"""

PROJECT: Final = "/api/v1/projects/{projectId}"
KEY: Final = PROJECT + "/keys/{keyId}"
CONNECTOR: Final = PROJECT + "/connectors/{connectorId}"
TEMPLATE: Final = PROJECT + "/templates/{templateId}"
NOBODY: Final = "01h455vb4pex5vsknk084sn02q"
AT: Final = "2024-01-15T10:00:00Z"
WELCOME: Final = "Hello {{name}}, welcome to {{company}}! Your code is: {{code}}"

# What the reference shows of each.
LISTED_PROJECT: Final = {
    "id": "proj_abc123",
    "name": "My Awesome Project",
    "description": "Project description",
    "createdAt": AT,
    "isActive": True,
}
MADE_PROJECT: Final = {**LISTED_PROJECT, "userId": "usr_xyz789"}
LISTED_KEY: Final = {
    "id": "key_abc123",
    "name": "Production Key",
    "lastUsed": AT,
    "rateLimit": 1000,
    "isActive": True,
    "createdAt": AT,
}
MADE_KEY: Final = {
    "key": "sk_live_...",
    "id": "key_abc123",
    "name": "Production Key",
    "rateLimit": 1000,
    "isActive": True,
    "createdAt": AT,
}
LISTED_CONNECTOR: Final = {
    "id": "conn_abc123",
    "type": "whatsapp",
    "name": "Business WhatsApp",
    "isActive": True,
    "createdAt": AT,
}
LISTED_TEMPLATE: Final = {
    "id": "tpl_abc123",
    "name": "Welcome Message",
    "connectorType": "whatsapp",
    "isActive": True,
    "createdAt": AT,
}
NEW_TEMPLATE: Final = {
    "name": "Welcome Message",
    "connectorType": "whatsapp",
    "content": WELCOME,
    "variables": ["name", "company", "code"],
}
MADE_TEMPLATE: Final = {**LISTED_TEMPLATE, **NEW_TEMPLATE}
WHATSAPP: Final = {
    "type": "whatsapp",
    "name": "Business WhatsApp",
    "credentials": {"phoneNumberId": "123456789", "accessToken": "EAAG..."},
}
TELEGRAM: Final = {
    "type": "telegram",
    "name": "My Bot",
    "credentials": {"botToken": "123456:ABC-DEF..."},
}
TWILIO: Final[dict[str, Any]] = {
    "type": "twilio",
    "name": "SMS Provider",
    "credentials": {"accountSid": "ACxxx...", "authToken": "xxx...", "fromNumber": "+1234567890"},
}
PAGE: Final = {"limit": 20, "offset": 0, "total": 1, "hasMore": False}
USER: Final = {"id": "usr_abc123", "email": "user@example.com", "name": "John Doe"}
TOKENS: Final = {"token": "<jwt_token_example>", "refreshToken": "refresh_xyz789..."}
SENT: Final = {
    "to": "+1234567890",
    "connectorId": "{whatsappId}",
    "templateId": "{templateId}",
    "variables": {"name": "John", "company": "ACME", "code": "12345"},
}
LISTED_MESSAGE: Final = {
    "id": "msg_abc123",
    "to": "+1234567890",
    "text": "Hello, world!",
    "status": "sent",
    "connectorType": "whatsapp",
    "sentAt": AT,
    "createdAt": AT,
}
MESSAGE: Final = {
    **{name: value for name, value in LISTED_MESSAGE.items() if name != "connectorType"},
    "projectId": "proj_xyz789",
    "connectorId": "conn_def456",
    "metadata": {"messageId": "wamid.xxx"},
    "deliveredAt": AT,
}
STATISTICS: Final = {
    "period": {"from": "2024-01-01T00:00:00Z", "to": "2024-01-31T23:59:59Z"},
    "totals": {"sent": 1250, "delivered": 1180, "failed": 70, "deliveredRate": 0.944},
    "byConnector": {"whatsapp": {"sent": 800, "delivered": 780, "failed": 20}},
    "byDay": [{"date": "2024-01-15", "sent": 45, "delivered": 43, "failed": 2}],
}
USAGE: Final = {
    "totalMessages": 1250,
    "totalProjects": 5,
    "totalConnectors": 12,
    "averageDeliveryRate": 0.944,
    "topConnectors": [{"type": "whatsapp", "messages": 800}],
}
OF_PROJECT: Final = "projectId={projectId}"
TESTED: Final = {"success": True, "connected": True, "message": "Connected to WhatsApp Cloud API"}


@dataclass(frozen=True)
class Case:
    """One endpoint: what is sent, and what the reference shows of the answer (None: no content)."""

    request: str
    status: int
    shows: dict[str, Any] | None
    body: Any = None
    caller: Literal["user", "key", "nobody"] = "user"


CASES: Final = [
    Case(
        "POST /api/v1/auth/register",
        201,
        {"user": {**USER, "createdAt": AT}, **TOKENS},
        {"email": "{newEmail}", "password": "SecurePassword123!", "name": "John Doe"},
        "nobody",
    ),
    Case(
        "POST /api/v1/auth/login",
        200,
        {"user": USER, **TOKENS},
        {"email": "{email}", "password": PASSWORD},
        "nobody",
    ),
    Case("GET /api/v1/auth/me", 200, {"user": {**USER, "createdAt": AT, "lastLogin": AT}}),
    Case(
        "POST /api/v1/messages", 202, {"messageId": "msg_xyz789", "status": "queued"}, SENT, "key"
    ),
    Case(
        f"GET /api/v1/messages?{OF_PROJECT}&limit=50&offset=0",
        200,
        {"messages": [LISTED_MESSAGE], "pagination": {"limit": 50, "offset": 0, "total": 150}},
    ),
    Case("GET /api/v1/messages/{messageId}", 200, MESSAGE),
    Case(
        f"GET /api/v1/analytics/messages?{OF_PROJECT}&from=2024-01-01&to=2024-01-31",
        200,
        STATISTICS,
    ),
    Case(f"GET /api/v1/analytics/usage?{OF_PROJECT}", 200, USAGE),
    Case("GET /api/v1/projects?limit=20", 200, {"projects": [LISTED_PROJECT], "pagination": PAGE}),
    Case(
        "POST /api/v1/projects",
        201,
        MADE_PROJECT,
        {"name": "My Awesome Project", "description": "Project description"},
    ),
    Case(f"GET {PROJECT}", 200, {**MADE_PROJECT, "updatedAt": AT}),
    Case(
        f"PUT {PROJECT}",
        200,
        {
            "id": "proj_abc123",
            "name": "Updated",
            "description": "Updated description",
            "updatedAt": AT,
        },
        {"name": "Updated Project Name", "description": "Updated description"},
    ),
    Case(f"DELETE {PROJECT}", 204, None),
    Case(f"GET {PROJECT}/keys?limit=20", 200, {"keys": [LISTED_KEY], "pagination": PAGE}),
    Case(f"POST {PROJECT}/keys", 201, MADE_KEY, {"name": "Production Key", "rateLimit": 1000}),
    Case(f"DELETE {KEY}", 204, None),
    Case(
        f"GET {PROJECT}/connectors?limit=20",
        200,
        {"connectors": [LISTED_CONNECTOR], "pagination": PAGE},
    ),
    Case(
        f"POST {PROJECT}/connectors",
        201,
        {**LISTED_CONNECTOR, "projectId": "proj_xyz789"},
        WHATSAPP,
    ),
    Case(
        f"POST {PROJECT}/connectors",
        201,
        {**LISTED_CONNECTOR, "projectId": "proj_xyz789"},
        TELEGRAM,
    ),
    Case(
        f"POST {PROJECT}/connectors", 201, {**LISTED_CONNECTOR, "projectId": "proj_xyz789"}, TWILIO
    ),
    Case(f"GET {CONNECTOR}", 200, {**LISTED_CONNECTOR, "updatedAt": AT}),
    Case(
        f"PUT {CONNECTOR}",
        200,
        {"id": "conn_abc123", "name": "Updated Connector Name", "isActive": False, "updatedAt": AT},
        {"name": "Updated Connector Name", "isActive": False},
    ),
    Case(f"DELETE {CONNECTOR}", 204, None),
    Case(f"POST {CONNECTOR}/test", 200, TESTED),
    Case(
        f"GET {PROJECT}/templates?limit=20",
        200,
        {"templates": [LISTED_TEMPLATE], "pagination": PAGE},
    ),
    Case(f"POST {PROJECT}/templates", 201, MADE_TEMPLATE, NEW_TEMPLATE),
    Case(f"GET {TEMPLATE}", 200, {**MADE_TEMPLATE, "updatedAt": AT}),
    Case(
        f"PUT {TEMPLATE}",
        200,
        {
            "id": "tpl_abc123",
            "content": "Hi {{name}}",
            "variables": ["name", "company"],
            "updatedAt": AT,
        },
        {
            "content": "Hi {{name}}, thanks for joining {{company}}!",
            "variables": ["name", "company"],
        },
    ),
    Case(f"DELETE {TEMPLATE}", 204, None),
]


def differences(example: Any, answer: Any, place: str = "answer") -> list[str]:
    """Return where the answer lacks a field of the example or has another type there."""
    if isinstance(example, dict) and isinstance(answer, dict):
        missing = [f"{place}.{name} is missing" for name in example if name not in answer]
        shared = [name for name in example if name in answer]
        return missing + [
            d
            for name in shared
            for d in differences(example[name], answer[name], f"{place}.{name}")
        ]
    if isinstance(example, list) and isinstance(answer, list):
        if not answer:
            return [f"{place} is empty"]
        return differences(example[0], answer[0], f"{place}[0]")
    if type(example) is not type(answer):
        return [f"{place} is {answer!r}, not like {example!r}"]
    if (
        isinstance(example, str)
        and (pattern := _form_of(example))
        and not re.fullmatch(pattern, answer)
    ):
        return [f"{place} is {answer!r}, not like {example!r}"]
    return []


def _form_of(example: str) -> str | None:
    if example == AT:
        return r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z"
    prefix = re.match(r"(proj|key|conn|tpl|usr|msg)_|sk_live_", example)
    return re.escape(prefix[0]) + r"\w{26,32}" if prefix else None
