"""One line of `messagejs doctor`'s report."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

FindingState = Literal["ok", "note", "wrong"]


@dataclass(frozen=True)
class Finding:
    """`wrong` makes the exit code 1."""

    topic: str
    state: FindingState
    text: str
