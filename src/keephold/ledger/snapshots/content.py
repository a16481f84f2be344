"""How a snapshot is spelled: a manifest, and pages that are cut into chunks without regard to their edges.

Everything is in one order and every page ends where it has to, so that two nodes spell the same state in the same
bytes: then a joining node may fetch each chunk from another one. The manifest, which travels as ABCI's metadata, names
each chunk by its hash; the snapshot's own hash is the manifest's.

    4 bytes length (big-endian), page, 4 bytes length, page, ...        cut every CHUNK_SIZE bytes

    Headers*   of this block and the ones before it that a quote may still be anchored at, newest first
    Leaves*    of the map, by path
    Slots*     of each contract, by contract and tag
    Actions*   of governance, in order
    Kept*      of each block in which something stands that the map refers to, by height; and of this block
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Annotated, BinaryIO, Final, TypeVar

from msgspec import Meta

from keephold.base.errors import EncodingError
from keephold.base.limits import MAX_STREAM_FRAME
from keephold.crypto.hashing import sha256, tagged_hash
from keephold.crypto.labels import SNAPSHOT
from keephold.protocol.codec import Record, decode, encode
from keephold.protocol.governance import Enacted
from keephold.protocol.types import Bytes32, Positive
from keephold.protocol.wire import LocatedTransaction, Slot, TransactionResult

T = TypeVar("T")

FORMAT: Final = 1
"""Of manifest and pages; another one is refused."""

CHUNK_SIZE: Final = 4 << 20
"""Bytes; CometBFT's messages bear 16 MB."""

MAX_CHUNKS: Final = 1 << 14
"""64 GiB, and a manifest of half a megabyte, where CometBFT's message bears 4 MB."""

_PAGE_BYTES: Final = 1 << 20
_LENGTH: Final = 4


class Manifest(Record):
    """What a snapshot is of, and what each chunk has to be."""

    network: Bytes32
    height: Positive
    app_hash: Bytes32
    """The root of the map after that block."""
    chunks: Annotated[tuple[Bytes32, ...], Meta(min_length=1, max_length=MAX_CHUNKS)]
    """SHA-256 of each; all have CHUNK_SIZE bytes but the last, which has 1 to CHUNK_SIZE."""

    def hash(self) -> bytes:
        """Return the snapshot's hash."""
        return tagged_hash(SNAPSHOT, encode(self))


class Headers(Record, tag="headers", tag_field="type"):
    """CometBFT headers, protobuf; each is the one that the one before it points back to."""

    headers: tuple[bytes, ...]


class Leaf(Record):
    """A leaf of the map."""

    path: Bytes32
    value: bytes


class Leaves(Record, tag="leaves", tag_field="type"):
    """Leaves of the map."""

    leaves: tuple[Leaf, ...]


class Slots(Record, tag="slots", tag_field="type"):
    """Slots of one contract."""

    contract: Bytes32
    slots: tuple[Slot, ...]


class Actions(Record, tag="actions", tag_field="type"):
    """Governance actions."""

    actions: tuple[Enacted, ...]


class Kept(Record, tag="kept", tag_field="type"):
    """What outlives a block: some of its transactions, and all ids and results, from which their proofs are made."""

    height: Positive
    ids: tuple[Bytes32, ...]
    results: tuple[TransactionResult, ...]
    transactions: tuple[LocatedTransaction, ...] = ()


Page = Headers | Leaves | Slots | Actions | Kept


class _Any(Record):
    """A page of any kind."""

    page: Page


def paged(items: Iterable[tuple[int, T]]) -> Iterator[tuple[T, ...]]:
    """Yield items, given with their sizes, in groups of about a megabyte."""
    page: list[T] = []
    total = 0
    for size, item in items:
        if page and total + size > _PAGE_BYTES:
            yield tuple(page)
            page, total = [], 0
        page.append(item)
        total += size
    if page:
        yield tuple(page)


def chunked(pages: Iterable[Page]) -> Iterator[bytes]:
    """Yield the chunks of a snapshot."""
    buffer = bytearray()
    for page in pages:
        encoded = encode(_Any(page))
        buffer += len(encoded).to_bytes(_LENGTH, "big") + encoded
        while len(buffer) >= CHUNK_SIZE:
            yield bytes(buffer[:CHUNK_SIZE])
            del buffer[:CHUNK_SIZE]
    if buffer:
        yield bytes(buffer)


def read(file: BinaryIO) -> Iterator[Page]:
    """Yield the pages of a snapshot's file.

    Raises:
        EncodingError: it is not made of pages.
    """
    while head := file.read(_LENGTH):
        size = int.from_bytes(head, "big")
        if len(head) < _LENGTH or size > MAX_STREAM_FRAME:
            raise EncodingError("snapshot: a page of no possible size")
        encoded = file.read(size)
        if len(encoded) < size:
            raise EncodingError("snapshot: a page that is cut off")
        yield decode(encoded, _Any).page


def is_chunk(manifest: Manifest, index: int, chunk: bytes) -> bool:
    """Say whether these bytes are the chunk that a manifest names."""
    if not 0 <= index < len(manifest.chunks) or sha256(chunk) != manifest.chunks[index]:
        return False
    is_last = index == len(manifest.chunks) - 1
    return len(chunk) == CHUNK_SIZE or (is_last and 0 < len(chunk) < CHUNK_SIZE)
