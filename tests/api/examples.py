"""Request bodies made from the OpenAPI document: what a reader of the docs would try first."""

from __future__ import annotations

from typing import Any, Final

Document = dict[str, Any]

_BY_TYPE: Final[dict[str, Any]] = {
    "string": "example",
    "integer": 1,
    "number": 1,
    "boolean": False,
    "array": [],
    "object": {},
    "null": None,
}


def body_of(document: Document, operation: Document) -> Any:
    """Return an example of the operation's JSON body, None where it has none."""
    content = operation.get("requestBody", {}).get("content", {})
    schema = content.get("application/json", {}).get("schema")
    return example_of(document, schema) if schema is not None else None


def example_of(document: Document, schema: Document) -> Any:
    """Return a value of `schema`: its example, or of its fields those that are required or have one, else the first."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return example_of(document, {**document["components"]["schemas"][name], **_without_ref(schema)})
    named = (*schema.get("examples", ()), *_only(schema, "example", "const", "default"), *schema.get("enum", ()))
    if named:
        return named[0]
    for choice in ("anyOf", "oneOf", "allOf"):
        if choice in schema:
            return example_of(document, schema[choice][0])
    if "properties" in schema:
        fields = schema["properties"]
        required = schema.get("required", [])
        names = [name for name in fields if name in required or "examples" in fields[name]] or list(fields)[:1]
        return {name: example_of(document, fields[name]) for name in names}
    return _BY_TYPE[schema.get("type", "object")]


def _only(schema: Document, *names: str) -> list[Any]:
    return [schema[name] for name in names if schema.get(name) is not None]


def _without_ref(schema: Document) -> Document:
    return {key: value for key, value in schema.items() if key != "$ref"}
