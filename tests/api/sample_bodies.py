"""Bodies and values made from the OpenAPI document: what a reader of the docs would try first."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

Document = dict[str, Any]
# What a schema alone does not tell: fields that must name something real, or that go together.
_REAL: dict[str, dict[str, Any]] = {
    "CreateConnectorBody": {"type": "sandbox", "name": "Sandbox", "credentials": {}},
    "CreateTemplateBody": {
        "name": "welcome",
        "connectorType": "sandbox",
        "content": "Hello {{name}}",
        "variables": ["name"],
    },
}


def operations(document: Document) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Yield (METHOD, path, operation)."""
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            if method in {"get", "post", "put", "patch", "delete"}:
                yield method.upper(), path, operation


def json_schema(operation: dict[str, Any]) -> dict[str, Any] | None:
    content = operation.get("requestBody", {}).get("content", {})
    schema: dict[str, Any] | None = content.get("application/json", {}).get("schema")
    return schema


def sample_body(document: Document, operation: dict[str, Any], *, everything: bool = False) -> Any:
    """Return a body with the required fields (or with all), None where the operation takes none."""
    schema = json_schema(operation)
    return None if schema is None else sample(document, schema, everything=everything)


def sample(document: Document, schema: dict[str, Any], *, everything: bool = False) -> Any:
    """Return a value of `schema`: its example, else one of its type."""
    if "$ref" in schema:
        name = schema["$ref"].rsplit("/", 1)[-1]
        resolved = document["components"]["schemas"][name]
        if name in _REAL:
            return dict(_REAL[name])
        return sample(
            document,
            {**resolved, **{k: v for k, v in schema.items() if k == "examples"}},
            everything=everything,
        )
    for word in ("anyOf", "oneOf", "allOf"):
        if word in schema and not schema.get("examples"):
            return sample(document, schema[word][0], everything=everything)
    given = (
        *schema.get("examples", [])[:1],
        schema.get("const"),
        *schema.get("enum", [])[:1],
        schema.get("default"),
    )
    reported = next((value for value in given if value is not None), None)
    return reported if reported is not None else _of_type(document, schema, everything=everything)


def _of_type(document: Document, schema: dict[str, Any], *, everything: bool) -> Any:
    kind = schema.get("type")
    if kind == "object":
        expected = schema.get("properties", {}) if everything else schema.get("required", [])
        return {
            name: sample(document, schema["properties"][name], everything=everything)
            for name in expected
        }
    if kind == "string":
        return (
            "2030-01-01T00:00:00Z"
            if schema.get("format") == "date-time"
            else "x" * max(1, schema.get("minLength", 1))
        )
    samples: dict[str | None, Any] = {
        "integer": schema.get("minimum", 1),
        "number": 1.0,
        "boolean": True,
        "array": [],
    }
    return samples.get(kind)


def filled(path: str, **ids: str) -> str:
    """Return the path with its parameters replaced by `ids`."""
    for name, value in ids.items():
        path = path.replace("{" + name + "}", value)
    return path
