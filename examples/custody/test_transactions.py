"""The wallet's own parser and hash, held against Ethereum's: one spelling, and nothing else is a transaction."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from judge import keccak
from wallets import SHOP, unsigned

from custody import keccak256, parse_transaction, rlp_decode, rlp_encode
from keephold import Reject


@given(data=st.binary(max_size=700))
@settings(max_examples=60, deadline=None)
def test_keccak_is_ethereums(data):
    assert keccak256(data) == keccak(data)


@pytest.mark.parametrize("size", [0, 1, 135, 136, 137, 271, 272])
def test_keccak_at_the_edges_of_its_blocks(size):
    assert keccak256(bytes(size)) == keccak(bytes(size))


ITEMS = st.recursive(st.binary(max_size=80), lambda item: st.lists(item, max_size=4).map(tuple), max_leaves=8)


@given(item=ITEMS)
def test_rlp_has_one_spelling(item):
    raw = rlp_encode(item)
    assert rlp_decode(raw) == item


@given(raw=st.binary(max_size=80))
def test_whatever_decodes_is_spelled_that_way(raw):
    try:
        item = rlp_decode(raw)
    except Reject as refused:
        assert refused.code == "bad_transaction"  # noqa: PT017 - one of the two outcomes
    else:
        assert rlp_encode(item) == raw


RAW = unsigned()


@given(at=st.integers(0, len(RAW) - 1), value=st.integers(0, 255))
def test_an_altered_transaction_is_refused_or_says_something_else(at, value):
    altered = RAW[:at] + bytes([value]) + RAW[at + 1 :]
    try:
        parsed = parse_transaction(altered)
    except Reject:
        return
    assert (parsed == parse_transaction(RAW)) == (altered == RAW)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        RAW[1:],
        b"\x01" + RAW[1:],
        RAW + b"\0",
        RAW[:-1],
        b"\x02" + rlp_encode((b"\1",) * 8),
        b"\x02" + rlp_encode((b"\1",) * 10),
        b"\x02" + rlp_encode(b"\1" * 9),
        b"\x02" + rlp_encode((*map(bytes, (1, 0, 0, 0, 0)), SHOP, b"", b"", ())),  # a chain id spelled with a zero
        b"\x02" + rlp_encode((b"\1", b"", b"", b"\1", b"\xff\xff", b"", b"", b"", ())),  # a contract is created
        b"\x02" + rlp_encode((b"\1", b"", b"", b"\1", b"\xff\xff", SHOP, b"", b"", ((SHOP,),))),
        b"\x02" + rlp_encode((b"\1", b"", b"", b"\1", b"\xff\xff", SHOP, b"", b"", ((SHOP, (b"short",)),))),
        b"\x02" + rlp_encode((b"\1", b"", b"", b"\1", b"\xff\xff", SHOP, b"", b"", b"")),
        b"\x02\xf8\x01\xc0",
        b"\x02" + b"\xc1" * 1500,
        b"\x02" + bytes(3000),
    ],
    ids=range(16),
)
def test_no_other_bytes_are_a_transaction(raw):
    with pytest.raises(Reject, match="bad_transaction"):
        parse_transaction(raw)
