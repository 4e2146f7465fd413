"""Names that people give to things: one line, for they are shown in mails, logs and lists."""

from __future__ import annotations

import re
from typing import Final

from backend.errors import FieldError, ValidationFailed

# Control characters, other line ends, and what turns the direction of the text around it (as in
# "Trojan Source").
_UNSHOWABLE: Final = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")


def check_name(name: str, field: str = "name") -> None:
    """Raises ValidationFailed for a name that is not one line of visible text."""
    result = _UNSHOWABLE.search(name)
    if result is not None:
        message = (
            f"'{field}' holds the control character U+{ord(result.group()):04X}; "
            "write it as one line, without tabs or line breaks."
        )
        raise ValidationFailed(errors=[FieldError(field, "VALIDATION_ERROR", message)])
