"""What is wrong with one field, and how much an answer tells: never much more than its request
had.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

# Of one answer.
MOST_ERRORS: Final = 50
_LONGEST_FIELD_CHARS: Final = 120
_LONGEST_REMEDY_CHARS: Final = 500
_LONGEST_MESSAGE_CHARS: Final = 1000


@dataclass(frozen=True, slots=True)
class FieldError:
    """One wrong field: its path as the client wrote it, a code, and a remedy.

    Long texts are cut.
    """

    field: str
    code: str
    message: str

    def __post_init__(self) -> None:
        object.__setattr__(self, "field", _cut(self.field, _LONGEST_FIELD_CHARS))
        object.__setattr__(self, "message", _cut(self.message, _LONGEST_REMEDY_CHARS))

    def as_dict(self) -> dict[str, str]:
        return {"field": self.field, "code": self.code, "message": self.message}


def cut_message(message: str) -> str:
    """Return the message of an error as long as it may be."""
    return _cut(message, _LONGEST_MESSAGE_CHARS)


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 3] + "..."
