"""A persistent, path-compressed sparse Merkle map from 32-byte keys to byte strings.

**Shape.** Read keys as 256 bits, the first bit first. A map of one entry is its leaf. Otherwise let *d* be the first
bit in which two of its keys differ: all keys agree before it, so the map is a node (d, left, right) over the non-empty
maps of the keys with bit d clear and set. The entries alone decide the shape, hence the root: order of insertion and
deleted keys leave no trace. Depths grow strictly from the root down, and chains of single children do not exist.

**Hashes.** leaf = H(leaf label, key, H(value label, value)); node = H(node label, d, left, right); the empty map is
H(node label). Labels and lengths are framed, so no leaf, node or value hashes the same bytes as another.

**Why proofs are sound.** Assume a collision-free H and a root that an honest map has.

1. Searching for key k means: at a node (d, left, right) go left or right by bit d of k, until a leaf. It ends at one
   leaf, without ever comparing bits that compression skipped.
2. A proof lists (d, sibling) for each node of a path, and the leaf at its end. The verifier folds it up, *placing each
   sibling by bit d of the k it asked for*. If this gives the root, then each (d, left, right) is the very node of the
   honest map, by collision resistance from the root down: so the path is the search for k, and the leaf its end.
3. If k is in the map, the search ends at k's leaf: each node above that leaf keeps k on the side of its bit d. So an
   end at another key proves that k is absent, and an end at k proves the value. Both are never possible.

The skipped bits need no commitment: step 3 compares the whole key at the leaf. What a verifier does *not* check, since
step 2 implies it: that depths grow, and that the other leaf's key agrees with the path.

**Cost.** Updates copy the path of nodes and share the rest; every older version stays valid, so a snapshot is a
reference and a reader never waits. Hashes are computed on first demand and kept; two threads that race write the same
value. Expected depth is the binary logarithm of the size, for keys that are hashes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final, final

from keephold.base.errors import EncodingError, ProofInvalid
from keephold.crypto.hashing import frames, sha256, tagged_hash
from keephold.crypto.labels import MAP_LEAF, MAP_NODE, MAP_VALUE

KEY_SIZE: Final = 32
EMPTY_ROOT: Final = tagged_hash(MAP_NODE)
"""Root of the map without entries."""

_BITS: Final = 256
_LEAF: Final = frames(MAP_LEAF, KEY_SIZE, 32)
_NODE: Final = frames(MAP_NODE, 1, 32, 32)
_BYTE: Final = tuple(bytes((depth,)) for depth in range(_BITS))


def _leaf_hash(key: bytes, value_hash: bytes) -> bytes:
    return sha256(_LEAF[0] + key + _LEAF[1] + value_hash)


def _node_hash(depth: int, left: bytes, right: bytes) -> bytes:
    return sha256(_NODE[0] + _BYTE[depth] + _NODE[1] + left + _NODE[2] + right)


def _value_hash(value: bytes) -> bytes:
    return tagged_hash(MAP_VALUE, value)


def _bit(key: bytes, depth: int) -> int:
    return key[depth >> 3] >> (7 - (depth & 7)) & 1


@final
class _Leaf:
    __slots__ = ("hash", "key", "value")

    def __init__(self, key: bytes, value: bytes) -> None:
        self.key: Final = key
        self.value: Final = value
        self.hash: bytes | None = None


@final
class _Node:
    __slots__ = ("depth", "hash", "left", "right")

    def __init__(self, depth: int, left: _Tree, right: _Tree) -> None:
        self.depth: Final = depth
        self.left: Final = left
        self.right: Final = right
        self.hash: bytes | None = None


_Tree = _Leaf | _Node


@dataclass(frozen=True, slots=True)
class MapProof:
    """The search path of one key, from the root down, and the other leaf it may have ended at."""

    depths: tuple[int, ...]
    """Bit at which each node of the path splits: strictly growing, below 256."""
    siblings: tuple[bytes, ...]
    """For each node, the 32-byte hash of the side not taken."""
    other: tuple[bytes, bytes] | None = None
    """Key and value hash of the leaf found instead; None if the key itself was found, or the map is empty."""

    def __post_init__(self) -> None:
        if len(self.depths) != len(self.siblings) or len(self.depths) > _BITS:
            raise EncodingError("map proof: one sibling for each depth")
        if any(left >= right for left, right in zip((-1, *self.depths), (*self.depths, _BITS), strict=True)):
            raise EncodingError("map proof: depths do not grow")
        if any(len(part) != 32 for part in self.siblings) or any(len(part) != 32 for part in self.other or ()):
            raise EncodingError("map proof: a hash has 32 bytes")

    def encode(self) -> bytes:
        """Return count (2 bytes, big-endian), depths, siblings, and the other leaf (64 bytes) if there is one."""
        head = len(self.depths).to_bytes(2, "big") + bytes(self.depths)
        return head + b"".join(self.siblings) + b"".join(self.other or ())

    @staticmethod
    def decode(encoded: bytes) -> MapProof:
        """Return the proof, or raise EncodingError."""
        count = int.from_bytes(encoded[:2], "big")
        body = 2 + count
        end = body + 32 * count
        if len(encoded) < 2 or len(encoded) not in (end, end + 64):
            raise EncodingError("map proof: length")
        siblings = tuple(encoded[at : at + 32] for at in range(body, end, 32))
        other = (encoded[end : end + 32], encoded[end + 32 :]) if len(encoded) > end else None
        return MapProof(tuple(encoded[2:body]), siblings, other)


@final
class SparseMap:
    """An immutable map; every change returns another map. Start from `SparseMap.empty()` or `SparseMap.of(items)`.

    A key that is not 32 bytes long is the caller's mistake: ValueError.
    """

    __slots__ = ("_size", "_tree")

    def __init__(self, tree: _Tree | None, size: int) -> None:
        self._tree: Final = tree
        self._size: Final = size

    @staticmethod
    def empty() -> SparseMap:
        """Return the map without entries."""
        return _EMPTY

    @staticmethod
    def of(items: Iterable[tuple[bytes, bytes]]) -> SparseMap:
        """Build a map at once, several times faster than one `put` after another; the last of equal keys wins."""
        entries = sorted(dict(items).items())
        for key, _ in entries:
            _check(key)
        if not entries:
            return _EMPTY
        return SparseMap(_build([_Leaf(key, value) for key, value in entries], 0, len(entries)), len(entries))

    def __len__(self) -> int:
        return self._size

    def __iter__(self) -> Iterator[tuple[bytes, bytes]]:
        """Yield (key, value) in ascending order of keys."""
        stack: list[_Tree] = [] if self._tree is None else [self._tree]
        while stack:
            tree = stack.pop()
            if isinstance(tree, _Node):
                stack.append(tree.right)
                stack.append(tree.left)
            else:
                yield tree.key, tree.value

    def after(self, key: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Yield the entries whose keys are greater than `key`, in ascending order, without visiting those before."""
        _check(key)
        is_behind = False
        stack: list[_Tree] = [] if self._tree is None else [self._tree]
        while stack:
            tree = stack.pop()
            if isinstance(tree, _Node):
                stack.append(tree.right)
                if is_behind or _greatest(tree.left) > key:
                    stack.append(tree.left)
            elif is_behind or tree.key > key:
                is_behind = True
                yield tree.key, tree.value

    def get(self, key: bytes) -> bytes | None:
        """Return the value of `key`, or None."""
        _check(key)
        tree = self._tree
        while isinstance(tree, _Node):
            depth = tree.depth
            tree = tree.right if key[depth >> 3] >> (7 - (depth & 7)) & 1 else tree.left
        return tree.value if tree is not None and tree.key == key else None

    def put(self, key: bytes, value: bytes) -> SparseMap:
        """Return the map in which `key` has this value."""
        _check(key)
        if self._tree is None:
            return SparseMap(_Leaf(key, value), 1)
        path, found = _descend(self._tree, key)
        leaf = _Leaf(key, value)
        if found.key == key:
            return self if found.value == value else SparseMap(_rebuild(path, key, leaf), self._size)
        # The new node sits above every node of the path that splits deeper than the first differing bit.
        difference = _BITS - (int.from_bytes(key, "big") ^ int.from_bytes(found.key, "big")).bit_length()
        below: _Tree = found
        while path and path[-1].depth > difference:
            below = path.pop()
        node = _Node(difference, below, leaf) if _bit(key, difference) else _Node(difference, leaf, below)
        return SparseMap(_rebuild(path, key, node), self._size + 1)

    def delete(self, key: bytes) -> SparseMap:
        """Return the map without `key`: the same map if it is not there."""
        _check(key)
        if self._tree is None:
            return self
        path, found = _descend(self._tree, key)
        if found.key != key:
            return self
        if not path:
            return _EMPTY
        parent = path.pop()
        sibling = parent.left if _bit(key, parent.depth) else parent.right
        return SparseMap(_rebuild(path, key, sibling), self._size - 1)

    def update(self, items: Iterable[tuple[bytes, bytes | None]]) -> SparseMap:
        """Return the map after these changes, in order; None deletes. Inner hashes are computed once, at the end."""
        if self._tree is None:
            return SparseMap.of((key, value) for key, value in dict(items).items() if value is not None)
        result = self
        for key, value in items:
            result = result.delete(key) if value is None else result.put(key, value)
        return result

    @property
    def root(self) -> bytes:
        """32 bytes that commit to all entries and to nothing else."""
        return EMPTY_ROOT if self._tree is None else _hash(self._tree)

    def prove(self, key: bytes) -> MapProof:
        """Return the proof of the key's value, or of its absence: which of the two, `get` says."""
        _check(key)
        if self._tree is None:
            return MapProof((), ())
        path, found = _descend(self._tree, key)
        siblings = tuple(_hash(node.left if _bit(key, node.depth) else node.right) for node in path)
        other = None if found.key == key else (found.key, _value_hash(found.value))
        return MapProof(tuple(node.depth for node in path), siblings, other)


_EMPTY: Final = SparseMap(None, 0)


def verify_map(root: bytes, key: bytes, proof: MapProof, value: bytes | None) -> None:
    """Return if under `root` the key has this value (None: is absent); raise ProofInvalid otherwise."""
    if len(key) != KEY_SIZE:
        raise ProofInvalid("a map key has 32 bytes")
    # (1) The end of the path: the key's own leaf for a value, another key's leaf for an absence, or no leaf at all.
    if value is not None:
        if proof.other is not None:
            raise ProofInvalid("proves that the key is absent")
        current = _leaf_hash(key, _value_hash(value))
    elif proof.other is not None:
        if proof.other[0] == key:
            raise ProofInvalid("the key is present")
        current = _leaf_hash(*proof.other)
    elif not proof.depths:
        current = EMPTY_ROOT
    else:
        raise ProofInvalid("a path without a leaf")
    # (2) Fold, each sibling on the side that a search for this key does not take.
    for depth, sibling in zip(reversed(proof.depths), reversed(proof.siblings), strict=True):
        current = _node_hash(depth, sibling, current) if _bit(key, depth) else _node_hash(depth, current, sibling)
    # (3) It is the trusted root.
    if current != root:
        raise ProofInvalid("leads to another root")


def _check(key: bytes) -> None:
    if len(key) != KEY_SIZE:
        raise ValueError("a map key has 32 bytes")


def _greatest(tree: _Tree) -> bytes:
    while isinstance(tree, _Node):
        tree = tree.right
    return tree.key


def _descend(tree: _Tree, key: bytes) -> tuple[list[_Node], _Leaf]:
    """Return the nodes on the search path of `key`, from the root down, and the leaf at its end."""
    path = []
    while isinstance(tree, _Node):
        path.append(tree)
        depth = tree.depth
        tree = tree.right if key[depth >> 3] >> (7 - (depth & 7)) & 1 else tree.left
    return path, tree


def _rebuild(path: list[_Node], key: bytes, tree: _Tree) -> _Tree:
    """Return copies of the nodes above `tree`, which replaces what lay at the end of `path`."""
    for node in reversed(path):
        depth = node.depth
        if key[depth >> 3] >> (7 - (depth & 7)) & 1:
            tree = _Node(depth, node.left, tree)
        else:
            tree = _Node(depth, tree, node.right)
    return tree


def _build(leaves: list[_Leaf], start: int, end: int) -> _Tree:
    """Return the tree of leaves[start:end], which are sorted and distinct."""
    if end - start == 1:
        return leaves[start]
    first, last = leaves[start].key, leaves[end - 1].key
    depth = _BITS - (int.from_bytes(first, "big") ^ int.from_bytes(last, "big")).bit_length()
    low, high = start, end - 1  # the bit is clear at `low` and set at `high`
    while high - low > 1:
        middle = (low + high) >> 1
        if _bit(leaves[middle].key, depth):
            high = middle
        else:
            low = middle
    return _Node(depth, _build(leaves, start, high), _build(leaves, high, end))


def _hash(tree: _Tree) -> bytes:
    known = tree.hash
    if known is None:
        if isinstance(tree, _Leaf):
            known = _leaf_hash(tree.key, _value_hash(tree.value))
        else:
            known = _node_hash(tree.depth, _hash(tree.left), _hash(tree.right))
        tree.hash = known
    return known
