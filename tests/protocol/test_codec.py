"""Accepted, or `EncodingError`: one value has one spelling."""

from __future__ import annotations

import contextlib

import cbor2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from keephold.base.errors import EncodingError
from keephold.protocol.codec import BUILT_IN_TAGS, Record, decode, encode
from keephold.protocol.transactions import Echo, SignedTransaction, Transaction
from keephold.protocol.types import Bytes32, Uint63


class Inner(Record, tag="inner", tag_field="type"):
    number: int


class Other(Record, tag="other", tag_field="type"):
    flag: bool = False


class Outer(Record):
    count: Uint63
    name: str
    fixed: Bytes32
    choice: Inner | Other
    parts: tuple[bytes, ...] = ()


integers = st.integers(-(2**128) + 1, 2**128 - 1)
outers = st.builds(
    Outer,
    st.integers(0, 2**63 - 1),
    st.text(),
    st.binary(min_size=32, max_size=32),
    st.builds(Inner, integers) | st.builds(Other, st.booleans()),
    st.lists(st.binary(max_size=8), max_size=4).map(tuple),
)


@given(outers)
def test_every_record_survives_the_round_trip(record):
    assert decode(encode(record), Outer) == record


@given(outers, st.data())
def test_altered_bytes_are_refused_or_mean_something_else(record, data):
    raw = bytearray(encode(record))
    position = data.draw(st.integers(0, len(raw) - 1))
    raw[position] ^= data.draw(st.integers(1, 255))
    with contextlib.suppress(EncodingError):
        assert decode(bytes(raw), Outer) != record


@given(st.binary(max_size=200))
def test_arbitrary_bytes_are_refused_with_the_declared_error(raw):
    with contextlib.suppress(EncodingError):
        assert encode(decode(raw, Outer)) == raw


GOOD = Outer(5, "a", bytes(32), Inner(7))


@pytest.mark.parametrize(
    ("why", "raw"),
    [
        ("trailing byte", encode(GOOD) + b"\x00"),
        ("cut short", encode(GOOD)[:-1]),
        ("null", b"\xf6"),
        ("a list", b"\x80"),
        ("explicit default", cbor2.dumps({**cbor2.loads(encode(GOOD)), "parts": []}, canonical=True)),
        ("unknown field", cbor2.dumps({**cbor2.loads(encode(GOOD)), "zz": 1}, canonical=True)),
        ("float", cbor2.dumps({**cbor2.loads(encode(GOOD)), "count": 5.0}, canonical=True)),
        ("negative count", cbor2.dumps({**cbor2.loads(encode(GOOD)), "count": -1}, canonical=True)),
        ("short key", cbor2.dumps({**cbor2.loads(encode(GOOD)), "fixed": b"1"}, canonical=True)),
        ("unsorted keys", cbor2.dumps(dict(reversed(cbor2.loads(encode(GOOD)).items())))),
        ("duplicate keys", b"\xa2\x61a\x01\x61a\x01"),
        ("indefinite length", b"\xbf\xff"),
        ("non-minimal integer", encode(Inner(1)).replace(b"\x01", b"\x18\x01")),
        ("deep nesting", b"\x81" * 1000 + b"\x80"),
    ],
)
def test_second_spellings_are_refused(why, raw):
    with pytest.raises(EncodingError):
        decode(raw, Inner if why == "non-minimal integer" else Outer)


def test_integers_beyond_the_bound_are_refused():
    huge = cbor2.dumps({"type": "inner", "number": 2**128}, canonical=True)
    with pytest.raises(EncodingError):
        decode(huge, Inner)


def test_no_tag_but_bignums_is_ever_built():
    def is_built_in(tag: int) -> bool:
        try:
            return not isinstance(cbor2.loads(b"\xd9" + tag.to_bytes(2, "big") + b"\x00"), cbor2.CBORTag)
        except cbor2.CBORDecodeError:
            return True

    assert set(filter(is_built_in, range(65536))) <= set(BUILT_IN_TAGS)
    for tag in BUILT_IN_TAGS:
        with pytest.raises(EncodingError):
            decode(b"\xd9" + tag.to_bytes(2, "big") + b"\x00", Outer)


def test_a_limit_bounds_the_bytes_before_anything_is_parsed():
    with pytest.raises(EncodingError, match="allowed"):
        decode(bytes(100), Outer, limit=99)


def test_records_are_frozen():
    with pytest.raises(AttributeError):
        GOOD.count = 6


def test_the_spelling_of_a_transaction_is_frozen():
    """A change here is a hard fork: every signature and id changes."""
    signed = SignedTransaction(Transaction(b"N" * 32, b"S" * 32, 7, Echo(b"e" * 32)), b"s" * 64)
    assert encode(signed).hex() == (
        "a2697369676e61747572655840" + "73" * 64 + "6b7472616e73616374696f6ea464626f6479a2647479706564"
        "6563686f656e6f6e63655820"
        + "65" * 32
        + "656e6f6e6365076673656e6465725820"
        + "53" * 32
        + "676e6574776f726b5820"
        + "4e" * 32
    )
