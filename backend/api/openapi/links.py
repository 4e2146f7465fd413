"""OpenAPI links: what an answer's id is good for, so that tools and tests can follow one request by
another.
"""

from __future__ import annotations

import re
from typing import Any, Final

_METHODS: Final = frozenset({"get", "put", "post", "delete"})
_MESSAGE: Final = "/api/v1/messages/{messageId}"
# What is accepted under a message's id.
_SENDS: Final = ("/api/v1/messages", "/api/v1/messages/text", "/api/v1/send", f"{_MESSAGE}/resend")


def add_links(document: dict[str, Any]) -> dict[str, Any]:
    """Link each creation to the calls on what it made, and each send to the calls on its
    message.
    """
    paths: dict[str, dict[str, Any]] = document["paths"]
    for path in list(paths):
        if path in _SENDS:
            _link(paths, path, "202", _MESSAGE, "$response.body#/messageId")
        elif (item := _item_path(paths, path)) is not None:
            _link(paths, path, "201", item, "$response.body#/id")
    return document


def _item_path(paths: dict[str, dict[str, Any]], collection: str) -> str | None:
    return next(
        (path for path in paths if re.fullmatch(re.escape(collection) + r"/{\w+Id}", path)), None
    )


def _link(
    paths: dict[str, dict[str, Any]], path: str, status: str, item: str, made_id: str
) -> None:
    """Link `path`'s POST to everything at and under `item`, whose last parameter is the new id."""
    response = paths[path].get("post", {}).get("responses", {}).get(status)
    if response is None:
        return
    names = re.findall(r"{(\w+)}", item)
    given = {name: f"$request.path.{name}" for name in names[:-1]} | {names[-1]: made_id}
    links = {
        operation["operationId"]: {"operationId": operation["operationId"], "parameters": given}
        for target, operations in paths.items()
        if target == item
        or (target.startswith(f"{item}/") and "{" not in target.removeprefix(item))
        for method, operation in operations.items()
        if method in _METHODS
    }
    if links:
        response["links"] = links
