"""RFC 6962 trees over SHA-256, as CometBFT uses them for headers, transactions, results and validator sets.

A leaf is hashed behind 00 and a node behind 01, so neither passes for the other; a tree of n leaves splits at the
largest power of two below n. Pairing neighbours level by level and promoting an odd last one gives the same tree.

A proof holds the siblings only. `index` and `total` decide which sibling lies left or right, so they come from the
verifier, who must know them from elsewhere wherever a position or a count means something.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Self

from keephold.base.errors import EncodingError, ProofInvalid
from keephold.chain import proto
from keephold.crypto.hashing import sha256

EMPTY: Final = sha256(b"")
"""Root of a tree without leaves."""

_HASH: Final = 32
_MAX_SIBLINGS: Final = 64


@dataclass(frozen=True, slots=True)
class Proof:
    """Inclusion of one leaf: its siblings, from the leaf upwards."""

    siblings: tuple[bytes, ...]
    """Hashes of 32 bytes each; at most 64."""

    def __post_init__(self) -> None:
        if len(self.siblings) > _MAX_SIBLINGS or any(len(sibling) != _HASH for sibling in self.siblings):
            raise EncodingError("not a list of at most 64 hashes")

    def encode(self) -> bytes:
        """Return the siblings, concatenated."""
        return b"".join(self.siblings)

    @classmethod
    def decode(cls, encoded: bytes) -> Self:
        """Return the proof, or raise EncodingError."""
        return cls(tuple(encoded[at : at + _HASH] for at in range(0, len(encoded), _HASH)))


def leaf_hash(leaf: bytes) -> bytes:
    """Return the hash of a leaf."""
    return sha256(b"\x00" + leaf)


def node_hash(left: bytes, right: bytes) -> bytes:
    """Return the hash of an inner node."""
    return sha256(b"\x01" + left + right)


def root(leaves: Sequence[bytes]) -> bytes:
    """Return the 32-byte root."""
    if not leaves:
        return EMPTY
    level = [leaf_hash(leaf) for leaf in leaves]
    while len(level) > 1:
        level = _parents(level)
    return level[0]


def prove(leaves: Sequence[bytes], index: int) -> Proof:
    """Return the proof of `leaves[index]`; raises IndexError outside the leaves, which is the caller's mistake."""
    if not 0 <= index < len(leaves):
        raise IndexError(index)
    siblings = []
    level = [leaf_hash(leaf) for leaf in leaves]
    while len(level) > 1:
        if index ^ 1 < len(level):
            siblings.append(level[index ^ 1])
        level = _parents(level)
        index >>= 1
    return Proof(tuple(siblings))


def verify(proof: Proof, expected_root: bytes, leaf: bytes, index: int, total: int) -> None:
    """Return if `leaf` is the leaf `index` of the `total` under `expected_root`; raise ProofInvalid otherwise."""
    if not 0 <= index < total:
        raise ProofInvalid(f"leaf {index} of {total}")
    current = leaf_hash(leaf)
    siblings = iter(proof.siblings)
    last = total - 1
    while last:
        # A node without a neighbour on its right is promoted unhashed and has no sibling on this level.
        if index & 1 or index < last:
            sibling = next(siblings, None)
            if sibling is None:
                raise ProofInvalid("too few siblings")
            current = node_hash(sibling, current) if index & 1 else node_hash(current, sibling)
        index >>= 1
        last >>= 1
    if next(siblings, None) is not None:
        raise ProofInvalid("too many siblings")
    if current != expected_root:
        raise ProofInvalid("leads to another root")


def data_root(transactions: Sequence[bytes]) -> bytes:
    """Return a header's `data_hash`: its leaves are the SHA-256 of each transaction."""
    return root([sha256(transaction) for transaction in transactions])


def result_leaf(code: int, data: bytes, gas_wanted: int = 0, gas_used: int = 0) -> bytes:
    """Return the leaf of one transaction's result under `last_results_hash`.

    These are the deterministic fields of `ExecTxResult`; log, info, events and codespace are not committed.
    """
    return proto.number(1, code) + proto.data(2, data) + proto.number(5, gas_wanted) + proto.number(6, gas_used)


def _parents(level: list[bytes]) -> list[bytes]:
    parents = [node_hash(level[at], level[at + 1]) for at in range(0, len(level) - 1, 2)]
    if len(level) & 1:
        parents.append(level[-1])
    return parents
