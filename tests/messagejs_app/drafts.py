"""Campaigns as a person makes them, for tests of the pages."""

from __future__ import annotations

from tests.messagejs_app.conftest import Person


async def make_draft(person: Person, *, name: str = "Mine", mode: str = "live") -> str:
    """Return the id of a campaign that is not started, by the project's first connector."""
    base = f"/api/v1/projects/{person.project_id}"
    connectors = (await person.client.get(f"{base}/connectors")).json()["connectors"]
    draft = {
        "name": name,
        "mode": mode,
        "csv": "to,name,secret\nsomeone,Eve,none\n",
        "message": "Hello {{name}}",
        "connectorId": connectors[0]["id"],
        "start": False,
    }
    created = await person.post(f"/api/v1/campaigns?projectId={person.project_id}", draft)
    return str(created["id"])
