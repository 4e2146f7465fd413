"""Ids are TypeIDs: they read back to the same UUID, and nothing else reads at all."""

from __future__ import annotations

import time
from uuid import UUID

import pytest

from backend import ids

# The TypeID specification's own valid.yml.
_VALID = [
    ("00000000000000000000000000", "00000000-0000-0000-0000-000000000000"),
    ("00000000000000000000000001", "00000000-0000-0000-0000-000000000001"),
    ("0000000000000000000000000a", "00000000-0000-0000-0000-00000000000a"),
    ("0000000000000000000000000g", "00000000-0000-0000-0000-000000000010"),
    ("00000000000000000000000010", "00000000-0000-0000-0000-000000000020"),
    ("7zzzzzzzzzzzzzzzzzzzzzzzzz", "ffffffff-ffff-ffff-ffff-ffffffffffff"),
    ("0123456789abcdefghjkmnpqrs", "0110c853-1d09-52d8-d73e-1194e95b5f19"),
    ("01h455vb4pex5vsknk084sn02q", "01890a5d-ac96-774b-bcce-b302099a8057"),
]


@pytest.mark.parametrize(("suffix", "uuid"), _VALID)
def test_an_id_is_written_and_read_as_the_specification_says(suffix: str, uuid: str) -> None:
    assert ids.encode("prefix", UUID(uuid)) == f"prefix_{suffix}"
    assert ids.decode("prefix", f"prefix_{suffix}") == UUID(uuid)


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("msg_8zzzzzzzzzzzzzzzzzzzzzzzzz", id="more than 128 bits"),
        pytest.param("msg_zzzzzzzzzzzzzzzzzzzzzzzzzz", id="130 bits"),
        pytest.param("conn_01h455vb4pex5vsknk084sn02q", id="another resource's prefix"),
        pytest.param("MSG_01h455vb4pex5vsknk084sn02q", id="upper case prefix"),
        pytest.param("msg_01H455VB4PEX5VSKNK084SN02Q", id="upper case suffix"),
        pytest.param("_01h455vb4pex5vsknk084sn02q", id="empty prefix"),
        pytest.param("01h455vb4pex5vsknk084sn02q", id="no prefix"),
        pytest.param("msg01h455vb4pex5vsknk084sn02q", id="no separator"),
        pytest.param("msg__01h455vb4pex5vsknk084sn02q", id="two separators"),
        pytest.param("msg_01h455vb4pex5vsknk084sn02", id="25 characters"),
        pytest.param("msg_01h455vb4pex5vsknk084sn02q0", id="27 characters"),
        pytest.param("msg_01h455vb4pex5vsknk084sn02i", id="i is not in the alphabet"),
        pytest.param("msg_01h455vb4pex5vsknk084sn02l", id="l is not in the alphabet"),
        pytest.param("msg_01h455vb4pex5vsknk084sn02o", id="o is not in the alphabet"),
        pytest.param("msg_u1h455vb4pex5vsknk084sn02q", id="u is not in the alphabet"),
        pytest.param("msg_01h455vb4pex5vsknk084sn0\u00b2q", id="a digit outside ASCII"),
        pytest.param("msg_01890a5d-ac96-774b-bcce-b3020", id="a UUID's hyphens"),
        pytest.param("msg_ 1h455vb4pex5vsknk084sn02q", id="a space"),
        pytest.param("msg_", id="empty suffix"),
        pytest.param("", id="nothing"),
    ],
)
def test_what_is_no_id_of_this_resource_is_none(text: str) -> None:
    assert ids.decode(ids.MESSAGE, text) is None


def test_new_ids_are_version_7_and_in_the_order_of_their_making() -> None:
    created = [ids.new_id() for _ in range(10_000)]
    assert created == sorted(created)
    assert len(set(created)) == len(created)
    assert {(value.version, value.variant) for value in created} == {(7, "specified in RFC 4122")}


def test_the_written_form_sorts_as_the_uuid_does() -> None:
    created = [ids.new_id() for _ in range(100)]
    assert [
        ids.decode("msg", text) for text in sorted(ids.encode("msg", value) for value in created)
    ] == created


def test_a_new_id_holds_the_present_millisecond() -> None:
    before = time.time_ns() // 1_000_000
    stamp = ids.new_id().int >> 80
    assert before - 1 <= stamp <= time.time_ns() // 1_000_000 + 1
