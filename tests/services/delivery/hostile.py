"""An adapter of a third party that fails where its credentials say so, with what they say."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Final

import psycopg
import pytest
import redis

from backend.providers.frame.errors import (
    OutcomeUnknown,
    Rejected,
    SendError,
    Throttled,
    Unauthorized,
    Unavailable,
)
from backend.providers.frame.provider import (
    Accepted,
    Capability,
    Credentials,
    Health,
    OutboundMessage,
    Pacing,
    Provider,
    ProviderContext,
)
from backend.providers.frame.registry import provider_types


class Panic(BaseException):
    """What libraries written in other languages raise."""


class Wordless(SendError):
    """A SendError that was never set up."""

    def __init__(self) -> None:
        Exception.__init__(self)


def _loop() -> dict[str, Any]:
    loop: dict[str, Any] = {}
    loop["loop"] = loop
    return loop


Raises = Callable[[], BaseException]
_CLASSES: Final[tuple[type[BaseException], ...]] = (
    ValueError,
    KeyError,
    TypeError,
    AssertionError,
    RecursionError,
    MemoryError,
    OSError,
    TimeoutError,
    StopIteration,
    StopAsyncIteration,
    GeneratorExit,
    SystemExit,
    KeyboardInterrupt,
    asyncio.CancelledError,
    psycopg.OperationalError,
    psycopg.DataError,
    redis.ConnectionError,
    Panic,
    Wordless,
)
_WISHES: Final[tuple[Any, ...]] = (float("nan"), float("inf"), -1e308, "soon", 10**400, True)
_WISHING: Final[dict[str, Raises]] = {
    f"{kind.__name__} {str(wish)[:10]}": partial(kind, "later", retry_after_s=wish)
    for kind in (Throttled, Unavailable)
    for wish in _WISHES
}
# What an adapter may raise, at any call.
ERRORS: Final[dict[str, Raises]] = {
    **{kind.__name__: kind for kind in _CLASSES},
    **_WISHING,
    "UnicodeDecodeError": lambda: UnicodeDecodeError("utf-8", b"\xff", 0, 1, "bad"),
    "ExceptionGroup": lambda: ExceptionGroup("several", [ValueError(), Rejected("no")]),
    "hostile reason": lambda: Rejected(
        "\x00\ud800" * 5000, code="\x00" * 1000, answer={"n": 2**80, "l": _loop()}
    ),
    "no reason": lambda: Rejected(None, code=5),  # type: ignore[arg-type]
    "unknown, with a loop": lambda: OutcomeUnknown("?", answer=_loop()),
    "refused forever": lambda: Unauthorized("\x00\ud800"),
}
# What a send may return, beside what it should.
ANSWERS: Final[dict[str, Callable[[], Any]]] = {
    "None": lambda: None,
    "number": lambda: 5,
    "class": lambda: Accepted,
    "long id": lambda: Accepted("x" * 100_000),
    "id that cannot be stored": lambda: Accepted("\x00\ud800"),
    "id that isn't text": lambda: Accepted(5),  # type: ignore[arg-type]
    "unknown status": lambda: Accepted("1", status="lost"),  # type: ignore[arg-type]
    "answer that isn't a mapping": lambda: Accepted("1", answer=5),  # type: ignore[arg-type]
    "number that JSON does not take": lambda: Accepted("1", answer={"n": 2**80}),
    "loop": lambda: Accepted("1", answer=_loop()),
    "object": lambda: Accepted("1", answer={"o": object(), 5: {1, 2}, "f": float("nan")}),  # type: ignore[dict-item]
}
CALLS: Final = ("__init__", "account_key", "is_group", "send", "aclose")


class HostileCredentials(Credentials):
    where: str
    what: str


class HostileProvider(Provider[HostileCredentials]):
    type = "hostile"
    channel = "hostile"
    title = "Hostile"
    summary = "Fails as its credentials say."
    recipient_kind = "any"
    recipient_example = "42"
    capabilities = frozenset({Capability.TEXT})
    has_circuit = False
    # So that `is_group` is asked.
    pacing = Pacing(per_group_per_second=1000)
    credentials_model = HostileCredentials

    def __init__(self, credentials: HostileCredentials, context: ProviderContext) -> None:
        super().__init__(credentials, context)
        self._fail("__init__")
        _opened[0] = self

    def _fail(self, where: str) -> None:
        if self.credentials.where == where:
            error = ERRORS[self.credentials.what]()
            raise error

    @classmethod
    def validate_recipient(cls, to: str) -> str:
        return to

    async def validate(self) -> Health:
        return Health(connected=True, message="Connected.")

    def account_key(self) -> str | None:
        self._fail("account_key")
        return None

    @classmethod
    def is_group(cls, to: str) -> bool:  # noqa: ARG003 (its name is the frame's)
        # A class method: it knows only the provider that was opened last.
        _opened[0]._fail("is_group")
        return False

    async def send(self, message: OutboundMessage) -> Accepted:
        self._fail("send")
        if self.credentials.where == "answer":
            answer: Accepted = ANSWERS[self.credentials.what]()
            return answer
        return Accepted(f"hostile-{message.id}")

    async def aclose(self) -> None:
        self._fail("aclose")


_opened: list[Any] = [None]


@contextmanager
def installed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Have it found as pip would leave it."""
    info = folder / "hostile-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: hostile\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        f"[messagejs.providers]\nhostile = {__name__}:HostileProvider\n"
    )
    monkeypatch.syspath_prepend(str(folder))
    provider_types.cache_clear()
    yield
    provider_types.cache_clear()
