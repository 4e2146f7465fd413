"""Every route of a project, called by every role.

A new route is covered by itself: reading is for all members, changing for developers and up, unless
EXCEPTIONS says otherwise.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from backend import ids
from backend.models import ProjectMember
from tests.api.accounts import Account, Api
from tests.api.sample_bodies import filled, operations, sample_body

PROJECT = "/api/v1/projects/{projectId}"
# o owner, a admin, d developer, v viewer
EXCEPTIONS = {
    ("PUT", PROJECT): "oa",
    ("DELETE", PROJECT): "o",
    ("PUT", PROJECT + "/members/{userId}"): "oa",
    ("DELETE", PROJECT + "/members/{userId}"): "oa",
    ("GET", PROJECT + "/invitations"): "oa",
    ("POST", PROJECT + "/invitations"): "oa",
    ("DELETE", PROJECT + "/invitations/{invitationId}"): "oa",
    ("GET", PROJECT + "/audit"): "oa",
    # Rendering a template changes nothing.
    ("POST", PROJECT + "/templates/{templateId}/preview"): "oadv",
}
ROLES = ("owner", "admin", "developer", "viewer")


@dataclass
class Team:
    project_id: str
    members: dict[str, Account]
    stranger: Account
    target: Account


@pytest.fixture(scope="module")
async def team(api: Api) -> Team:
    owner = await api.register()
    members = {"owner": owner}
    target = await api.register()
    for role in ROLES[1:]:
        members[role] = await api.register()
    for role, account in (*members.items(), ("viewer", target)):
        if account is owner:
            continue
        async with api.platform.database.transaction() as session:
            project_id, user_id = (
                ids.decode(ids.PROJECT, owner.project_id),
                ids.decode(ids.USER, account.user_id),
            )
            assert project_id is not None
            assert user_id is not None
            session.add(ProjectMember(project_id=project_id, user_id=user_id, role=role))
    return Team(owner.project_id, members, await api.register(), target)


def _path(path: str, team: Team) -> str:
    """Ids of nothing: what a role may not touch is refused before it is looked for."""
    nothing = ids.new_id()
    return filled(
        path,
        projectId=team.project_id,
        userId=team.target.user_id,
        keyId=ids.encode(ids.KEY, nothing),
        connectorId=ids.encode(ids.CONNECTOR, nothing),
        templateId=ids.encode(ids.TEMPLATE, nothing),
        routeId=ids.encode(ids.ROUTE, nothing),
        invitationId=ids.encode(ids.INVITATION, nothing),
        version="1",
    )


def _allowed(method: str, path: str) -> str:
    return EXCEPTIONS.get((method, path), "oadv" if method == "GET" else "oad")


async def test_each_role_may_do_what_the_table_says_on_every_route_of_a_project(
    api: Api, team: Team
) -> None:
    document = (await api.client.get("/api/openapi.json")).json()
    routes = [item for item in operations(document) if item[1].startswith(PROJECT)]
    known = {(method, path) for method, path, _ in routes}
    assert EXCEPTIONS.keys() <= known
    assert len(routes) >= 25
    wrong = []
    for method, path, operation in routes:
        body = sample_body(document, operation)
        for role in ("viewer", "developer", "admin"):
            # The owner's own turn would change what the others are to meet; see below.
            expected = role[0] in _allowed(method, path)
            answer = await _call(api, team.members[role], method, _path(path, team), body)
            if (answer != "ACCESS_DENIED") != expected or answer in {
                "PROJECT_NOT_FOUND",
                "VALIDATION_ERROR",
            }:
                wrong.append((role, method, path, answer))
    assert wrong == []


async def test_a_stranger_finds_no_project_on_any_route(api: Api, team: Team) -> None:
    document = (await api.client.get("/api/openapi.json")).json()
    wrong = []
    for method, path, operation in operations(document):
        if path.startswith(PROJECT):
            body = sample_body(document, operation)
            answer = await _call(api, team.stranger, method, _path(path, team), body)
            if answer != "PROJECT_NOT_FOUND":
                wrong.append((method, path, answer))
    assert wrong == []


async def test_an_owner_may_do_it_all(api: Api) -> None:
    """On a project of its own, the deletion last."""
    owner = await api.register()
    alone = Team(owner.project_id, {"owner": owner}, owner, owner)
    document = (await api.client.get("/api/openapi.json")).json()
    routes = sorted(
        (
            (method, path, operation)
            for method, path, operation in operations(document)
            if path.startswith(PROJECT)
        ),
        key=lambda route: (route[1] == PROJECT, route[0] == "DELETE"),
    )
    for method, path, operation in routes:
        answer = await _call(
            api, owner, method, _path(path, alone), sample_body(document, operation)
        )
        assert answer not in {"ACCESS_DENIED", "PROJECT_NOT_FOUND"}, (method, path, answer)


async def _call(api: Api, account: Account, method: str, path: str, body: Any) -> str:
    """Return the code of the error, "" for none."""
    response = await api.client.request(method, path, headers=account.headers, json=body)
    # A sweep over all routes: a provider that cannot be reached is a 502, and is not the matter.
    assert response.status_code < 500 or response.status_code in {502, 503}, (
        method,
        path,
        response.text,
    )
    if response.status_code < 400:
        return ""
    code: str = response.json()["code"]
    return code
