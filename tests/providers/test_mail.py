"""Mail as it is written: a value is its own characters, and the headers are ours, whatever the
value.
"""

from __future__ import annotations

from email import message_from_bytes
from email.header import decode_header, make_header
from email.message import Message
from email.utils import parseaddr

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.providers.smtp.mail import UNSAFE_IN_HEADER, UnwritableMail, _check, compose, mailbox

BCC = "=?utf-8?q?=0d=0aBcc:z?="
BODY = (
    "=?utf-8?q?=0d=0aReply-To:evil=40evil=2eexample=0d=0aContent-Type:text/html"
    "=0d=0a=0d=0a<a>Win</a>?="
)
ADDRESS = "clinic@example.com"
HEADERS = ["From", "To", "Subject", "Date", "Message-ID"]
LINES = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=300).filter(
    lambda text: UNSAFE_IN_HEADER.search(text) is None
)


def written(subject: str = "Hello", name: str = "Clinic", to: str = "ada@example.com") -> bytes:
    sender = mailbox(name, ADDRESS)
    return compose(
        sender=sender,
        to=to,
        subject=subject,
        message_id="<1@example.com>",
        text="Text.",
        html="<p>x</p>",
    )


def parsed(mail: bytes) -> Message:
    """Return the mail as the oldest readers see it: they decode nothing."""
    return message_from_bytes(mail)


def shown(value: str) -> str:
    return str(make_header(decode_header(value.replace("\r\n", ""))))


@pytest.mark.parametrize(
    "text", [BCC, BODY, f"Thank you {BODY}", "a =? b", "=?utf-8?b?DQpCY2M6eg==?=", f"Grüße {BCC}"]
)
def test_what_looks_like_an_encoded_word_stays_as_it_is(text: str) -> None:
    mail = written(subject=text, name=text[:200])
    email = parsed(mail)
    assert email.keys() == [*HEADERS, "MIME-Version", "Content-Type"]
    assert shown(email["Subject"]) == text
    assert shown(parseaddr(email["From"])[0]) == text[:200]
    assert parseaddr(email["From"])[1] == ADDRESS
    assert b"\nBcc:" not in mail
    assert b"\nReply-To:" not in mail


def test_a_recipient_that_looks_like_an_encoded_word_stays_as_it_is() -> None:
    to = "=?utf-8?q?=0d=0aBcc=3az?=@example.com"
    mail = written(to=to)
    assert f"\r\nTo: {to}\r\n".encode() in mail
    assert parsed(mail).keys() == [*HEADERS, "MIME-Version", "Content-Type"]


@given(subject=LINES, name=LINES)
def test_whatever_the_values_the_headers_are_ours_and_say_them(subject: str, name: str) -> None:
    mail = written(subject=subject, name=name)
    email = parsed(mail)
    assert email.keys() == [*HEADERS, "MIME-Version", "Content-Type"]
    assert shown(email["Subject"]).strip() == subject.strip()
    head = mail.partition(b"\r\n\r\n")[0].split(b"\r\n")
    assert all(len(line) <= 998 and b"\n" not in line and b"\r" not in line for line in head)
    assert all(
        len(word) <= 75 for line in head for word in line.split() if word.startswith(b"=?utf-8?")
    )


@pytest.mark.parametrize(
    "text", ["Your appointment, in words; " * 12 + "end", "w" * 950, "  two  ", "x " * 100]
)
def test_a_long_subject_is_folded_and_stays_whole(text: str) -> None:
    mail = written(subject=text)
    assert shown(parsed(mail)["Subject"]) == text
    if "," in text:
        assert b"=?" not in mail


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("", "clinic@example.com"),
        ("Harbour Clinic", "Harbour Clinic <clinic@example.com>"),
        ('Dr. "No", Ltd.', '"Dr. \\"No\\", Ltd." <clinic@example.com>'),
        ("Klinik Süd", "=?utf-8?q?Klinik_S=C3=BCd?= <clinic@example.com>"),
        ("evil@example.org", '"evil@example.org" <clinic@example.com>'),
    ],
)
def test_a_display_name_never_changes_the_address(name: str, expected: str) -> None:
    assert mailbox(name, ADDRESS).lower() == expected.lower()
    assert parseaddr(mailbox(name, ADDRESS))[1] == ADDRESS


@pytest.mark.parametrize(
    "mail",
    [
        b"From: a\r\nTo: b\r\nBcc: c\r\n\r\n",
        b"From: a\r\nTo: b\nBcc: c\r\n\r\n",
        b"From: a\r\nTo: b\rBcc: c\r\n\r\n",
        b"From: a\r\n\r\nTo: b\r\n",
        b"From: a\r\nTo: b\r\nFrom: c\r\n\r\n",
        b"From: a\r\nTo: b\r\nContent-Type: c\r\nContent-Type: d\r\n\r\n",
        b"From: a\r\nTo: " + b"b" * 1000 + b"\r\n\r\n",
    ],
)
def test_a_mail_with_other_headers_than_ours_is_never_sent(mail: bytes) -> None:
    with pytest.raises(UnwritableMail):
        _check(["From", "To"], mail)
