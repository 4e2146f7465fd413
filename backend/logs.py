"""Logs are events with fields: key=value lines on a terminal, one JSON object a line elsewhere."""

from __future__ import annotations

import logging
import os
import re
import sys
from io import StringIO
from typing import Any, Final, Literal, TextIO

import structlog
from structlog.typing import EventDict, ExcInfo, Processor, WrappedLogger

from backend import __version__
from backend.settings import Settings

Level = Literal["debug", "info", "warning", "error"]
Format = Literal["auto", "console", "json"]

# What a library says at "info" about itself says nothing about messages.
_QUIET: Final = (
    "_granian", "aiohttp.access", "alembic", "aiosmtpd", "asyncio", "engineio", "httpcore", "httpx",
    "mail.log",
    "reflex", "reflex_base", "rq", "rq.worker", "socketio", "sqlalchemy", "urllib3",
)  # fmt: skip


_REDACTED: Final = "[redacted]"
_SECRETS: Final = (
    # An event of a dashboard's page as Reflex writes it: forms, and the headers of its websocket.
    re.compile(r"""(?P<kept>\\?["']?\b(?:payload|router_data)\\?["']?\s*[:=]\s*)[\[{].*"""),
    re.compile(
        r"""(?ix)(?P<kept>[\w.-]*(?:password|passwd|secret|cookie|authorization|api[_-]?key)\\?["']?\s*[:=]\s*)
        (?:\\?"[^"]*"|\\?'[^']*'|(?:(?:basic|bearer)\s+)?[^\s,;&)}\]]+)"""
    ),
    re.compile(r"(?P<kept>\b(?:(?:sk|pk)_(?:live|test)|cs|rf|pr|ec|iv)_)[A-Za-z0-9_-]{16,}"),
    re.compile(r"(?P<kept>\beyJ)[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+"),
    re.compile(r"(?P<kept>\bmjs_session=)[^\s;\"']+"),
)


def configure(level: Level = "info", fmt: Format = "auto") -> None:
    """Route structlog and the standard library's loggers to stdout in one format."""
    console = fmt == "console" or (fmt == "auto" and sys.stdout.isatty())
    number = getattr(logging, level.upper())
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        _process_name,
        structlog.processors.TimeStamper(fmt="%H:%M:%S.%f" if console else "iso", utc=not console),
        _report,
    ]
    render = _console_processors() if console else _json_processors()
    structlog.configure(
        processors=[*shared, structlog.processors.StackInfoRenderer(), *render],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.WriteLoggerFactory(),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[
                *shared,
                structlog.stdlib.add_logger_name,
                structlog.stdlib.ExtraAdder(),
            ],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                *_redacting(render),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(number)
    logging.captureWarnings(capture=True)
    for name in _QUIET:
        logging.getLogger(name).setLevel(
            number if level == "debug" else max(number, logging.WARNING)
        )
    # Library developers' warnings to each other; an operator can do nothing about them.
    logging.getLogger("py.warnings").setLevel(number if level == "debug" else logging.ERROR)


def configure_from(settings: Settings) -> None:
    """Configure logs, and the reporting of unexpected errors where SENTRY_DSN is set."""
    configure(settings.log_level, settings.log_format)
    if settings.sentry_dsn is not None:
        import sentry_sdk  # noqa: PLC0415 (half a second that most installs need not pay)

        sentry_sdk.init(
            dsn=settings.sentry_dsn.get_secret_value(),
            release=f"messagejs@{__version__}",
            # No integrations of Sentry's choosing: those of HTTP clients note URLs, and Telegram's
            # hold the token.
            default_integrations=False,
            auto_enabling_integrations=False,
            send_default_pii=False,
            max_request_body_size="never",  # bodies hold recipients and message texts
            include_local_variables=False,
            before_send=_without_secrets,
        )


def redact(text: str) -> str:
    """Take out what a library may have put into its own words: tokens, cookies, passwords, a page's
    event.
    """
    for pattern in _SECRETS:
        text = pattern.sub(rf"\g<kept>{_REDACTED}", text)
    return text


def _redacting(render: list[Processor]) -> list[Processor]:
    """Redact what becomes JSON before it does; a console's line has its traceback only once it is
    made.
    """
    *before, last = render
    return [*before, _redact_any, last] if before else [last, _redact_line]


def _redact_any(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    return {name: _redacted(value) for name, value in event.items()}


def _redact_line(_logger: WrappedLogger, _method: str, line: Any) -> Any:
    return redact(line)


def _without_secrets(event: Any, _hint: dict[str, Any]) -> Any:
    """What Sentry is told: no request, and no secret in any text."""
    event.pop("request", None)
    return _redacted(event)


def _redacted(value: Any) -> Any:
    match value:
        case str():
            return redact(value)
        case dict():
            return {name: _redacted(item) for name, item in value.items()}
        case list() | tuple():
            return [_redacted(item) for item in value]
        case _:
            return value


def _report(_logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
    """Send what is logged as an error to Sentry, where it was set up."""
    sentry = sys.modules.get("sentry_sdk")
    if (
        sentry is not None
        and method in {"error", "exception", "critical"}
        and sentry.is_initialized()
    ):
        exc_info = event.get("exc_info")
        error = exc_info if isinstance(exc_info, BaseException) else sys.exc_info()[1]
        if error is not None:
            sentry.capture_exception(error)
        else:
            sentry.capture_message(str(event.get("event")), level="error")
    return event


def _process_name(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Say which of the supervisor's processes speaks; on a console the line's prefix says it."""
    if (name := os.environ.get("MESSAGEJS_PROCESS")) and not os.environ.get("MESSAGEJS_PREFIXED"):
        event.setdefault("process", name)
    return event


class _Escaped:
    """A text that a terminal would act on, as Python writes it; the renderer takes its repr."""

    def __init__(self, text: str) -> None:
        self._text = text

    def __repr__(self) -> str:
        return self._text


def _without_controls(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Keep line ends, colours and changes of direction that others wrote from forging or hiding
    lines of the log.
    """
    for name, value in event.items():
        if name in {"exc_info", "exception", "stack", "event"} or isinstance(
            value, bool | int | float
        ):
            continue
        text = value if isinstance(value, str) else repr(value)
        if not text.isprintable():
            event[name] = _Escaped(
                repr(text) if isinstance(value, str) else _printable(text, keep="")
            )
    # Libraries write events of several lines.
    event["event"] = _printable(str(event.get("event", ""))).replace("\n", "\n  ")
    return event


def _printable(text: str, *, keep: str = "\n") -> str:
    """Return the text with every character escaped that shows nothing, but for those to `keep`."""
    if text.isprintable():
        return text
    return "".join(
        item if item.isprintable() or item in keep else repr(item)[1:-1] for item in text
    )


def _traceback(out: TextIO, exc_info: ExcInfo) -> None:
    """Write a traceback without local variables, which hold credentials; indented, as an error's
    text is anyone's.
    """
    lines = StringIO()
    structlog.dev.plain_traceback(lines, exc_info)
    out.write(_printable(lines.getvalue()).replace("\n", "\n  "))


def _console_processors() -> list[Processor]:
    colors = not os.environ.get("NO_COLOR") and (
        sys.stdout.isatty() or bool(os.environ.get("FORCE_COLOR"))
    )
    return [
        _without_controls,
        structlog.dev.ConsoleRenderer(
            colors=colors, pad_event_to=0, pad_level=False, exception_formatter=_traceback
        ),
    ]


def _json_processors() -> list[Processor]:
    return [
        structlog.processors.format_exc_info,
        structlog.processors.EventRenamer("event"),
        structlog.processors.JSONRenderer(),
    ]
