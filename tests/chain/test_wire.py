from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keephold.base.errors import EncodingError
from keephold.chain import proto
from keephold.chain.header import ABSENT, NO_BLOCK, BlockId, BlockIdFlag, Commit, CommitSig, Header, SignedHeader
from keephold.chain.wire import (
    decode_commit,
    decode_header,
    decode_signed_header,
    encode_commit,
    encode_header,
    encode_signed_header,
)

FULL_HASHES = st.binary(min_size=32, max_size=32)
HASHES = st.just(b"") | FULL_HASHES
ADDRESSES = st.binary(min_size=20, max_size=20)
TIMES = st.integers(proto.ZERO_TIME, proto.LAST_TIME)
HEIGHTS = st.integers(1, 2**63 - 1)
CHAINS = st.text(max_size=50).filter(lambda text: text.isprintable() and len(text.encode()) <= 50)
BLOCKS = st.builds(BlockId, FULL_HASHES, st.integers(0, 2**32 - 1), HASHES)
HEADERS = st.builds(
    Header,
    chain_id=CHAINS,
    height=HEIGHTS,
    time_ns=TIMES,
    last_block_id=st.just(NO_BLOCK) | BLOCKS,
    last_commit_hash=HASHES,
    data_hash=HASHES,
    validators_hash=HASHES,
    next_validators_hash=HASHES,
    consensus_hash=HASHES,
    app_hash=HASHES,
    last_results_hash=HASHES,
    evidence_hash=HASHES,
    proposer_address=ADDRESSES,
    version_block=st.integers(0, 2**64 - 1),
    version_app=st.integers(0, 2**64 - 1),
)
VOTES = st.builds(
    CommitSig,
    st.sampled_from([BlockIdFlag.COMMIT, BlockIdFlag.NIL]),
    ADDRESSES,
    TIMES,
    st.binary(min_size=1, max_size=64),
)
COMMITS = st.builds(
    Commit,
    height=HEIGHTS,
    round=st.integers(0, 2**31 - 1),
    block_id=BLOCKS,
    signatures=st.lists(st.just(ABSENT) | VOTES, min_size=1, max_size=4).map(tuple),
)
SIGNED = st.builds(SignedHeader, HEADERS, COMMITS)
CODECS = [
    (HEADERS, encode_header, decode_header),
    (COMMITS, encode_commit, decode_commit),
    (SIGNED, encode_signed_header, decode_signed_header),
]


@pytest.mark.parametrize(("records", "encode", "decode"), CODECS)
@given(data=st.data())
def test_round_trip(records, encode, decode, data) -> None:
    record = data.draw(records)
    assert decode(encode(record)) == record


@pytest.mark.parametrize(("records", "encode", "decode"), CODECS)
@given(data=st.data())
def test_altered_bytes_are_accepted_or_an_encoding_error(records, encode, decode, data) -> None:
    """Accepted means: in their one spelling."""
    encoded = bytearray(encode(data.draw(records)))
    at = data.draw(st.integers(0, len(encoded)))
    cut = data.draw(st.integers(0, 3))
    encoded[at : at + cut] = data.draw(st.binary(max_size=4))
    with suppress(EncodingError):
        assert encode(decode(bytes(encoded))) == encoded


@pytest.mark.parametrize(("records", "encode", "decode"), CODECS)
@given(encoded=st.binary(max_size=100))
def test_any_bytes_are_accepted_or_an_encoding_error(records, encode, decode, encoded) -> None:
    with suppress(EncodingError):
        assert encode(decode(encoded)) == encoded


@pytest.mark.parametrize(("records", "encode", "decode"), CODECS)
@given(data=st.data())
def test_truncated_and_extended_bytes_are_refused(records, encode, decode, data) -> None:
    encoded = encode(data.draw(records))
    for other in (encoded[:-1], encoded + b"\x00", encoded + b"\x7a\x00", b"\x00" + encoded):
        with pytest.raises(EncodingError):
            decode(other)


@pytest.mark.parametrize("flag", [0, 4, 2**63])
def test_unknown_flags_are_refused(flag) -> None:
    vote = CommitSig(BlockIdFlag.COMMIT, b"\x02" * 20, 5, b"\x03" * 64).encode()[2:]
    commit = proto.number(1, 3) + proto.message(3, BlockId(b"\x01" * 32).encode())
    with pytest.raises(EncodingError):
        decode_commit(commit + proto.message(4, proto.number(1, flag) + vote))


def test_a_signed_header_needs_both_halves() -> None:
    for encoded in (b"", proto.message(1, b""), proto.message(2, b"")):
        with pytest.raises(EncodingError):
            decode_signed_header(encoded)
