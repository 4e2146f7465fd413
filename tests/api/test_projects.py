"""Projects over HTTP, and that they keep tenants apart."""

from __future__ import annotations

import asyncio
import re

import pytest

from backend import ids
from backend.models import ProjectMember
from backend.settings import Settings
from tests.api.accounts import Account, Api
from tests.api.apps import another_api

PROJECTS = "/api/v1/projects"


async def test_a_project_is_made_read_changed_and_deleted(api: Api) -> None:
    account = await api.register()
    created = await api.post(
        account, PROJECTS, {"name": "My Awesome Project", "description": "Project description"}
    )
    assert created.status_code == 201
    project = created.json()
    assert project.keys() == {
        "id",
        "userId",
        "name",
        "description",
        "createdAt",
        "updatedAt",
        "isActive",
        "contentRetention",
        "contentRetentionDays",
        "retentionDays",
        "quietHours",
    }
    assert re.fullmatch(r"proj_[0-9a-z]{26}", project["id"])
    assert (project["userId"], project["isActive"]) == (account.user_id, True)

    path = f"{PROJECTS}/{project['id']}"
    assert (await api.get(account, path)).json() == project

    changed = (await api.put(account, path, {"name": "Updated"})).json()
    assert (changed["name"], changed["description"]) == ("Updated", "Project description")
    assert changed["updatedAt"] > project["updatedAt"]
    assert (await api.put(account, path, {"description": None})).json()["description"] is None

    deleted = await api.delete(account, path)
    assert (deleted.status_code, deleted.content) == (204, b"")
    gone = await api.get(account, path)
    assert (gone.status_code, gone.json()["code"]) == (404, "PROJECT_NOT_FOUND")
    assert project["id"] not in (await api.get(account, PROJECTS)).text


async def test_a_user_makes_so_many_projects_also_at_the_same_time(
    api: Api, settings: Settings
) -> None:
    await api.register()  # the first administers the server
    account = await api.register()
    async with another_api(settings, projects_per_user=2) as bounded:
        answers = await asyncio.gather(
            *(bounded.post(account, PROJECTS, {"name": "P"}) for _ in range(3))
        )
        assert sorted(answer.status_code for answer in answers) == [201, 409, 409]
        refused = next(answer for answer in answers if answer.status_code == 409).json()
        assert refused["code"] == "TOO_MANY_PROJECTS"
        assert "2 projects" in refused["error"]
        created = next(answer for answer in answers if answer.status_code == 201).json()
        await bounded.delete(account, f"{PROJECTS}/{created['id']}")
        assert (await bounded.post(account, PROJECTS, {"name": "P"})).status_code == 201


async def test_the_list_comes_in_pages(api: Api) -> None:
    account = await api.register()
    for number in range(4):
        await api.project(account, f"P{number}")

    first = (await api.get(account, PROJECTS, limit=2)).json()
    assert [project["name"] for project in first["projects"]] == ["P3", "P2"]
    assert (
        first["pagination"].items()
        >= {
            "limit": 2,
            "offset": 0,
            "total": 5,
            "hasMore": True,
        }.items()
    )

    # A project made meanwhile moves offsets, not cursors.
    await api.project(account, "P4")
    second = (
        await api.get(account, PROJECTS, limit=2, cursor=first["pagination"]["nextCursor"])
    ).json()
    assert [project["name"] for project in second["projects"]] == ["P1", "P0"]
    last = (await api.get(account, PROJECTS, limit=2, offset=5)).json()
    assert [project["name"] for project in last["projects"]] == ["Ada's project"]
    assert last["pagination"].items() >= {"hasMore": False, "nextCursor": None}.items()


@pytest.mark.parametrize(
    ("params", "field"),
    [
        ({"limit": 0}, "limit"),
        ({"limit": 101}, "limit"),
        ({"limit": "x"}, "limit"),
        ({"offset": -1}, "offset"),
        ({"cursor": "nonsense"}, "cursor"),
    ],
)
async def test_a_wrong_page_is_named(
    api: Api, ada: Account, params: dict[str, object], field: str
) -> None:
    response = await api.get(ada, PROJECTS, **params)
    assert (response.status_code, response.json()["code"]) == (400, "VALIDATION_ERROR")
    assert response.json()["details"]["errors"][0]["field"] == field


async def test_a_project_says_how_long_content_and_messages_are_kept(api: Api) -> None:
    account = await api.register()
    path = f"{PROJECTS}/{account.project_id}"

    async def change(**body: object) -> tuple[object, ...]:
        response = await api.put(account, path, body)
        assert response.status_code == 200, response.text
        project = response.json()
        assert project == (await api.get(account, path)).json()
        return (
            project["contentRetention"],
            project["contentRetentionDays"],
            project["retentionDays"],
        )

    assert await change(name="Shop") == (None, None, None)
    assert await change(contentRetention="days", contentRetentionDays=30, retentionDays=90) == (
        "days",
        30,
        90,
    )
    assert await change(contentRetentionDays=7) == ("days", 7, 90)
    assert await change(contentRetention="nothing", retentionDays=0) == ("nothing", None, 0)
    assert await change(contentRetention=None, retentionDays=None) == (None, None, None)
    entries = (await api.get(account, f"{path}/audit")).json()["entries"]
    latest, *_ = [entry for entry in entries if entry["action"] == "project.updated"]
    assert (latest["before"]["content_retention"], latest["after"]["content_retention"]) == (
        "nothing",
        None,
    )


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"contentRetention": "days"}, "contentRetentionDays"),
        ({"contentRetention": "some"}, "contentRetention"),
        ({"contentRetention": "days", "contentRetentionDays": 0}, "contentRetentionDays"),
        ({"retentionDays": -1}, "retentionDays"),
        ({"retentionDays": 4000}, "retentionDays"),
        ({"retentionDays": True}, "retentionDays"),
    ],
)
async def test_a_retention_that_cannot_be_is_named(
    api: Api, ada: Account, body: dict[str, object], field: str
) -> None:
    response = await api.put(ada, f"{PROJECTS}/{ada.project_id}", body)
    assert response.status_code == 400
    assert response.json()["details"]["errors"][0]["field"] == field


async def test_another_tenants_project_does_not_exist(api: Api, ada: Account) -> None:
    stranger = await api.register()
    path = f"{PROJECTS}/{ada.project_id}"
    for response in (
        await api.get(stranger, path),
        await api.put(stranger, path, {"name": "Mine"}),
        await api.delete(stranger, path),
        await api.get(stranger, f"{path}/keys"),
        await api.post(stranger, f"{path}/keys", {"name": "Mine"}),
    ):
        assert (response.status_code, response.json()["code"]) == (404, "PROJECT_NOT_FOUND")
    assert ada.project_id not in (await api.get(stranger, PROJECTS)).text


@pytest.mark.parametrize(
    "project_id", ["nonsense", "proj_nonsense", "usr_01h455vb4pex5vsknk084sn02q", "%00"]
)
async def test_an_invalid_project_id_is_not_found(api: Api, ada: Account, project_id: str) -> None:
    response = await api.get(ada, f"{PROJECTS}/{project_id}")
    assert (response.status_code, response.json()["code"]) == (404, "PROJECT_NOT_FOUND")


async def test_a_member_without_the_right_is_denied(api: Api, ada: Account) -> None:
    viewer = await api.register()
    project_id, user_id = (
        ids.decode(ids.PROJECT, ada.project_id),
        ids.decode(ids.USER, viewer.user_id),
    )
    assert project_id is not None
    assert user_id is not None
    async with api.platform.database.transaction() as session:
        session.add(ProjectMember(project_id=project_id, user_id=user_id, role="viewer"))
    path = f"{PROJECTS}/{ada.project_id}"
    assert (await api.get(viewer, path)).status_code == 200
    for response in (
        await api.put(viewer, path, {"name": "Mine"}),
        await api.delete(viewer, path),
        await api.post(viewer, f"{path}/keys", {"name": "Mine"}),
    ):
        assert (response.status_code, response.json()["code"]) == (403, "ACCESS_DENIED")
