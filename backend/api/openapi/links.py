"""OpenAPI links: which calls take the id in an answer, so that tools and tests can chain them."""

from __future__ import annotations

import re
from typing import Any, Final

_METHODS: Final = frozenset({"get", "put", "post", "delete"})
_MESSAGE: Final = "/api/v1/messages/{messageId}"
# Their answers have the id of a message.
_SENDS: Final = ("/api/v1/messages", "/api/v1/messages/text", "/api/v1/send", f"{_MESSAGE}/resend")


def add_links(document: dict[str, Any]) -> dict[str, Any]:
    """Link creations to the calls on the new thing, and sends to the calls on their message."""
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


def _link(paths: dict[str, dict[str, Any]], path: str, status: str, item: str, new_id: str) -> None:
    """Link `path`'s POST to everything at and under `item`, whose last parameter is the new id."""
    response = paths[path].get("post", {}).get("responses", {}).get(status)
    if response is None:
        return
    names = re.findall(r"{(\w+)}", item)
    values = {name: f"$request.path.{name}" for name in names[:-1]} | {names[-1]: new_id}
    links = {
        operation["operationId"]: {"operationId": operation["operationId"], "parameters": values}
        for target, operations in paths.items()
        if target == item
        or (target.startswith(f"{item}/") and "{" not in target.removeprefix(item))
        for method, operation in operations.items()
        if method in _METHODS
    }
    if links:
        response["links"] = links
