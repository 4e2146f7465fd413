"""Split a Liquid text into python-liquid's tokens, in one pass and within limits.

The parser reads these tokens; this isn't a check in front of another tokenizer, so the two cannot
disagree about where a tag ends. Each character is read a fixed number of times.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from liquid.exceptions import LiquidSyntaxError
from liquid.token import (
    TOKEN_COMMENT,
    TOKEN_CONTENT,
    TOKEN_DOC,
    TOKEN_EXPRESSION,
    TOKEN_OUTPUT,
    TOKEN_TAG,
    Token,
)

from backend.services.templates.liquid.limits import (
    BLANKS_LIMIT,
    BRACKETS_LIMIT,
    MARKUP_CHARS,
    MARKUP_CHARS_TOGETHER,
    MARKUP_LIMIT,
    OPERATORS_LIMIT,
)

_OPEN: Final = re.compile(r"\{[{%]")
_NAME: Final = re.compile(r"\{%-?\s*(#|\w+)")
_VERBATIM: Final = re.compile(r"\{%-?\s*(raw|doc)\s*(-?)%\}")
_VERBATIM_END: Final = {
    name: re.compile(r"\{%-?\s*end" + name + r"\s*-?%\}") for name in ("raw", "doc")
}
_LINE: Final = re.compile(r"[^\n]+")
_BLANKS: Final = re.compile(r"\s+")
_OPERATORS: Final = re.compile(r"\b(?:and|or|contains)\b|[<>=!]+")


def tokens(text: str) -> Iterator[Token]:
    """Yield the tokens of `text`; raises LiquidSyntaxError with a token that says where."""
    return _Lexer(text).tokens()


class _Lexer:
    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._count = 0
        self._chars = 0
        self._comments = 0
        self._comment_at = 0
        # Whether the markup before the next text ended in `-}}` or `-%}`.
        self._strips = False
        self._unclosed: set[str] = set()

    def tokens(self) -> Iterator[Token]:
        text = self._text
        while self._at < len(text):
            opening = _OPEN.search(text, self._at)
            start = len(text) if opening is None else opening.start()
            if start > self._at:
                yield from self._content(start)
            if opening is not None:
                yield from self._markup(start)

    def _content(self, end: int) -> Iterator[Token]:
        start, self._at = self._at, end
        if self._comments:
            return
        value = self._text[start:end]
        if self._strips:
            # python-liquid reads a line break at the very end as a separate text, and strips that
            # too.
            if end == len(self._text):
                value = value.removesuffix("\n")
            value = value.lstrip()
        if self._text.startswith("-", end + 2):
            value = value.rstrip()
        if value:
            yield Token(TOKEN_CONTENT, value, start, self._text)

    def _markup(self, start: int) -> Iterator[Token]:
        self._count += 1
        self._check_count(start)
        if self._text[start + 1] == "{":
            return self._output(start)
        return self._verbatim(start) or self._tag(start)

    def _output(self, start: int) -> Iterator[Token]:
        end = self._close("}}", start, MARKUP_CHARS)
        if end < 0:
            if not self._comments:
                raise self._error(
                    f"'{{{{' is not closed by '}}}}' within {MARKUP_CHARS} characters", start
                )
            self._at = start + 1
            return
        is_stripping = self._text[start + 2] == "-"
        at, expression = self._body(start + 2 + is_stripping, end)
        if self._comments:
            return
        self._check(expression, at)
        yield Token(TOKEN_OUTPUT, self._text[start : end + 2], start, self._text)
        yield Token(TOKEN_EXPRESSION, expression, at, self._text)

    def _tag(self, start: int) -> Iterator[Token]:
        named = _NAME.match(self._text, start)
        name = named.group(1) if named is not None else ""
        end = self._close("%}", start, MARKUP_CHARS_TOGETHER if name == "liquid" else MARKUP_CHARS)
        if named is None or end < 0:
            if self._comments:
                self._at = start + 1
                return
            if end < 0:
                raise self._error(
                    f"'{{%' is not closed by '%}}' within {MARKUP_CHARS} characters", start
                )
            raise self._error("missing tag name or closing delimiter", start)
        at, expression = self._body(named.end(), end)
        if self._comments:
            yield from self._inside_comment(name, named.start(1))
            return
        if name in self._unclosed:
            raise self._error(f"'{name}' is not closed by 'end{name}'", start)
        self._check_tag(name, expression, at)
        yield Token(TOKEN_TAG, name, named.start(1), self._text)
        if expression:
            yield Token(TOKEN_EXPRESSION, expression, at, self._text)
        if name == "comment":
            self._comments, self._comment_at = 1, self._at

    def _inside_comment(self, name: str, at: int) -> Iterator[Token]:
        if name == "comment":
            self._comments += 1
        elif name == "endcomment":
            self._comments -= 1
            if not self._comments:
                yield Token(TOKEN_COMMENT, "", self._comment_at, self._text)
                yield Token(TOKEN_TAG, name, at, self._text)

    def _verbatim(self, start: int) -> Iterator[Token] | None:
        """Read {% raw %} or {% doc %} up to its end; None if it is something else or never ends."""
        opening = _VERBATIM.match(self._text, start)
        if opening is None or opening.group(1) in self._unclosed:
            return None
        name = opening.group(1)
        closing = _VERBATIM_END[name].search(self._text, opening.end())
        if closing is None:
            # There is none further on either, so there is no need to look again.
            self._unclosed.add(name)
            return None
        self._at = closing.end()
        if self._comments:
            return iter(())
        self._strips = bool(opening.group(2))
        kind = TOKEN_CONTENT if name == "raw" else TOKEN_DOC
        return iter((Token(kind, self._text[opening.end() : closing.start()], start, self._text),))

    def _close(self, mark: str, start: int, most: int) -> int:
        return self._text.find(mark, start + 2, start + 2 + most + len(mark))

    def _body(self, start: int, end: int) -> tuple[int, str]:
        """Return where a markup's expression begins, and the expression; move past the markup."""
        body = self._text[start:end]
        self._strips = body.endswith("-")
        if self._strips:
            body = body[:-1]
        self._at = end + 2
        self._chars += len(body)
        if self._chars > MARKUP_CHARS_TOGETHER:
            raise self._error(
                f"all outputs and tags may have {MARKUP_CHARS_TOGETHER} characters together", start
            )
        return start + len(body) - len(body.lstrip()), body.strip()

    def _check_tag(self, name: str, expression: str, at: int) -> None:
        if name == "#":
            self._check_blanks(expression, at)
            return
        if name != "liquid":
            self._check(expression, at)
            return
        lines = [line for line in _LINE.finditer(expression) if not line.group().isspace()]
        self._count += max(len(lines) - 1, 0)
        self._check_count(at)
        self._check_blanks(expression, at)
        for line in lines:
            self._check(line.group(), at + line.start())

    def _check(self, expression: str, at: int) -> None:
        """Check what python-liquid's lexer and parser cost grows with, sometimes as its square."""
        if len(expression) > MARKUP_CHARS:
            raise self._error(
                f"an output, or a line of a tag, may have {MARKUP_CHARS} characters", at
            )
        if expression.count("(") + expression.count("[") > BRACKETS_LIMIT:
            raise self._error(f"an output or tag may have {BRACKETS_LIMIT} brackets", at)
        if (
            len(expression) > OPERATORS_LIMIT
            and len(_OPERATORS.findall(expression)) > OPERATORS_LIMIT
        ):
            raise self._error(f"an output or tag may have {OPERATORS_LIMIT} operators", at)
        self._check_blanks(expression, at)

    def _check_count(self, at: int) -> None:
        if self._count > MARKUP_LIMIT:
            raise self._error(f"a text may have {MARKUP_LIMIT} outputs and tags", at)

    def _check_blanks(self, expression: str, at: int) -> None:
        if (
            len(expression) > BLANKS_LIMIT
            and max(map(len, _BLANKS.findall(expression)), default=0) > BLANKS_LIMIT
        ):
            raise self._error(f"an output or tag may have {BLANKS_LIMIT} blanks in a row", at)

    def _error(self, reason: str, at: int) -> LiquidSyntaxError:
        return LiquidSyntaxError(reason, token=Token(TOKEN_TAG, "", at, self._text))
