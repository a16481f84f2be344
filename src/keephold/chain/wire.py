"""Bytes of headers, commits and signed headers, both ways: the wire format of block streams and sealed checkpoints.

The messages are CometBFT's; the decoders are strict (see `proto`), raise EncodingError and nothing else, and satisfy
`decode(encode(x)) == x` and `encode(decode(b)) == b`.
"""

from __future__ import annotations

from keephold.base.errors import EncodingError
from keephold.chain import proto
from keephold.chain.header import BlockId, BlockIdFlag, Commit, CommitSig, Header, SignedHeader
from keephold.chain.validators import Address


def encode_header(header: Header) -> bytes:
    """Return the `tendermint.types.Header` message."""
    return b"".join(
        (
            proto.message(1, proto.number(1, header.version_block) + proto.number(2, header.version_app)),
            proto.data(2, header.chain_id.encode()),
            proto.number(3, header.height),
            proto.message(4, proto.timestamp(header.time_ns)),
            proto.message(5, header.last_block_id.encode()),
            proto.data(6, header.last_commit_hash),
            proto.data(7, header.data_hash),
            proto.data(8, header.validators_hash),
            proto.data(9, header.next_validators_hash),
            proto.data(10, header.consensus_hash),
            proto.data(11, header.app_hash),
            proto.data(12, header.last_results_hash),
            proto.data(13, header.evidence_hash),
            proto.data(14, header.proposer_address),
        )
    )


def encode_commit(commit: Commit) -> bytes:
    """Return the `tendermint.types.Commit` message."""
    return b"".join(
        (
            proto.number(1, commit.height),
            proto.number(2, commit.round),
            proto.message(3, commit.block_id.encode()),
            *(proto.message(4, signature.encode()) for signature in commit.signatures),
        )
    )


def encode_signed_header(signed: SignedHeader) -> bytes:
    """Return the `tendermint.types.SignedHeader` message."""
    return proto.message(1, encode_header(signed.header)) + proto.message(2, encode_commit(signed.commit))


def decode_header(encoded: bytes) -> Header:
    """Return the header, or raise EncodingError."""
    return _header(proto.Reader(encoded))


def decode_commit(encoded: bytes) -> Commit:
    """Return the commit, or raise EncodingError."""
    return _commit(proto.Reader(encoded))


def decode_signed_header(encoded: bytes) -> SignedHeader:
    """Return the signed header, or raise EncodingError."""
    reader = proto.Reader(encoded)
    signed = SignedHeader(_header(reader.message(1)), _commit(reader.message(2)))
    reader.finish()
    return signed


def _header(reader: proto.Reader) -> Header:
    version = reader.message(1)
    version_block, version_app = version.unsigned(1), version.unsigned(2)
    version.finish()
    header = Header(
        # Arguments are evaluated in this order: the order of the fields.
        version_block=version_block,
        version_app=version_app,
        chain_id=reader.text(2),
        height=reader.signed(3),
        time_ns=reader.timestamp(4),
        last_block_id=_block_id(reader.message(5)),
        last_commit_hash=reader.data(6),
        data_hash=reader.data(7),
        validators_hash=reader.data(8),
        next_validators_hash=reader.data(9),
        consensus_hash=reader.data(10),
        app_hash=reader.data(11),
        last_results_hash=reader.data(12),
        evidence_hash=reader.data(13),
        proposer_address=Address(reader.data(14)),
    )
    reader.finish()
    return header


def _block_id(reader: proto.Reader) -> BlockId:
    block_hash = reader.data(1)
    parts = reader.message(2)
    total, parts_hash = parts.unsigned(1, bits=32), parts.data(2)
    parts.finish()
    reader.finish()
    return BlockId(block_hash, total, parts_hash)


def _commit(reader: proto.Reader) -> Commit:
    commit = Commit(
        height=reader.signed(1),
        round=reader.signed(2, bits=32),
        block_id=_block_id(reader.message(3)),
        signatures=tuple(_commit_sig(inner) for inner in reader.messages(4)),
    )
    reader.finish()
    return commit


def _commit_sig(reader: proto.Reader) -> CommitSig:
    try:
        flag = BlockIdFlag(reader.unsigned(1))
    except ValueError as error:
        raise EncodingError("commit: unknown flag") from error
    entry = CommitSig(flag, Address(reader.data(2)), reader.timestamp(3), reader.data(4))
    reader.finish()
    return entry
