"""Every operation of the OpenAPI document as a door: its body and its parameters, one of them
spoiled at a time.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from httpx import Response

from backend.api.app import create_api
from backend.settings import Settings
from tests.api.accounts import Account, Api
from tests.api.sample_bodies import filled, operations, sample, sample_body
from tests.api.tenant import Tenant

DOCUMENT: Final = create_api(Settings()).openapi()
OPERATIONS: Final = {
    f"{method} {path}": (method, path, item) for method, path, item in operations(DOCUMENT)
}
# They end the log-in of the run.
ENDING: Final = ("POST /api/v1/auth/logout", "DELETE /api/v1/auth/sessions/{sessionId}")
NAMES: Final = [name for name in OPERATIONS if name not in ENDING]
BATCH: Final = "POST /api/v1/messages/batch"
# Its bodies are the providers'.
CALLBACK: Final = "POST /api/v1/callbacks/{connectorId}"
_WITH_KEY: Final = ("/api/v1/messages", "/api/v1/send", "/api/v1/campaigns")
_MARK: Final = "@spoiled@"
Path = tuple[str | int, ...]


@dataclass
class Door:
    """One operation, asked by who may; `headers` are those of a key where a key may."""

    api: Api
    name: str
    method: str
    url: str
    headers: dict[str, str]
    query: dict[str, str]
    ids: dict[str, str]
    operation: dict[str, Any] = field(repr=False)

    @classmethod
    async def open(cls, api: Api, admin: Account, name: str) -> Door:
        method, path, operation = OPERATIONS[name]
        tenant = Tenant(api, admin)
        with_key = path.startswith(_WITH_KEY) and method == "POST"
        if with_key:
            await tenant.fresh_project()
        parameters = [item for item in operation.get("parameters", []) if item["in"] == "path"]
        ids = {
            parameter["name"]: str(sample(DOCUMENT, parameter["schema"]))
            for parameter in parameters
        } | {"projectId": tenant.project_id}
        return cls(
            api=api,
            name=name,
            method=method,
            url=path,
            headers=tenant.key_headers if with_key else admin.headers,
            query={} if with_key else {"projectId": admin.project_id},
            ids=ids,
            operation=operation,
        )

    @staticmethod
    def operation_of(name: str) -> dict[str, Any]:
        return OPERATIONS[name][2]

    async def ask(
        self,
        *,
        content: bytes | None = None,
        query: dict[str, str] | None = None,
        path: dict[str, str] | None = None,
    ) -> Response:
        headers = (
            self.headers
            if content is None
            else {**self.headers, "Content-Type": "application/json"}
        )
        return await self.api.client.request(
            self.method,
            filled(self.url, **{**self.ids, **(path or {})}),
            headers=headers,
            params={**self.query, **(query or {})},
            content=content,
        )

    def parameters(self, place: str) -> list[str]:
        """Return the names of the parameters in `query` or `path`."""
        return [
            item["name"] for item in self.operation.get("parameters", []) if item["in"] == place
        ]

    def body(self) -> Any:
        body = sample_body(DOCUMENT, self.operation, everything=True)
        if self.name == BATCH:
            items = self.operation["requestBody"]["content"]["application/json"]["schema"][
                "properties"
            ]["messages"]
            body["messages"] = [sample(DOCUMENT, items["items"], everything=True)]
        return body

    def spoiled(self, literal: str) -> Iterator[tuple[Path, bytes]]:
        """Yield bodies with the JSON `literal` in the place of one value each, or beside those of
        an object.
        """
        body = self.body()
        for path, marked in _marked(body) if body is not None else ():
            yield path, json.dumps(marked).replace(f'"{_MARK}"', literal).encode()


def _marked(value: Any) -> Iterator[tuple[Path, Any]]:
    if isinstance(value, dict):
        for name, item in value.items():
            yield from (((name, *path), {**value, name: marked}) for path, marked in _marked(item))
        yield ("own", "deep", 0), {**value, "own": {"deep": [_MARK]}}
    elif isinstance(value, list):
        for i, item in enumerate(value):
            yield from (
                ((i, *path), [*value[:i], marked, *value[i + 1 :]])
                for path, marked in _marked(item)
            )
    if not isinstance(value, dict):
        yield (), _MARK


def written(path: Sequence[str | int]) -> str:
    """Return the path as errors write it: a.b[2]."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text or "body"


def errors_in(response: Response) -> list[dict[str, str]]:
    """Return the wrong fields that an answer names, those of a batch's messages under their
    places.
    """
    answer = response.json()
    match: list[dict[str, str]] = list(answer.get("details", {}).get("errors", []))
    for result in answer.get("results", []):
        ours = result.get("details", {}).get("errors", [])
        match += [
            {**item, "field": f"messages[{result['index']}].{item['field']}"} for item in ours
        ]
    return match
