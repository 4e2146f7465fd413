"""Campaigns over HTTP: upload, dry run, rows with what is wrong, who may do what."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from backend import ids
from backend.models import Campaign, ProjectMember, Suppression
from backend.services.campaigns.feeder import CampaignFeeder
from tests.api.accounts import Account, Api
from tests.api.tenant import Tenant

PATH = "/api/v1/campaigns"
TABLE = "recipient,first name\nada,Ada\ngrace,Grace\n"
FIELDS: dict[str, Any] = {
    "name": "Sale",
    "connector": "sandbox",
    "message": "Hello {{name}}",
    "mapping": {"recipient": "to", "first name": "name"},
}


@pytest.fixture
async def tenant(api: Api, ada: Account) -> Tenant:
    tenant = Tenant(api, ada)
    await tenant.fresh_project()
    return tenant


async def _post(tenant: Tenant, table: str = TABLE, **fields: Any) -> httpx.Response:
    body = {**FIELDS, "csv": table, **fields}
    return await tenant.api.client.post(PATH, json=body, headers=tenant.key_headers)


async def _upload(tenant: Tenant, content: bytes, **fields: Any) -> httpx.Response:
    return await tenant.api.client.post(
        PATH,
        files={"file": ("list.csv", content, "text/csv")},
        data={"campaign": json.dumps({**FIELDS, **fields})},
        headers=tenant.key_headers,
    )


async def _feed(tenant: Tenant) -> None:
    """As a worker does, until nothing waits; what other tests left waits too."""
    feeder = CampaignFeeder(tenant.api.platform.campaigns, ahead=5000)
    while await feeder.feed():
        pass


async def _get(tenant: Tenant, path: str) -> Any:
    answer = await tenant.api.client.get(f"{PATH}/{path}", headers=tenant.key_headers)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def test_a_file_becomes_a_campaign_whose_rows_become_messages(tenant: Tenant) -> None:
    created = await _upload(
        tenant, b'\xef\xbb\xbfrecipient;first name\r\nada;Ada\r\n\r\ngrace;"Grace;\nH."\r\n'
    )
    assert created.status_code == 201, created.text
    campaign = created.json()
    assert (campaign["state"], campaign["columns"]) == ("running", ["recipient", "first name"])
    assert campaign["rows"] == {"total": 2, "pending": 2, "accepted": 0, "failed": 0}
    await _feed(tenant)
    shown = await _get(tenant, campaign["id"])
    assert shown["rows"] == {"total": 2, "pending": 0, "accepted": 2, "failed": 0}
    assert shown["messages"] == {"queued": 2}
    rows = (await _get(tenant, f"{campaign['id']}/rows"))["rows"]
    assert [(row["row"], row["state"], row["values"]) for row in rows] == [
        (2, "accepted", None),
        (4, "accepted", None),
    ]
    messages = await tenant.api.client.get(
        "/api/v1/messages", params={"campaignId": campaign["id"]}, headers=tenant.key_headers
    )
    result = {message["id"]: message for message in messages.json()["messages"]}
    assert result[rows[1]["messageId"]]["text"] == "Hello Grace;\nH."
    assert {item["priority"] for item in result.values()} == {"bulk"}


async def test_a_dry_run_says_what_a_real_one_would_do_and_does_nothing(tenant: Tenant) -> None:
    project_id = ids.decode(ids.PROJECT, tenant.project_id)
    assert project_id is not None
    async with tenant.api.platform.database.transaction() as session:
        session.add(Suppression(project_id=project_id, channel="sandbox", recipient="gone"))
    before = await tenant.rows()
    table = (
        "recipient,first name\nada,Ada\n,Nobody\nbob,\nada,Ada"
        " again\ngone,Gone\ncy,Cy,more\neve,Eve\n"
    )
    answer = await _post(tenant, table, dryRun=True)
    assert answer.status_code == 200, answer.text
    result = answer.json()
    assert (result["total"], result["valid"], result["invalid"]) == (7, 2, 5)
    assert [(error["row"], error["field"], error["code"]) for error in result["errors"]] == [
        (3, "to", "MISSING_REQUIRED_FIELD"),
        (4, "variables.name", "MISSING_REQUIRED_FIELD"),
        (5, "to", "DUPLICATE_RECIPIENT"),
        (6, "to", "RECIPIENT_SUPPRESSED"),
        (7, "", "INVALID_ROW"),
    ]
    assert result["codes"]["MISSING_REQUIRED_FIELD"] == 2
    assert result["previews"] == [
        {"row": 2, "to": "ada", "content": {"text": "Hello Ada"}},
        {"row": 8, "to": "eve", "content": {"text": "Hello Eve"}},
    ]
    assert await tenant.rows() == before
    # And the real one does just that.
    created = (await _post(tenant, table)).json()
    await _feed(tenant)
    failed = (await _get(tenant, f"{created['id']}/rows?state=failed"))["rows"]
    reported = [(item["row"], item["error"]["field"], item["error"]["code"]) for item in failed]
    assert reported == [(error["row"], error["field"], error["code"]) for error in result["errors"]]
    download = await tenant.api.client.get(
        f"{PATH}/{created['id']}/errors", headers=tenant.key_headers
    )
    lines = download.text.splitlines()
    assert lines[0] == "recipient,first name,row,field,code,error"
    assert lines[2].startswith("bob,,4,variables.name,MISSING_REQUIRED_FIELD,")
    assert len(lines) == 6


@pytest.mark.parametrize(
    ("table", "words"),
    [
        (b"", "empty"),
        (b"recipient,first name\n", "no rows"),
        ("recipient,first name\nada,Zoë\n".encode("latin-1"), "UTF-8"),
        (b"recipient,recipient\nada,x\n", "called 'recipient'"),
        (b"recipient,,first name\nada,x,y\n", "Column 2 needs a name"),
        (b'recipient,first name\nada,"Ada\nbob,Bob\n', "line 2"),
    ],
)
async def test_a_file_that_isnt_a_table_is_refused_with_the_remedy(
    tenant: Tenant, table: bytes, words: str
) -> None:
    answer = await _upload(tenant, table)
    assert (answer.status_code, answer.json()["code"]) == (400, "INVALID_CSV"), answer.text
    assert words in answer.json()["error"]
    assert (await tenant.api.client.get(PATH, headers=tenant.key_headers)).json()["campaigns"] == []


@pytest.mark.parametrize(
    ("change", "code", "field"),
    [
        ({"mapping": {"first name": "name"}}, "MISSING_REQUIRED_FIELD", "mapping"),
        ({"mapping": {"recipient": "to"}}, "MISSING_REQUIRED_FIELD", "mapping"),
        (
            {"mapping": {"recipient": "to", "first name": "name", "city": "city"}},
            "VALIDATION_ERROR",
            "mapping.city",
        ),
        ({"message": None}, "MISSING_REQUIRED_FIELD", "templateId"),
        ({"sendAt": "2100-01-01T00:00:00Z"}, "VALIDATION_ERROR", "sendAt"),
        ({"expiresAt": "2020-01-01T00:00:00Z"}, "VALIDATION_ERROR", "expiresAt"),
    ],
    ids=str,
)
async def test_a_campaign_that_does_not_fit_its_file_is_refused_by_its_field(
    tenant: Tenant, change: dict[str, Any], code: str, field: str
) -> None:
    answer = await _post(tenant, **change)
    assert (answer.status_code, answer.json()["code"]) == (400, code), answer.text
    assert {error["field"] for error in answer.json()["details"]["errors"]} == {field}


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"connector": "smtp"}, "CONNECTOR_NOT_FOUND"),
        (
            {"templateId": "tpl_01h455vb4pex5vsknk084sn02q", "message": None},
            "TEMPLATE_NOT_FOUND",
        ),
    ],
    ids=["connector", "template"],
)
async def test_a_campaign_by_what_does_not_exist_is_not_found(
    tenant: Tenant, change: dict[str, Any], code: str
) -> None:
    answer = await _post(tenant, **change)
    assert (answer.status_code, answer.json()["code"]) == (404, code), answer.text


async def test_without_a_mapping_the_columns_names_are_guessed(tenant: Tenant) -> None:
    guessed = await _post(tenant, "Phone,Name\nada,Ada\n", mapping=None, dryRun=True)
    assert guessed.json()["mapping"] == {"Phone": "to", "Name": "name"}


async def test_a_repeated_upload_under_one_key_makes_one_campaign(tenant: Tenant) -> None:
    headers = {**tenant.key_headers, "Idempotency-Key": "spring"}
    body = {**FIELDS, "csv": TABLE}
    first, second = [
        await tenant.api.client.post(PATH, json=body, headers=headers) for _ in range(2)
    ]
    assert first.json()["id"] == second.json()["id"]
    assert second.headers["idempotency-replayed"] == "true"
    other = await tenant.api.client.post(PATH, json={**body, "name": "Other"}, headers=headers)
    assert (other.status_code, other.json()["code"]) == (422, "IDEMPOTENCY_CONFLICT")


async def test_a_key_that_only_sends_gets_the_answer_to_its_repeat(tenant: Tenant) -> None:
    key = await tenant.api.key(tenant.account, tenant.project_id, scopes=["messages:send"])
    headers = {"Authorization": f"Bearer {key['key']}", "Idempotency-Key": "spring"}
    body = {**FIELDS, "csv": TABLE}
    first, second = [
        await tenant.api.client.post(PATH, json=body, headers=headers) for _ in range(2)
    ]
    assert (first.status_code, second.status_code) == (201, 201), second.text
    assert first.json()["id"] == second.json()["id"]


async def test_a_draft_starts_when_it_is_resumed(tenant: Tenant) -> None:
    draft = (await _post(tenant, start=False)).json()
    await _feed(tenant)
    assert (await _get(tenant, draft["id"]))["rows"]["accepted"] == 0
    resumed = await tenant.api.client.post(
        f"{PATH}/{draft['id']}/resume", headers=tenant.key_headers
    )
    assert resumed.json()["state"] == "running"
    await _feed(tenant)
    assert (await _get(tenant, draft["id"]))["rows"]["accepted"] == 2


async def test_what_a_state_does_not_allow_is_a_conflict(tenant: Tenant) -> None:
    created = (await _post(tenant)).json()
    for action, status in [
        ("resume", 409),
        ("pause", 200),
        ("pause", 409),
        ("cancel", 200),
        ("cancel", 409),
    ]:
        answer = await tenant.api.client.post(
            f"{PATH}/{created['id']}/{action}", headers=tenant.key_headers
        )
        assert answer.status_code == status, (action, answer.text)
    audit = await tenant.api.get(
        tenant.account, f"/api/v1/projects/{tenant.project_id}/audit", action="campaign"
    )
    assert [entry["action"] for entry in audit.json()["entries"]] == [
        "campaign.canceled",
        "campaign.paused",
        "campaign.created",
    ]


async def test_roles_and_keys_may_do_what_they_may_do_with_messages(tenant: Tenant) -> None:
    api = tenant.api
    created = (await _post(tenant)).json()
    viewer = await api.register()
    project_id, user_id = (
        ids.decode(ids.PROJECT, tenant.project_id),
        ids.decode(ids.USER, viewer.user_id),
    )
    assert project_id is not None
    assert user_id is not None
    async with api.platform.database.transaction() as session:
        session.add(ProjectMember(project_id=project_id, user_id=user_id, role="viewer"))
    body = {**FIELDS, "csv": TABLE}
    query = {"projectId": tenant.project_id}
    assert (await api.get(viewer, PATH, **query)).json()["pagination"]["total"] == 1
    assert (await api.get(viewer, f"{PATH}/{created['id']}/rows")).status_code == 200
    assert (
        await api.client.post(PATH, params=query, json=body, headers=viewer.headers)
    ).status_code == 403
    for action in ("pause", "resume", "cancel"):
        assert (await api.post(viewer, f"{PATH}/{created['id']}/{action}")).status_code == 403
    by_member = await api.client.post(
        PATH, params=query, json={**body, "mode": "test"}, headers=tenant.account.headers
    )
    assert (by_member.status_code, by_member.json()["mode"]) == (201, "test")
    page_key = (await api.key(tenant.account, tenant.project_id, kind="publishable", mode="test"))[
        "key"
    ]
    reading = (await api.key(tenant.account, tenant.project_id, scopes=["messages:read"]))["key"]
    test_key = (await api.key(tenant.account, tenant.project_id, mode="test"))["key"]
    for key in (page_key, reading):
        answer = await api.client.post(PATH, json=body, headers={"Authorization": f"Bearer {key}"})
        assert answer.status_code == 403, answer.text
    headers = {"Authorization": f"Bearer {test_key}"}
    seen = (await api.client.get(PATH, headers=headers)).json()["campaigns"]
    assert [item["mode"] for item in seen] == ["test"]
    assert (await api.client.get(f"{PATH}/{created['id']}", headers=headers)).status_code == 404
    assert (
        await api.client.post(f"{PATH}/{created['id']}/cancel", headers=headers)
    ).status_code == 404


async def test_an_upload_may_be_larger_than_other_bodies_but_not_without_end(
    tenant: Tenant,
) -> None:
    limit = tenant.api.platform.settings.body_limit_bytes
    table = "recipient,first name\n" + "".join(f"user-{n},{'x' * 90}\n" for n in range(limit // 90))
    assert len(table) > limit
    as_file = await _upload(tenant, table.encode(), start=False)
    assert as_file.status_code == 201, as_file.text
    as_json = await _post(tenant, table)
    assert as_json.status_code == 413
    headers = {**tenant.key_headers, "Content-Type": "multipart/form-data; boundary=x"}
    headers["Content-Length"] = str(tenant.api.platform.settings.campaign_body_limit_bytes + 1)
    assert (await tenant.api.client.post(PATH, content=b"", headers=headers)).status_code == 413
    async with tenant.api.platform.database.transaction() as session:
        stored = await session.get(Campaign, ids.decode(ids.CAMPAIGN, as_file.json()["id"]))
        assert stored is not None
        assert stored.total_rows == limit // 90


async def test_rows_are_paged_in_the_files_order(tenant: Tenant) -> None:
    created = (
        await _post(
            tenant,
            "to\n" + "".join(f"user-{n}\n" for n in range(5)),
            mapping={"to": "to"},
            message="x",
        )
    ).json()
    lines: list[int] = []
    cursor: str | None = ""
    for _ in range(3):
        page = await _get(
            tenant, f"{created['id']}/rows?limit=2" + (f"&cursor={cursor}" if cursor else "")
        )
        lines += [row["row"] for row in page["rows"]]
        cursor = page["pagination"]["nextCursor"]
    assert (lines, cursor, page["pagination"]["total"]) == ([2, 3, 4, 5, 6], None, 5)


@pytest.mark.parametrize(
    "instant", ["0001-12-31 10:00:00+00 BC", "10000-01-01 00:00:00+00", "infinity"]
)
async def test_campaigns_with_instants_beyond_pythons_are_listed(
    tenant: Tenant, instant: str
) -> None:
    campaign_id = (await _post(tenant)).json()["id"]
    async with tenant.api.platform.database.raw.connection() as connection:
        await connection.execute(
            "UPDATE campaigns SET send_at = %s, expires_at = %s WHERE id = %s",
            (instant, instant, ids.decode(ids.CAMPAIGN, campaign_id)),
        )
    assert (await _get(tenant, campaign_id))["id"] == campaign_id
    answer = await tenant.api.client.get(PATH, headers=tenant.key_headers)
    assert answer.status_code == 200
    assert campaign_id in answer.text


async def test_a_campaign_text_over_a_limit_is_refused_with_its_line(tenant: Tenant) -> None:
    bomb = "Hello {{name}}\n{% for i in (1..1600000000) %}x{% endfor %}"
    texts: list[dict[str, Any]] = [
        {"message": bomb},
        {"message": bomb, "dryRun": True},
        {"html": bomb},
    ]
    for fields in texts:
        answer = await _post(tenant, **fields)
        assert answer.status_code == 400, answer.text
        error = answer.json()["details"]["errors"][0]
        assert error["field"] == ("html" if "html" in fields else "message")
        assert "line 2: a range's ends" in error["message"]
    assert (await tenant.api.client.get(PATH, headers=tenant.key_headers)).json()["campaigns"] == []


async def test_rows_that_run_out_of_fuel_fail_and_then_the_campaign_waits(tenant: Tenant) -> None:
    text = "{{name}}{% for i in (1..2000) %}" + "{{ i }}" * 40 + "{% endfor %}"
    table = "recipient,first name\n" + "".join(f"user-{number},Ada\n" for number in range(10))
    created = (await _post(tenant, table, message=text)).json()
    await _feed(tenant)
    shown = await _get(tenant, created["id"])
    assert shown["rows"] == {"total": 10, "pending": 7, "accepted": 0, "failed": 3}
    assert "more work than a message may" in shown["reason"]
    assert shown["state"] == "running"
