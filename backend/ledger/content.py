"""What is sent, and by which ways: the JSON of `messages.content` and `messages.route`.

One model for both sides, so that anyone who writes them and anyone who reads them agree.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Self
from uuid import UUID

# When a step is entered: the one before failed, or could not be used at all.
On = Literal["failure", "unavailable"]


@dataclass(frozen=True, slots=True)
class Content:
    """A message's texts. `template`: the provider's own, {name, language, parameters}."""

    text: str
    subject: str | None = None
    html: str | None = None
    template: dict[str, Any] | None = None

    def to_json(self) -> dict[str, Any]:
        content: dict[str, Any] = {"text": self.text}
        if self.subject is not None:
            content["subject"] = self.subject
        if self.html is not None:
            content["html"] = self.html
        if self.template is not None:
            content["template"] = self.template
        return content

    @classmethod
    def of(cls, stored: Mapping[str, Any]) -> Self:
        """Read what may be sent. Raises KeyError or TypeError where it isn't a content."""
        return cls(
            _text(stored["text"]),
            _text_or_none(stored.get("subject")),
            _text_or_none(stored.get("html")),
            stored.get("template"),
        )

    @classmethod
    def left_of(cls, stored: Mapping[str, Any]) -> Self:
        """Read what redaction has left, which may be nothing, for showing it."""
        return cls(
            stored.get("text") or "",
            stored.get("subject"),
            stored.get("html"),
            stored.get("template"),
        )


@dataclass(frozen=True, slots=True)
class Step:
    """One way of a route: a connector, an address in its channel's form, and what it sends
    there.
    """

    connector_id: UUID
    connector_type: str
    recipient: str
    content: Mapping[str, Any]
    on: On

    def to_json(self) -> dict[str, Any]:
        return {
            "connectorId": str(self.connector_id),
            "connectorType": self.connector_type,
            "recipient": self.recipient,
            "content": self.content,
            "on": self.on,
        }

    @classmethod
    def of(cls, stored: Mapping[str, Any]) -> Self:
        return cls(
            UUID(stored["connectorId"]),
            stored["connectorType"],
            stored["recipient"],
            stored["content"],
            stored["on"],
        )


@dataclass(frozen=True, slots=True)
class MessageRoute:
    """All ways of a message in order; `messages.step` counts from 0, the message's own first.

    `fallback_after_s`: how long a way may take to deliver before the next one is tried.
    """

    steps: tuple[Step, ...]
    fallback_after_s: float | None

    def to_json(self) -> dict[str, Any]:
        return {
            "steps": [step.to_json() for step in self.steps],
            "fallbackAfterS": self.fallback_after_s,
        }

    @classmethod
    def of(cls, stored: Mapping[str, Any]) -> Self:
        """Raises KeyError, TypeError or ValueError where it isn't a route."""
        return cls(tuple(Step.of(step) for step in stored["steps"]), stored.get("fallbackAfterS"))

    def fallback_after(self, step: int) -> float | None:
        """Return how long the way at `step` may take to deliver; None: no other would follow."""
        if self.fallback_after_s is None:
            return None
        if any(later.on == "failure" for later in self.steps[step + 1 :]):
            return float(self.fallback_after_s)
        return None


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"a text was expected, not {type(value).__name__}")
    return value


def _text_or_none(value: object) -> str | None:
    return None if value is None else _text(value)
