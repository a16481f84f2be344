from __future__ import annotations

import contextlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from keephold.base.errors import EncodingError, ProofInvalid
from keephold.chain.sparse import EMPTY_ROOT, MapProof, SparseMap, verify_map
from keephold.crypto.hashing import tagged_hash
from keephold.crypto.labels import MAP_LEAF, MAP_NODE, MAP_VALUE

# Few distinct bytes at both ends: many shared prefixes, deep paths, frequent hits.
KEYS = st.builds(
    lambda head, tail: bytes(head) + b"\x55" * (32 - len(head) - len(tail)) + bytes(tail),
    st.lists(st.sampled_from([0, 1, 128, 255]), max_size=2),
    st.lists(st.sampled_from([0, 1, 128, 255]), max_size=2),
)
MAPS = st.dictionaries(KEYS, st.binary(max_size=5), max_size=25)


def reference(entries: dict[bytes, bytes]) -> bytes:
    """The root by the definition in the module's docstring, without any structure."""
    if not entries:
        return tagged_hash(MAP_NODE)
    if len(entries) == 1:
        [(key, value)] = entries.items()
        return tagged_hash(MAP_LEAF, key, tagged_hash(MAP_VALUE, value))
    bits = {key: f"{int.from_bytes(key, 'big'):0256b}" for key in entries}
    depth = next(at for at in range(256) if len({word[at] for word in bits.values()}) == 2)
    sides = [reference({key: entries[key] for key in entries if bits[key][depth] == side}) for side in "01"]
    return tagged_hash(MAP_NODE, bytes([depth]), *sides)


def put_all(entries) -> SparseMap:
    result = SparseMap.empty()
    for key, value in entries:
        result = result.put(key, value)
    return result


@given(MAPS, st.randoms())
def test_root_depends_on_the_entries_alone(entries, random) -> None:
    shuffled = list(entries.items())
    random.shuffle(shuffled)
    expected = reference(entries)
    assert put_all(shuffled).root == expected
    assert SparseMap.of(shuffled).root == expected
    assert SparseMap.empty().update(shuffled).root == expected
    assert dict(SparseMap.of(shuffled)) == entries
    assert [key for key, _ in put_all(shuffled)] == sorted(entries)


@given(MAPS, MAPS)
def test_update_is_put_and_delete_and_leaves_the_old_map(before, after) -> None:
    old = SparseMap.of(before.items())
    root = old.root
    changes = [*((key, None) for key in before if key not in after), *after.items()]
    new = old.update(changes)
    assert new.root == reference(after)
    assert len(new) == len(after)
    assert old.root == root == reference(before)
    assert dict(old) == before


@given(MAPS, KEYS)
def test_proofs_say_what_the_map_says_and_nothing_else(entries, key) -> None:
    tree = SparseMap.of(entries.items())
    proof = MapProof.decode(tree.prove(key).encode())
    value = entries.get(key)
    verify_map(tree.root, key, proof, value)
    for lie in (None, b"", b"other"):
        if lie != value:
            with pytest.raises(ProofInvalid):
                verify_map(tree.root, key, proof, lie)
    with pytest.raises(ProofInvalid):
        verify_map(tagged_hash(MAP_LEAF), key, proof, value)


@given(MAPS, KEYS, KEYS)
def test_a_proof_of_one_key_never_hides_another(entries, present, asked) -> None:
    """No proof that the map can make, for whatever key, shows a present key as absent or with another value."""
    entries[present] = b"here"
    tree = SparseMap.of(entries.items())
    stolen = tree.prove(asked)
    with pytest.raises(ProofInvalid):
        verify_map(tree.root, present, stolen, None)
    with pytest.raises(ProofInvalid):
        verify_map(tree.root, present, stolen, b"elsewhere")


@given(MAPS.filter(bool), KEYS, st.data())
def test_a_flipped_bit_of_a_proof_is_refused(entries, key, data) -> None:
    tree = SparseMap.of(entries.items())
    encoded = bytearray(tree.prove(key).encode())
    at = data.draw(st.integers(0, len(encoded) * 8 - 1))
    encoded[at // 8] ^= 1 << at % 8
    with pytest.raises((EncodingError, ProofInvalid)):
        verify_map(tree.root, key, MapProof.decode(bytes(encoded)), entries.get(key))


@given(MAPS.filter(bool), KEYS)
def test_a_truncated_path_proves_nothing(entries, key) -> None:
    tree = SparseMap.of(entries.items())
    proof = tree.prove(key)
    for keep in range(len(proof.depths)):
        for cut in (
            MapProof(proof.depths[:keep], proof.siblings[:keep], proof.other),
            MapProof(proof.depths[keep + 1 :], proof.siblings[keep + 1 :], proof.other),
        ):
            with pytest.raises(ProofInvalid):
                verify_map(tree.root, key, cut, entries.get(key))


@given(st.binary(max_size=200))
def test_a_proof_is_accepted_or_an_encoding_error(encoded) -> None:
    with contextlib.suppress(EncodingError):
        assert MapProof.decode(encoded).encode() == encoded


@pytest.mark.parametrize(
    ("depths", "siblings", "other"),
    [
        ((1,), (), None),
        ((1, 1), (b"\x00" * 32,) * 2, None),
        ((2, 1), (b"\x00" * 32,) * 2, None),
        ((256,), (b"\x00" * 32,), None),
        ((-1,), (b"\x00" * 32,), None),
        ((1,), (b"\x00" * 31,), None),
        ((), (), (b"\x00" * 31, b"\x00" * 32)),
    ],
)
def test_illegal_proofs_do_not_exist(depths, siblings, other) -> None:
    with pytest.raises(EncodingError):
        MapProof(depths, siblings, other)


def test_absence_is_not_proven_by_the_keys_own_leaf() -> None:
    key, value_hash = b"\x07" * 32, tagged_hash(MAP_VALUE, b"v")
    tree = SparseMap.empty().put(key, b"v")
    with pytest.raises(ProofInvalid, match="present"):
        verify_map(tree.root, key, MapProof((), (), (key, value_hash)), None)


def test_a_proof_of_a_value_carries_no_other_leaf() -> None:
    key = b"\x07" * 32
    tree = SparseMap.empty().put(key, b"v")
    with pytest.raises(ProofInvalid, match="absent"):
        verify_map(tree.root, key, MapProof((), (), (b"\x08" * 32, b"\x09" * 32)), b"v")


def test_a_path_without_a_leaf_is_refused() -> None:
    tree = put_all([(b"\x00" * 32, b"a"), (b"\xff" * 32, b"b")])
    path = tree.prove(b"\x00" * 32)
    with pytest.raises(ProofInvalid, match="without a leaf"):
        verify_map(tree.root, b"\x00" * 32, path, None)


def test_the_empty_map() -> None:
    tree = SparseMap.empty()
    key = b"\x01" * 32
    assert (tree.root, len(tree), tree.get(key), list(tree)) == (EMPTY_ROOT, 0, None, [])
    verify_map(tree.root, key, tree.prove(key), None)
    assert tree.delete(key) is tree
    assert tree.put(key, b"").delete(key).root == EMPTY_ROOT
    assert tree.put(key, b"").get(key) == b""


def test_the_deepest_path_has_256_nodes() -> None:
    """One key for each bit, and zero: every bit of zero's path splits."""
    keys = [(1 << bit).to_bytes(32, "big") for bit in range(256)] + [bytes(32)]
    tree = put_all([(key, key) for key in keys])
    proof = tree.prove(bytes(32))
    assert proof.depths == tuple(range(256))
    verify_map(tree.root, bytes(32), MapProof.decode(proof.encode()), bytes(32))
    assert tree.root == SparseMap.of((key, key) for key in keys).root


def test_unchanged_puts_and_deletes_return_the_same_map() -> None:
    tree = put_all([(b"\x01" * 32, b"a"), (b"\x02" * 32, b"b")])
    assert tree.put(b"\x01" * 32, b"a") is tree
    assert tree.delete(b"\x03" * 32) is tree


def test_keys_have_32_bytes() -> None:
    tree = SparseMap.empty()
    for call in (
        tree.get,
        tree.delete,
        tree.prove,
        lambda key: tree.put(key, b""),
        lambda key: SparseMap.of([(key, b"")]),
    ):
        with pytest.raises(ValueError, match="32 bytes"):
            call(b"\x00" * 31)
    with pytest.raises(ProofInvalid):
        verify_map(EMPTY_ROOT, b"", MapProof((), ()), None)


class AgainstDict(RuleBasedStateMachine):
    """Random puts, deletes and snapshots, against a dictionary."""

    def __init__(self) -> None:
        super().__init__()
        self.tree = SparseMap.empty()
        self.entries: dict[bytes, bytes] = {}
        self.snapshots: list[tuple[SparseMap, dict[bytes, bytes]]] = []

    @rule(key=KEYS, value=st.binary(max_size=3))
    def put(self, key, value) -> None:
        self.tree = self.tree.put(key, value)
        self.entries[key] = value

    @rule(key=KEYS)
    def delete(self, key) -> None:
        self.tree = self.tree.delete(key)
        self.entries.pop(key, None)

    @rule()
    def snapshot(self) -> None:
        self.snapshots.append((self.tree, dict(self.entries)))

    @rule(key=KEYS)
    def get(self, key) -> None:
        assert self.tree.get(key) == self.entries.get(key)

    @rule(key=KEYS)
    def prove(self, key) -> None:
        verify_map(self.tree.root, key, self.tree.prove(key), self.entries.get(key))

    @invariant()
    def agrees(self) -> None:
        assert dict(self.tree) == self.entries
        assert len(self.tree) == len(self.entries)
        for tree, entries in self.snapshots[-2:]:
            assert dict(tree) == entries

    def teardown(self) -> None:
        assert self.tree.root == reference(self.entries)
        for tree, entries in self.snapshots:
            assert tree.root == reference(entries)


TestAgainstDict = AgainstDict.TestCase
TestAgainstDict.settings = settings(max_examples=40, stateful_step_count=30, deadline=None)


@given(MAPS, KEYS)
def test_what_comes_after_a_key(entries, start) -> None:
    whole = SparseMap.of(entries.items())
    for after in (start, bytes(32), *entries):
        assert list(whole.after(after)) == sorted(item for item in entries.items() if item[0] > after)
