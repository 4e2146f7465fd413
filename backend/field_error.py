"""What is wrong with one field, cut so that an answer is never much longer than its request."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

# In one answer.
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
    """Return the message of an error, cut to what it may be."""
    return _cut(message, _LONGEST_MESSAGE_CHARS)


def _cut(text: str, longest: int) -> str:
    return text if len(text) <= longest else text[: longest - 3] + "..."
