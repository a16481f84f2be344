"""Headers and commits, in CometBFT's bytes (protobuf package `tendermint.types`, v0.38).

A record that exists is well-formed: hashes are empty or 32 bytes, addresses 20, integers inside their Go types, an
absent vote carries nothing. Whether it is *true* is the light client's business.

Times are integer nanoseconds since the Unix epoch; an absent vote has Go's zero time, year 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from functools import cached_property
from typing import Final

from keephold.base.errors import EncodingError
from keephold.base.ids import HeaderHash
from keephold.chain import merkle, proto
from keephold.chain.proto import ZERO_TIME
from keephold.chain.validators import Address
from keephold.crypto.hashing import sha256

BLOCK_PROTOCOL: Final = 11
"""The only version of the block format that this package knows."""

MAX_CHAIN_ID: Final = 50
_MAX_INT32: Final = 2**31 - 1
_MAX_INT64: Final = 2**63 - 1
_HASH_SIZES: Final = (0, 32)
_NO_ADDRESS: Final = Address(b"")


def consensus_hash(max_bytes: int, max_gas: int = -1) -> bytes:
    """Return a header's `consensus_hash`: of the block limits, in bytes and gas (-1: unlimited)."""
    return sha256(proto.number(1, max_bytes) + proto.number(2, max_gas))


class BlockIdFlag(IntEnum):
    """What one validator said in a commit."""

    ABSENT = 1
    COMMIT = 2
    NIL = 3


@dataclass(frozen=True, slots=True)
class BlockId:
    """What a commit commits to: a header and the parts in which the block was gossiped. Empty in block 1."""

    hash: bytes = b""
    """Header hash, 32 bytes; empty for none."""
    parts_total: int = 0
    """Number of parts, uint32."""
    parts_hash: bytes = b""
    """Root of the parts, 32 bytes; empty for none."""

    def __post_init__(self) -> None:
        if len(self.hash) not in _HASH_SIZES or len(self.parts_hash) not in _HASH_SIZES:
            raise EncodingError("block id: a hash has 32 bytes")
        if not 0 <= self.parts_total < 2**32:
            raise EncodingError("block id: number of parts")

    def encode(self) -> bytes:
        """Return the `BlockID` message, which is also its `CanonicalBlockID`."""
        parts = proto.number(1, self.parts_total) + proto.data(2, self.parts_hash)
        return proto.data(1, self.hash) + proto.message(2, parts)


NO_BLOCK: Final = BlockId()
"""The block before the first."""


@dataclass(frozen=True)
class Header:
    """One block's header; its hash commits to every field."""

    chain_id: str
    """At most 50 bytes of UTF-8."""
    height: int
    """From 1."""
    time_ns: int
    last_block_id: BlockId
    last_commit_hash: bytes
    """`Commit.hash()` of the block before; `merkle.EMPTY` in block 1."""
    data_hash: bytes
    """`merkle.data_root` of the transactions."""
    validators_hash: bytes
    next_validators_hash: bytes
    consensus_hash: bytes
    app_hash: bytes
    """Root of the map after the block *before* this one."""
    last_results_hash: bytes
    """Root of the `merkle.result_leaf` of the block before this one."""
    evidence_hash: bytes
    proposer_address: Address
    """20 bytes."""
    version_block: int = BLOCK_PROTOCOL
    version_app: int = 0

    def __post_init__(self) -> None:
        if len(self.chain_id.encode("utf-8", "surrogatepass")) > MAX_CHAIN_ID or not self.chain_id.isprintable():
            raise EncodingError("header: chain id")
        if not 1 <= self.height <= _MAX_INT64:
            raise EncodingError("header: height")
        if not ZERO_TIME <= self.time_ns <= proto.LAST_TIME:
            raise EncodingError("header: time")
        if not (0 <= self.version_block < 2**64 and 0 <= self.version_app < 2**64):
            raise EncodingError("header: version")
        for value in self._hashes:
            if len(value) not in _HASH_SIZES:
                raise EncodingError("header: a hash has 32 bytes")
        if len(self.proposer_address) != 20:
            raise EncodingError("header: proposer address")

    @property
    def _hashes(self) -> tuple[bytes, ...]:
        """The eight hashes, in their order on the wire and in the tree."""
        return (
            self.last_commit_hash,
            self.data_hash,
            self.validators_hash,
            self.next_validators_hash,
            self.consensus_hash,
            self.app_hash,
            self.last_results_hash,
            self.evidence_hash,
        )

    def hash(self) -> HeaderHash:
        """Return the 32-byte header hash (computed once): the root over `leaves()`."""
        return self._hash

    @cached_property
    def _hash(self) -> HeaderHash:
        return HeaderHash(merkle.root(self.leaves()))

    def leaves(self) -> list[bytes]:
        """Return the 14 leaves of the header's tree, for its hash and for proofs of single fields."""
        return [
            proto.number(1, self.version_block) + proto.number(2, self.version_app),
            proto.data(1, self.chain_id.encode()),
            proto.number(1, self.height),
            proto.timestamp(self.time_ns),
            self.last_block_id.encode(),
            *(proto.data(1, value) for value in self._hashes),
            proto.data(1, self.proposer_address),
        ]


@dataclass(frozen=True, slots=True)
class CommitSig:
    """One validator's entry in a commit."""

    flag: BlockIdFlag
    address: Address = _NO_ADDRESS
    """20 bytes; empty if absent."""
    time_ns: int = ZERO_TIME
    """Time of the vote; Go's zero time if absent."""
    signature: bytes = b""
    """1 to 64 bytes over the vote's sign bytes; empty if absent."""

    def __post_init__(self) -> None:
        if self.flag is BlockIdFlag.ABSENT:
            if self.address or self.signature or self.time_ns != ZERO_TIME:
                raise EncodingError("commit: an absent vote carries something")
        elif len(self.address) != 20 or not 1 <= len(self.signature) <= 64:
            raise EncodingError("commit: size of an address or signature")
        elif not ZERO_TIME <= self.time_ns <= proto.LAST_TIME:
            raise EncodingError("commit: time of a vote")

    def encode(self) -> bytes:
        """Return the `CommitSig` message, which is also the leaf under `last_commit_hash`."""
        return (
            proto.number(1, self.flag)
            + proto.data(2, self.address)
            + proto.message(3, proto.timestamp(self.time_ns))
            + proto.data(4, self.signature)
        )


ABSENT: Final = CommitSig(BlockIdFlag.ABSENT)
"""A validator that did not vote in time."""


@dataclass(frozen=True, slots=True)
class Commit:
    """The precommits that made a block final: one entry for each validator of its height, in the set's order."""

    height: int
    """From 1."""
    round: int
    """Consensus round, from 0."""
    block_id: BlockId
    signatures: tuple[CommitSig, ...]
    """At least one."""

    def __post_init__(self) -> None:
        if not 1 <= self.height <= _MAX_INT64:
            raise EncodingError("commit: height")
        if not 0 <= self.round <= _MAX_INT32:
            raise EncodingError("commit: round")
        if not self.signatures or not self.block_id.hash:
            raise EncodingError("commit: empty")

    def hash(self) -> bytes:
        """Return the `last_commit_hash` of the next header."""
        return merkle.root([signature.encode() for signature in self.signatures])


@dataclass(frozen=True, slots=True)
class SignedHeader:
    """A header and the commit that is claimed to make it final."""

    header: Header
    commit: Commit
