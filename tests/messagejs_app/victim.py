"""A tenant whose every text holds a mark, so that it is found wherever it leaks to; and whose rows
can be compared.
"""

from __future__ import annotations

from dataclasses import dataclass
from uuid import uuid4

from sqlalchemy import text
from sqlmodel import SQLModel

from backend import ids
from tests.messagejs_app.conftest import Dashboard, Person


@dataclass
class Victim:
    person: Person
    mark: str
    ids: dict[str, str]

    async def rows(self, dashboard: Dashboard) -> dict[str, list[str]]:
        """Return every row of the project, and the user's own."""
        project_id = ids.decode(ids.PROJECT, self.person.project_id)
        user_id = ids.decode(ids.USER, self.ids["user"])
        result: dict[str, list[str]] = {}
        async with dashboard.platform.database.engine.connect() as connection:
            for name, table in SQLModel.metadata.tables.items():
                owner = next(
                    (item for item in ("project_id", "user_id") if item in table.columns), None
                )
                if name in {"projects", "users"}:
                    owner = "id"
                if owner is None:
                    continue
                value = project_id if owner == "project_id" or name == "projects" else user_id
                query = f"SELECT to_jsonb(t)::text FROM {name} t WHERE {owner} = :owner ORDER BY 1"
                result[name] = list(
                    (await connection.execute(text(query), {"owner": value})).scalars()
                )
        return result


async def make_victim(dashboard: Dashboard) -> Victim:
    mark = f"secret-{uuid4().hex}"
    person = await dashboard.person(f"{mark} person")
    base = f"/api/v1/projects/{person.project_id}"
    await person.client.put(
        base, json={"name": f"{mark} project"}, headers={"sec-fetch-site": "same-origin"}
    )
    connector = await person.post(
        f"{base}/connectors", {"type": "sandbox", "name": f"{mark} connector"}
    )
    template = {"name": f"{mark} template", "connectorType": "sandbox", "content": f"Hello {mark}"}
    created = {
        "connector": connector["id"],
        "template": (await person.post(f"{base}/templates", template))["id"],
        "route": (
            await person.post(f"{base}/routes", {"name": mark, "steps": [{"channel": "sandbox"}]})
        )["id"],
        "key": (await person.post(f"{base}/keys", {"name": f"{mark} key"}))["id"],
        "invitation": (
            await person.post(
                f"{base}/invitations", {"email": f"{uuid4().hex}@example.com", "role": "viewer"}
            )
        )["id"],
        "project": person.project_id,
    }
    key = await person.post(f"{base}/keys", {"name": f"{mark} sender"})
    headers = {"Authorization": f"Bearer {key['key']}"}
    message = {"to": "someone", "connectorId": connector["id"], "message": f"For {mark}"}
    sent = await person.client.post("/api/v1/messages", json=message, headers=headers)
    assert sent.status_code == 202, sent.text
    created["message"] = sent.json()["messageId"]
    draft = {
        "name": f"{mark} sale",
        "csv": f"to,name,secret\n+4915112345678,{mark},{mark}\n",
        "message": "Hello {{name}}",
        "connectorId": connector["id"],
        "start": False,
    }
    campaign = await person.client.post("/api/v1/campaigns", json=draft, headers=headers)
    assert campaign.status_code == 201, campaign.text
    created["campaign"] = campaign.json()["id"]
    me = (await person.client.get("/api/v1/auth/me")).json()
    created["user"] = me["user"]["id"]
    await dashboard.platform.key_usage.flush()
    return Victim(person, mark, created)
