"""No code outside `backend/providers` names a provider's type: it asks the class."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from backend.providers.frame.registry import provider_types

ROOT: Final = Path(__file__).parents[2]
PACKAGES: Final = ("backend", "workers", "messagejs_app")
# A file and a literal in it that only looks like a type, or that the API's documents prescribe.
EXCEPTIONS: Final = {
    (
        "backend/api/resources/messages/requests.py",
        "whatsapp",
    ): "the API sends a text by WhatsApp if the request names no connector",
    (
        "backend/services/templates/channels.py",
        "whatsapp",
    ): "the channel, a key of a template's variants in the API",
    ("backend/services/accounts/mail.py", "smtp"): "the scheme of PLATFORM_SMTP_URL",
    ("backend/settings/accounts.py", "smtp"): "the scheme of PLATFORM_SMTP_URL",
    ("messagejs_app/components/html.py", "sandbox"): "the attribute of an iframe",
}


def test_only_a_provider_names_its_type() -> None:
    named = {
        (str(path.relative_to(ROOT)), literal)
        for package in PACKAGES
        for path in (ROOT / package).rglob("*.py")
        if ROOT / "backend" / "providers" not in path.parents
        for literal in _types_named(ast.parse(path.read_text()))
    }
    assert named == set(EXCEPTIONS)


def test_an_example_is_not_a_rule() -> None:
    assert list(_types_named(ast.parse("Query(examples=['smtp'])"))) == []
    assert list(_types_named(ast.parse("_EXAMPLE = {'connector': 'smtp'}"))) == []
    assert list(_types_named(ast.parse("{'examples': ['smtp']}"))) == []
    assert list(_types_named(ast.parse("if type_ == 'smtp': ..."))) == ["smtp"]


def _types_named(node: ast.AST) -> Iterator[str]:
    """Yield the literals that are a provider's type, examples of the API's document aside."""
    if isinstance(node, ast.Constant) and node.value in provider_types():
        yield str(node.value)
    for child in ast.iter_child_nodes(node):
        if not _is_example(child) and child not in _examples_in(node):
            yield from _types_named(child)


def _examples_in(node: ast.AST) -> list[ast.expr]:
    """Return the values of "examples" if the node is a dict."""
    if not isinstance(node, ast.Dict):
        return []
    return [
        value
        for key, value in zip(node.keys, node.values, strict=True)
        if isinstance(key, ast.Constant) and key.value == "examples"
    ]


def _is_example(node: ast.AST) -> bool:
    match node:
        case ast.keyword(arg="examples" | "openapi_examples"):
            return True
        case ast.Assign(targets=[ast.Name(id=name)]) | ast.AnnAssign(target=ast.Name(id=name)):
            return name.strip("_").startswith("EXAMPLE")
    return False
