"""SMS sizes follow 3GPP TS 23.038: what is shown is what the network bills."""

from __future__ import annotations

import pytest

from backend.services.templates.sms_segments import measure, segment_count


@pytest.mark.parametrize(
    ("text", "segments"),
    [
        ("", 1),
        ("a" * 160, 1),
        ("a" * 161, 2),  # 161 septets: parts of 153
        ("a" * 306, 2),  # 2 * 153
        ("a" * 307, 3),
        ("€" * 80, 1),  # two septets each: 160
        ("€" * 81, 2),
        (
            "a" * 152 + "€" + "a" * 152,
            3,
        ),  # 306 septets, but the € must not be split at 153: 152, 2 + 151, 1
        ("ф" * 70, 1),
        ("ф" * 71, 2),
        ("ф" * 134, 2),  # 2 * 67
        ("ф" * 135, 3),
        ("😀" * 35, 1),  # two UTF-16 units each: 70
        ("😀" * 36, 2),
        ("😀" * 67, 3),  # 33 fit in each part of 67, as a pair is not split: 33 + 33 + 1
    ],
)
def test_segments_are_counted_as_the_network_bills_them(text: str, segments: int) -> None:
    assert segment_count(text) == segments


@pytest.mark.parametrize(
    ("text", "encoding", "units"),
    [
        ("Hello [1]", "GSM-7", 11),
        ("ñandú", "UCS-2", 5),
        ("naïve", "UCS-2", 5),
        ("Ünter\n@£", "GSM-7", 8),
    ],
)
def test_one_character_outside_gsm_makes_the_whole_text_ucs2(
    text: str, encoding: str, units: int
) -> None:
    size = measure(text)
    assert (size.encoding, size.units) == (encoding, units)
