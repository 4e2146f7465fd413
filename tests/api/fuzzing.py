"""Runs of schemathesis against the API, by every kind of caller.

All its checks, on examples, boundary values, random requests and chains of requests that follow one
another's ids. The seed is fixed, so that a run repeats. MESSAGEJS_FUZZ_EXAMPLES asks for more,
MESSAGEJS_FUZZ_CALLERS for some callers only.
"""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import pytest
import pytest_asyncio
import schemathesis
from fastapi import FastAPI
from schemathesis.config import SchemathesisConfig
from schemathesis.config._checks import (
    NEGATIVE_DATA_REJECTION_EXPECTED_STATUSES,
    POSITIVE_DATA_ACCEPTANCE_EXPECTED_STATUSES,
)
from schemathesis.core.failures import Failure
from schemathesis.core.transport import Response
from schemathesis.engine import events, from_schema
from schemathesis.generation.case import Case
from schemathesis.hooks import HookContext
from schemathesis.openapi.checks import RejectedPositiveData
from schemathesis.python.asgi import shutdown_lifespans
from schemathesis.schemas import BaseSchema

from backend import ids
from backend.api.app import create_api
from backend.api.openapi.document import OPENAPI_PATH
from backend.models import ProjectMember
from backend.settings import Settings
from tests.api.accounts import Account, Api
from tests.api.apps import make_admin
from tests.api.tenant import Tenant

SHORT_RUN: Final = 1
EXAMPLES: Final = int(os.environ.get("MESSAGEJS_FUZZ_EXAMPLES", SHORT_RUN))
PATIENCE_S: Final = 120 + EXAMPLES * 60
CALLERS: Final = tuple(
    os.environ.get("MESSAGEJS_FUZZ_CALLERS", "owner viewer key nobody administrator").split()
)
# What an API key may call; and what nobody here may, so that one refusal is like another.
WITH_KEY: Final = r"^/api/v1/(messages|send|campaigns|analytics|stats)\b"
# What takes another operation's body or parameters: other names of it, an export, a preview, a text
# alone.
TWINS: Final = (
    r"/(services|logs|refresh-token|messages/(export|text|preview)|send|analytics/(usage|connectors)"
    r"|discard|admin/audit)$"
)
FOR_ADMINISTRATORS: Final = r"^/api/v1/admin\b"
# What a caller may do once only, or not without losing what the rest of the run needs.
ENDING_OPERATIONS: Final = (
    "POST /api/v1/auth/logout",
    "POST /api/v1/auth/password",
    "GET /api/v1/auth/sessions",
    "DELETE /api/v1/auth/sessions/{sessionId}",
)
# What a project has: half of all boundary values.
RESOURCES: Final = r"^/api/v1/(projects/\{projectId\}/|dead-letters)"
ALONE: Final = ("examples", "coverage", "fuzzing")
CHAINED: Final = ("stateful",)
# Of who is refused: what is refused is the same in every example.
REFUSED: Final = ALONE if EXAMPLES > SHORT_RUN else ("fuzzing",)
# Nobody listens there: providers must not be asked from a test.
NOWHERE: Final = "http://127.0.0.1:9"
# Refusals of a well-formed request, by code or words, that a JSON Schema of one request has no way
# to announce.
UNSAYABLE: Final = {
    r'"code":"INVALID_LINK"': "only a token that was mailed is good",
    r'"code":"INVALID_CONNECTOR_CREDENTIALS"|"field":"credentials\.': (
        "each connector type has its own credentials"
    ),
    r'"code":"INVALID_CONNECTOR_TYPE"': "the list of types is that of the plug-ins installed",
    r'"code":"UNDECLARED_VARIABLE"': "variables are found by reading the content",
    r'"code":"(INVALID_TO|INVALID_PHONE|INVALID_EMAIL)"': (
        "each channel has its own; some domains take no mail"
    ),
    r"is not a variable name": "letters of every script may stand in one",
    r"cannot have the scope": "the kind of the key says which",
    r'projectId\\" is missing': "a key says the project, a person has to",
    r"has passed|is out of range|must lie|in the years 2000": "formats have no bounds",
    r"more than 64 bits|nested more than|an object may have|values in one request": (
        "every JSON value has these limits"
    ),
    r"swap them|the most is": "one instant is judged by another",
    r"is not an IANA time zone": "the list of zones is the operating system's",
    r"Leave out|Name (a|the)\b|'recipient' is missing": "one field stands in for another",
    r"is not an origin|Origins\b": "a host's name has rules of its own",
    r"NUL character": "Postgres's own limit, for every text",
    r"contains the control character": "names are one line, in every script",
    r'"code":"COMMON_PASSWORD"': "the list is 8,000 long",
    r'"code":"INVALID_CSV"|"field":"mapping': "a table is read to know its columns",
}


@dataclass(frozen=True)
class Caller:
    """The headers of the run, those of calls that end a log-in, and ids of what exists, and of what
    may be deleted.
    """

    name: str
    headers: dict[str, str]
    spare_headers: dict[str, str]
    known: dict[str, str]
    doomed: dict[str, str]


@dataclass(frozen=True)
class Run:
    """Who asks, in which phases, and only on paths that match (or do not match) a pattern."""

    caller: str
    phases: tuple[str, ...] = ALONE
    only: str | None = None
    without: str | None = None

    def __str__(self) -> str:
        return f"{self.caller}-{'chained' if self.phases == CHAINED else 'alone'}"


@pytest.fixture(scope="module")
def app(settings: Settings) -> Iterator[FastAPI]:
    """An application of its own: schemathesis runs it in a loop of its own."""
    nowhere = {f"{name}_api_url": NOWHERE for name in ("whatsapp", "telegram", "twilio")}
    yield create_api(settings.model_copy(update={**nowhere, "global_rate_limit_per_minute": 0}))
    shutdown_lifespans()


@pytest_asyncio.fixture
async def callers(api: Api, ada: Account) -> dict[str, Caller]:
    del ada  # registered first, which makes an administrator
    owner, viewer, spare, administrator = [await api.register() for _ in range(4)]
    await make_admin(api, administrator)
    tenant = Tenant(api, owner)
    await tenant.fresh_project()
    await _join(api, tenant.project_id, viewer, "viewer")
    names = ("connectorId", "templateId", "keyId", "messageId", "routeId", "campaignId")
    known = {"userId": viewer.user_id, **{name: await tenant.id_of(name) for name in names}}
    known["projectId"] = tenant.project_id
    doomed = {"userId": spare.user_id, **{name: await tenant.id_of(name) for name in names}}
    doomed["projectId"] = await api.project(owner)
    return {
        "owner": Caller("owner", owner.headers, spare.headers, known, doomed),
        "viewer": Caller("viewer", viewer.headers, spare.headers, known, doomed),
        "key": Caller("key", tenant.key_headers, tenant.key_headers, known, doomed),
        "nobody": Caller("nobody", {}, {}, known, doomed),
        # Not the project's, and the user to be changed is one that nobody else is.
        "administrator": Caller(
            "administrator", administrator.headers, spare.headers, doomed, doomed
        ),
    }


async def _join(api: Api, project_id: str, account: Account, role: str) -> None:
    project, user = ids.decode(ids.PROJECT, project_id), ids.decode(ids.USER, account.user_id)
    assert project is not None
    assert user is not None
    async with api.platform.database.transaction() as session:
        session.add(ProjectMember(project_id=project, user_id=user, role=role))


def _config(caller: Caller, expected: Run) -> SchemathesisConfig:
    # A chain of requests takes its ids from the answers before, and there are fewer requests in it
    # than chains.
    pinned = "stateful" not in expected.phases
    return SchemathesisConfig.from_dict(
        {
            "seed": 1,
            "continue-on-failure": True,
            "headers": caller.headers,
            "parameters": {
                **{f"path.{name}": value for name, value in caller.known.items() if pinned},
                "query.projectId": caller.known["projectId"],
            },
            "generation": {"max-examples": EXAMPLES, "deterministic": True, "database": "none"},
            "checks": {
                # 412: a well-formed If-Match of another version; 413: the body limit is below what
                # all fields may have.
                "positive_data_acceptance": {
                    "expected-statuses": [*POSITIVE_DATA_ACCEPTANCE_EXPECTED_STATUSES, "412", "413"]
                },
                "negative_data_rejection": {
                    "expected-statuses": [*NEGATIVE_DATA_REJECTION_EXPECTED_STATUSES, "412", "413"]
                },
            },
            "phases": {
                "examples": {"enabled": "examples" in expected.phases},
                "coverage": {
                    "enabled": "coverage" in expected.phases,
                    "unexpected-methods": ["PATCH"],
                },
                "fuzzing": {"enabled": "fuzzing" in expected.phases},
                "stateful": {
                    "enabled": not pinned,
                    "max-steps": 6,
                    "generation": {"max-examples": EXAMPLES * 10},
                },
            },
            "operations": [
                *_left_out(expected),
                *_boundaries(caller),
                {"include-name": list(ENDING_OPERATIONS), "headers": caller.spare_headers},
                {
                    "include-name": [
                        "POST /api/v1/projects/{projectId}/connectors",
                        "POST /api/v1/projects/{projectId}/services",
                    ],
                    # With verify=true it asks the provider, who is down.
                    "checks": {"not_a_server_error": {"expected-statuses": ["2xx", "4xx", "502"]}},
                },
                {
                    "include-name": "POST /api/v1/messages/batch",
                    # 200: each message was refused by itself.
                    "checks": {"negative_data_rejection": {"expected-statuses": ["200", "4xx"]}},
                },
                *_deletions(caller, pinned),
            ],
        }
    )


def _left_out(expected: Run) -> list[dict[str, Any]]:
    """In the configuration: it replaces what `schema.include()` and `exclude()` would say."""
    left_out = []
    if expected.only is not None:
        left_out.append({"exclude-path-regex": expected.only, "enabled": False})
    if expected.without is not None:
        left_out.append({"include-path-regex": expected.without, "enabled": False})
    return left_out


def _boundaries(caller: Caller) -> list[dict[str, Any]]:
    """In a short run each operation's boundary values come from one caller: a key where one may,
    else the owner.
    """
    if EXAMPLES > SHORT_RUN:
        return []
    off = {"phases": {"coverage": {"enabled": False, "unexpected-methods": ["PATCH"]}}}
    without = {
        "owner": {"include-path-regex": f"{WITH_KEY}|{FOR_ADMINISTRATORS}"},
        "key": {"exclude-path-regex": WITH_KEY},
        "administrator": {"exclude-path-regex": FOR_ADMINISTRATORS},
    }
    return [
        {**without.get(caller.name, {"include-path-regex": "^/"}), **off},
        {"include-path-regex": TWINS, **off},
    ]


def _deletions(caller: Caller, pinned: bool) -> list[dict[str, Any]]:
    """Anyone who deletes a thing gets one that nobody else needs; the last id in a path is what is
    deleted.
    """
    of_project = (
        "connectors/{connectorId}",
        "templates/{templateId}",
        "routes/{routeId}",
        "keys/{keyId}",
    )
    names = (*of_project, "members/{userId}", "{projectId}")
    return [
        {
            "include-name": (
                "DELETE /api/v1/projects/"
                + ("" if name == "{projectId}" else "{projectId}/")
                + name
            ),
            "parameters": {
                f"path.{item}": caller.doomed[item] for item in re.findall(r"{(\w+)}", name)
            },
        }
        for name in names
        if pinned
    ]


def _is_wrong(context: HookContext, failure: Failure, case: Case[Any], response: Response) -> bool:
    if not isinstance(failure, RejectedPositiveData):
        return True
    return not any(re.search(what, response.text) for what in UNSAYABLE)


async def run(api: Api, app: FastAPI, caller: Caller, expected: Run) -> None:
    """Fail with every distinct failure that schemathesis finds."""
    requests, failures = await asyncio.to_thread(_run, app, caller, expected)
    assert requests > 20
    # Had the run ended its own log-in, all would have been refused.
    path = "/api/v1/messages" if caller.name == "key" else "/api/v1/auth/me"
    still = await api.client.get(path, headers=caller.headers)
    assert still.status_code == (401 if caller.name == "nobody" else 200)
    assert not failures, "\n\n".join([f"{len(failures)} failures", *failures])


def _run(app: FastAPI, caller: Caller, expected: Run) -> tuple[int, list[str]]:
    """Return how many requests were made, and every distinct failure in words."""
    schema: BaseSchema = schemathesis.openapi.from_asgi(
        OPENAPI_PATH, app, config=_config(caller, expected)
    )
    schema.hook("filter_failure")(_is_wrong)
    requests, failures = 0, dict[tuple[str, ...], str]()
    for event in from_schema(schema).execute():
        if isinstance(event, events.NonFatalError | events.FatalError):
            failures[type(event).__name__, str(event)] = repr(event)
        if isinstance(event, events.ScenarioFinished):
            requests += len(event.recorder.interactions)
            failures |= _failures(event)
    return requests, list(failures.values())


def _failures(event: events.ScenarioFinished) -> dict[tuple[str, ...], str]:
    result: dict[tuple[str, ...], str] = {}
    for case_id, checks in event.recorder.checks.items():
        for check in checks:
            if check.failure_info is None:
                continue
            failure = check.failure_info.failure
            response = event.recorder.interactions[case_id].response
            answer = (
                "" if response is None else f"{response.status_code} {response.content[:400]!r}"
            )
            result[str(failure.operation), failure.title, failure.message[:60]] = (
                f"{failure.operation}: {failure.title} ({event.phase.value})\n{failure.message}\n"
                f"{check.failure_info.code_sample}\n{answer}"
            )
    return result
