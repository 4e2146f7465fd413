"""Write an e-mail. No part of a value ever becomes a header or part of another header.

We write the headers and not `EmailMessage`, which in some Python releases decodes what looks like
an encoded word (`=?utf-8?q?=0d=0aBcc:...?=`) and writes the decoded text, line breaks and all.
Source of the rules: RFC 5322 section 2.2 (headers), RFC 2047 (encoded words), RFC 6532 (UTF-8
addresses).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from email.header import Header
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime, quote
from typing import Final

# What some reader of a message may take for the end of a line, and what no header may contain.
UNSAFE_IN_HEADER: Final = re.compile("[\x00-\x1f\x7f\x85\u2028\u2029]")
_ATOMS: Final = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~ -]+")
# The most characters a line should have, and the most it may have (RFC 5322 2.1.1).
_LINE: Final = 76
_LONGEST_LINE: Final = 998
_LONGEST_WORD: Final = 900
_BODY_HEADERS: Final = ("Content-Type", "Content-Transfer-Encoding", "MIME-Version")


class UnwritableMail(ValueError):
    """The composed mail doesn't have exactly our headers."""


def mailbox(name: str, address: str) -> str:
    """Return `name <address>` as a header value, folded if it is long."""
    if not name:
        return address
    if not _is_plain(name):
        written = _encoded_words("From", name)
    elif _ATOMS.fullmatch(name):
        written = name
    else:
        written = f'"{quote(name)}"'
    last_line = written.rsplit("\r\n", 1)[-1]
    fold = "\r\n" if len("From: ") + len(last_line) + len(address) + 3 > _LINE else ""
    return f"{written}{fold} <{address}>"


def compose(
    *, sender: str, to: str, subject: str | None, message_id: str, text: str, html: str | None
) -> bytes:
    """Return the mail as it is sent; `sender` comes from `mailbox`, `to` is a bare address.

    Raises UnwritableMail, and ValueError for text that cannot be encoded.
    """
    body = EmailMessage(policy=SMTP)
    body.set_content(text)
    if html:
        body.add_alternative(html, subtype="html")
    headers = [("From", sender), ("To", to)]
    if subject:
        headers.append(("Subject", _unstructured("Subject", subject)))
    headers += [("Date", format_datetime(datetime.now(UTC))), ("Message-ID", message_id)]
    head = "".join(f"{name}: {value}\r\n" for name, value in headers)
    mail = head.encode() + body.as_bytes()
    _check([name for name, _ in headers], mail)
    return mail


def _unstructured(header: str, value: str) -> str:
    """Return `value`, folded if it is long; in encoded words if it isn't safe as it is."""
    if not _is_plain(value):
        return _encoded_words(header, value)
    if len(header) + 2 + len(value) <= _LINE:
        return value
    folded = Header(value, "us-ascii", _LINE, header).encode(linesep="\r\n")
    lines = folded.split("\r\n")
    is_whole = "".join(lines) == value and all(
        line.strip() and len(line) <= _LONGEST_WORD for line in lines
    )
    return folded if is_whole else _encoded_words(header, value)


def _is_plain(value: str) -> bool:
    """Tell whether every reader takes `value` for exactly these characters."""
    return value.isascii() and "=?" not in value and value == value.strip()


def _encoded_words(header: str, value: str) -> str:
    return Header(value, "utf-8", _LINE, header).encode(linesep="\r\n")


def _check(names: Sequence[str], mail: bytes) -> None:
    """Make sure that the mail has these headers, then the body's, each once, and no stray line
    breaks.

    Raises UnwritableMail.
    """
    head = mail.partition(b"\r\n\r\n")[0]
    lines = head.split(b"\r\n")
    if any(b"\r" in line or b"\n" in line or len(line) > _LONGEST_LINE for line in lines):
        raise UnwritableMail("a header has a stray line break, or is too long")
    written = [
        line.partition(b":")[0].decode("ascii", "replace")
        for line in lines
        if line[:1] not in (b" ", b"\t")
    ]
    ours, of_body = written[: len(names)], written[len(names) :]
    if (
        ours != list(names)
        or len(set(of_body)) != len(of_body)
        or not set(of_body) <= set(_BODY_HEADERS)
    ):
        raise UnwritableMail(f"the headers would be {', '.join(written)[:200]}")
