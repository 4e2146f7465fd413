"""Adding a provider is one file: nothing else names a type."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from backend.providers.frame.registry import provider_types

ROOT: Final = Path(__file__).parents[2]
# Where a type is named, and why.
ALLOWED: Final = {
    # The built-in type, and what our own mail goes through.
    "backend/provider_types.py": {"sandbox", "smtp"},
    # URL schemes of PLATFORM_SMTP_URL.
    "backend/services/accounts/mail.py": {"smtp"},
    "backend/settings.py": {"smtp"},
    # A variant of templates, and the channel that reference 003 sends by when none is named.
    "backend/services/templates/channels.py": {"whatsapp"},
    "backend/services/templates/content.py": {"whatsapp"},
    "backend/api/resources/messages/requests.py": {"whatsapp"},
    # Examples of bodies.
    "backend/api/resources/campaigns/bodies.py": {"sandbox"},
    "backend/api/resources/messages/send_bodies.py": {"whatsapp"},
    # An attribute of iframes.
    "messagejs_app/components/html.py": {"sandbox"},
}


def _named(path: Path) -> Iterator[str]:
    """Yield the types that a file names in strings; examples in the API's document do no harm."""
    tree = ast.parse(path.read_text())
    examples = {
        id(node)
        for call in ast.walk(tree)
        if isinstance(call, ast.Call | ast.Dict)
        for keyword in getattr(call, "keywords", [])
        if keyword.arg == "examples"
        for node in ast.walk(keyword.value)
    }
    for node in ast.walk(tree):
        is_type = isinstance(node, ast.Constant) and node.value in provider_types()
        if is_type and id(node) not in examples:
            yield ast.literal_eval(node)


def test_nothing_but_a_providers_own_file_names_its_type() -> None:
    named = {}
    for package in ("backend", "workers", "messagejs_app"):
        for path in sorted((ROOT / package).rglob("*.py")):
            name = str(path.relative_to(ROOT))
            if name.startswith("backend/providers/") or "versions" in path.parts:
                continue
            if types := set(_named(path)) - ALLOWED.get(name, set()):
                named[name] = types
    assert named == {}
