"""Connectors as the API takes and keeps them."""

from __future__ import annotations

from typing import Any

from backend import ids
from backend.models import Connector
from backend.models.base import utc_now
from tests.api.accounts import Account, Api

WHATSAPP: dict[str, Any] = {
    "type": "whatsapp",
    "name": "Business WhatsApp",
    "credentials": {"phoneNumberId": "123456789", "accessToken": "EAAG-secret-token"},
}
TELEGRAM: dict[str, Any] = {
    "type": "telegram",
    "name": "My Bot",
    "credentials": {"botToken": "123456:ABC-DEF"},
}
TWILIO: dict[str, Any] = {
    "type": "twilio",
    "name": "SMS Provider",
    "credentials": {"accountSid": "ACxxx", "authToken": "xxx-secret", "fromNumber": "+1234567890"},
}


def path_of(account: Account, connector_id: str = "", *, project_id: str | None = None) -> str:
    base = f"/api/v1/projects/{project_id or account.project_id}/connectors"
    return f"{base}/{connector_id}" if connector_id else base


async def created(api: Api, account: Account, body: dict[str, Any]) -> dict[str, Any]:
    response = await api.post(account, path_of(account), body)
    assert response.status_code == 201, response.text
    answer: dict[str, Any] = response.json()
    return answer


def smtp(port: int, **credentials: Any) -> dict[str, Any]:
    fields = {
        "host": "127.0.0.1",
        "port": port,
        "security": "none",
        "fromAddress": "a@example.com",
        **credentials,
    }
    return {"type": "smtp", "name": "Mail", "credentials": fields}


async def stored(api: Api, connector_id: str) -> Connector:
    row_id = ids.decode(ids.CONNECTOR, connector_id)
    assert row_id is not None
    async with api.platform.database.session() as session:
        return (await Connector.find_many(session, {row_id}))[0]


async def break_connector(api: Api, connector_id: str) -> None:
    row_id = ids.decode(ids.CONNECTOR, connector_id)
    async with api.platform.database.transaction() as session:
        connector = await session.get_one(Connector, row_id)
        connector.broken_at, connector.broken_reason = utc_now(), "401 Unauthorized"
