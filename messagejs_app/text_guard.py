"""Keep text from being read as code: Reflex looks for `<reflex.Var>` marks in every text that it
turns into a Var.

Unguarded, a forged mark (in a name, an address, a mail server's greeting) loops forever or raises.
"""

from __future__ import annotations

import json
import re
from typing import Any, Final

from reflex_base.vars import VarData, base, sequence

# What `Var.__format__` writes in front of its JavaScript: the hash of a Var that exists in this
# process.
_MARK: Final = re.compile(r"<reflex\.Var>(-?[0-9]{1,20})</reflex\.Var>")
_create_unguarded: Final = sequence.LiteralStringVar.create


class _RealMarks:
    """Replaces Reflex's pattern: finds the marks of Vars that exist, and no others."""

    def search(self, text: str) -> re.Match[str] | None:
        known = base._global_vars  # noqa: SLF001
        return next((mark for mark in _MARK.finditer(text) if int(mark[1]) in known), None)


_REAL_MARKS: Final = _RealMarks()


def _create(
    cls: type[sequence.LiteralStringVar],
    value: str,
    _var_type: Any = None,
    _var_data: VarData | None = None,
) -> Any:
    if _REAL_MARKS.search(value) is not None:
        return _create_unguarded(value, _var_type=_var_type, _var_data=_var_data)
    return cls(
        _js_expr=json.dumps(value),
        _var_type=_var_type or type(value) or str,
        _var_data=_var_data,
        _var_value=value,
    )


def install_guard() -> None:
    """Replace what reads marks, before the first page is made, in every process that has pages."""
    for module in (base, sequence):
        if not hasattr(module, "_decode_var_pattern"):
            raise RuntimeError(
                f"{module.__name__} has no _decode_var_pattern; adapt messagejs_app.text_guard."
            )
        module._decode_var_pattern = _REAL_MARKS  # type: ignore[attr-defined]  # noqa: SLF001
    sequence.LiteralStringVar.create = classmethod(_create)  # type: ignore[method-assign, assignment]
