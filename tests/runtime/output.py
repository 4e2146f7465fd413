"""What children print, recorded instead of shown."""

from __future__ import annotations


class Lines:
    """Records lines and remarks."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.remarks: list[str] = []

    def line(self, name: str, text: str) -> None:
        self.lines.append(text)

    def remark(self, event: str, **fields: object) -> None:
        self.remarks.append(event)
