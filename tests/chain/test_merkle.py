from __future__ import annotations

import contextlib
import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keephold.base.errors import EncodingError, ProofInvalid
from keephold.chain import merkle

LEAVES = st.lists(st.binary(max_size=40), min_size=1, max_size=40)


def reference(leaves: list[bytes]) -> bytes:
    """RFC 6962, section 2.1, as written there."""
    if not leaves:
        return hashlib.sha256(b"").digest()
    if len(leaves) == 1:
        return hashlib.sha256(b"\x00" + leaves[0]).digest()
    split = 1
    while split * 2 < len(leaves):
        split *= 2
    return hashlib.sha256(b"\x01" + reference(leaves[:split]) + reference(leaves[split:])).digest()


@given(st.lists(st.binary(max_size=40), max_size=70))
def test_root_is_that_of_the_rfc(leaves) -> None:
    assert merkle.root(leaves) == reference(leaves)


@given(LEAVES, st.data())
def test_each_leaf_is_proven_at_its_place_and_nowhere_else(leaves, data) -> None:
    index = data.draw(st.integers(0, len(leaves) - 1))
    root = merkle.root(leaves)
    proof = merkle.Proof.decode(merkle.prove(leaves, index).encode())
    merkle.verify(proof, root, leaves[index], index, len(leaves))
    for place, leaf in enumerate(leaves):
        if leaf != leaves[index]:
            with pytest.raises(ProofInvalid):
                merkle.verify(proof, root, leaves[index], place, len(leaves))
            with pytest.raises(ProofInvalid):
                merkle.verify(proof, root, leaf, index, len(leaves))


@given(LEAVES, st.data())
def test_an_altered_proof_is_refused(leaves, data) -> None:
    index = data.draw(st.integers(0, len(leaves) - 1))
    root, proof = merkle.root(leaves), merkle.prove(leaves, index)
    longer = merkle.Proof((*proof.siblings, root))
    altered = [
        longer,
        *(merkle.Proof(proof.siblings[:at] + proof.siblings[at + 1 :]) for at in range(len(proof.siblings))),
    ]
    for at, sibling in enumerate(proof.siblings):
        flipped = bytes([sibling[0] ^ 1]) + sibling[1:]
        altered.append(merkle.Proof((*proof.siblings[:at], flipped, *proof.siblings[at + 1 :])))
    for other in altered:
        with pytest.raises(ProofInvalid):
            merkle.verify(other, root, leaves[index], index, len(leaves))


def test_a_node_does_not_pass_for_a_leaf() -> None:
    leaves = [b"a", b"b", b"c"]
    node = merkle.leaf_hash(b"a") + merkle.leaf_hash(b"b")
    with pytest.raises(ProofInvalid):
        merkle.verify(merkle.Proof((merkle.leaf_hash(b"c"),)), merkle.root(leaves), node, 0, 2)


@pytest.mark.parametrize(("index", "total"), [(0, 0), (3, 3), (-1, 3), (5, 3)])
def test_a_place_outside_the_tree_is_refused(index, total) -> None:
    with pytest.raises(ProofInvalid):
        merkle.verify(merkle.Proof(()), merkle.EMPTY, b"", index, total)


def test_there_is_no_proof_outside_the_leaves() -> None:
    for index in (-1, 1):
        with pytest.raises(IndexError):
            merkle.prove([b"a"], index)


@given(st.binary(max_size=100))
def test_a_proof_is_accepted_or_an_encoding_error(encoded) -> None:
    with contextlib.suppress(EncodingError):
        assert merkle.Proof.decode(encoded).encode() == encoded


def test_a_proof_has_at_most_64_siblings_of_32_bytes() -> None:
    merkle.Proof((b"\x00" * 32,) * 64)
    for siblings in ((b"\x00" * 32,) * 65, (b"\x00" * 31,)):
        with pytest.raises(EncodingError):
            merkle.Proof(siblings)


def test_results_commit_to_the_deterministic_fields_only() -> None:
    assert merkle.result_leaf(0, b"") == b""
    assert merkle.result_leaf(1, b"ab").hex() == "080112026162"
    assert merkle.result_leaf(0, b"", 1, 2).hex() == "28013002"
