"""Hostile bytes: whatever is altered in a header or its commit, the light client refuses under a declared error."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import fields, replace

import pytest
from follower_blocks import FOUR, NEXT, START, TRUSTED, block, members
from hypothesis import given, settings
from hypothesis import strategies as st

from keephold.base.errors import EncodingError, HeaderInvalid, NotEnoughTrust
from keephold.chain.header import NO_BLOCK, BlockId, Header
from keephold.chain.proto import NANOSECONDS
from keephold.chain.wire import decode_signed_header, encode_signed_header
from keephold.follower.light_client import TrustedState, verify_header

ONE = members(0)


def test_every_flipped_bit_of_a_signed_header_is_refused() -> None:
    trusted = TrustedState.from_header(block(5, ONE).signed.header, ONE)
    encoded = encode_signed_header(block(6, ONE).signed)
    now = block(6, ONE).signed.header.time_ns
    for bit in range(len(encoded) * 8):
        altered = bytearray(encoded)
        altered[bit // 8] ^= 1 << bit % 8
        with pytest.raises((EncodingError, HeaderInvalid, NotEnoughTrust)):
            verify_header(trusted, decode_signed_header(bytes(altered)), ONE, None, now)


@pytest.mark.parametrize("name", [field.name for field in fields(Header)])
def test_every_field_of_the_header_is_bound(name) -> None:
    other = {
        "chain_id": "x",
        "height": 7,
        "time_ns": START + 60 * NANOSECONDS,
        "last_block_id": NO_BLOCK,
        "proposer_address": b"\x08" * 20,
        "version_block": 10,
        "version_app": 9,
    }.get(name, b"\x08" * 32)
    altered = replace(NEXT.signed.header, **{name: other})
    with pytest.raises(HeaderInvalid):
        replace(NEXT, signed=replace(NEXT.signed, header=altered)).after(TRUSTED)


@pytest.mark.parametrize(
    "change",
    [
        {"round": 1},
        {"block_id": BlockId(NEXT.signed.header.hash(), 2, b"\x07" * 32)},
        {"block_id": BlockId(NEXT.signed.header.hash(), 1, b"\x08" * 32)},
        {"height": 7},
    ],
)
def test_every_field_of_the_commit_is_bound(change) -> None:
    altered = replace(NEXT.signed.commit, **change)
    with pytest.raises(HeaderInvalid):
        NEXT.with_commit(altered).after(TRUSTED)


@settings(deadline=None)
@given(st.data())
def test_whatever_decodes_is_accepted_or_refused_by_name(data) -> None:
    encoded = bytearray(encode_signed_header(data.draw(st.sampled_from([NEXT, block(9, FOUR)])).signed))
    for _ in range(data.draw(st.integers(1, 3))):
        encoded[data.draw(st.integers(0, len(encoded) - 1))] = data.draw(st.integers(0, 255))
    with suppress(EncodingError, HeaderInvalid, NotEnoughTrust):
        signed = decode_signed_header(bytes(encoded))
        trusted = verify_header(TRUSTED, signed, FOUR, None, START + 60 * NANOSECONDS)
        # Only votes may differ: an altered one is a vote that did not count.
        assert trusted.header in (NEXT.signed.header, block(9, FOUR).signed.header)
