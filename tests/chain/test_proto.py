from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keephold.base.errors import EncodingError
from keephold.chain import proto
from keephold.chain.proto import LAST_TIME, NANOSECONDS, ZERO_TIME, Reader


def read(encoded, method):
    """Read field 1 and expect no other."""
    reader = Reader(encoded)
    value = method(reader, 1)
    reader.finish()
    return value


@given(st.integers(-(2**63), 2**63 - 1))
def test_integers_round_trip(value) -> None:
    reader = Reader(proto.number(3, value))
    assert reader.signed(3) == value
    reader.finish()


@given(st.integers(ZERO_TIME, LAST_TIME))
def test_times_round_trip(time_ns) -> None:
    assert Reader(proto.message(4, proto.timestamp(time_ns))).timestamp(4) == time_ns


def test_go_zero_time_has_its_ten_byte_seconds() -> None:
    assert proto.timestamp(ZERO_TIME).hex() == "088092b8c398feffffff01"


def test_empty_messages_stay_and_defaults_go() -> None:
    assert proto.message(2, b"") == b"\x12\x00"
    assert proto.data(2, b"") == proto.number(2, 0) == proto.fixed(2, 0) == b""


@pytest.mark.parametrize(
    "encoded",
    [
        b"\x08",  # no value
        b"\x08\x80",  # unfinished
        b"\x08\x00",  # default spelled out
        b"\x08\x81\x00",  # not the shortest
        b"\x08" + b"\xff" * 9 + b"\x02",  # beyond 64 bits
        b"\x08" + b"\xff" * 10 + b"\x01",  # eleven bytes
        b"\x08\x01\x08\x01",  # twice
        b"\x10\x01",  # another field
        b"\x0d\x01\x00\x00\x00",  # another wire type
    ],
)
def test_integers_have_one_spelling(encoded) -> None:
    with pytest.raises(EncodingError):
        read(encoded, Reader.unsigned)


def test_integers_keep_their_width() -> None:
    assert Reader(proto.number(1, 2**32 - 1)).unsigned(1, bits=32) == 2**32 - 1
    with pytest.raises(EncodingError):
        Reader(proto.number(1, 2**32)).unsigned(1, bits=32)
    assert Reader(proto.number(1, -1)).signed(1, bits=32) == -1
    for value in (2**31, -(2**31) - 1):
        with pytest.raises(EncodingError):
            Reader(proto.number(1, value)).signed(1, bits=32)


@pytest.mark.parametrize("encoded", [b"\x0a\x00", b"\x0a\x02a", b"\x0a", b"\x0a\x01a\x0a\x01a"])
def test_bytes_have_one_spelling(encoded) -> None:
    with pytest.raises(EncodingError):
        read(encoded, Reader.data)


def test_text_is_utf8() -> None:
    assert Reader(proto.data(1, "é".encode())).text(1) == "é"
    with pytest.raises(EncodingError):
        Reader(b"\x0a\x01\xff").text(1)


def test_a_required_message_is_required() -> None:
    for encoded in (b"", b"\x00", b"\x12\x00"):
        with pytest.raises(EncodingError, match="expected here"):
            Reader(encoded).message(1)


def test_an_inner_message_cannot_read_beyond_its_end() -> None:
    inner = Reader(proto.message(1, b"\x0a\x05ab") + b"cdefgh").message(1)
    with pytest.raises(EncodingError):
        inner.data(1)


@pytest.mark.parametrize(
    "body",
    [
        proto.number(2, NANOSECONDS),
        proto.number(1, 253_402_300_800),
        proto.number(1, -62_135_596_801),
        proto.number(2, 1) + proto.number(1, 1),
        proto.timestamp(5) + b"\x18\x01",
    ],
)
def test_times_outside_their_range_or_order_are_refused(body) -> None:
    with pytest.raises(EncodingError):
        Reader(proto.message(1, body)).timestamp(1)
