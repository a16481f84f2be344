"""A change of key epoch, as rules, gatekeepers and workers compute it alike.

Epoch e is the contract's present one, e + 1 the one on its way in:

    active ──Rotate, or a worker was excluded──> rotating ──last page──> active, at e + 1

While it rotates, calls are refused; the inbox drains under e, as far as it reached when the rotation began: messages
from other contracts that come later wait for e + 1. Workers take the keys of both, and publish those of
e + 1; then the slots are sealed anew, page by page. The state lives in *one* map all the while: each page takes the
next slots of e off it and puts as many of e + 1 on. So one root commits to all of it, what is sealed under e shrinks
for everybody to see, and whoever comes later goes on behind the cursor.

Which slots belong to which epoch is public: every ciphertext names its epoch.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final, NamedTuple

from keephold.base.limits import MAX_WRITES, RESULT_BUDGET
from keephold.chain.sparse import SparseMap
from keephold.crypto.hashing import tagged_hash
from keephold.crypto.labels import MIGRATION
from keephold.protocol.codec import encode
from keephold.protocol.messages import SealedSlot
from keephold.protocol.state import ContractRecord, Publication
from keephold.protocol.transactions import Migration

_FRAMING: Final = 64
"""Bytes around a slot in a page, rounded up: its tag, CBOR, and what a longer epoch number may add."""


class Page(NamedTuple):
    """The slots that a migration takes."""

    slots: tuple[tuple[bytes, bytes], ...]
    """Tags and values, sealed under the old epoch, in order of tags."""
    until: bytes
    """The cursor after."""
    is_last: bool
    """Nothing of the old epoch is left behind them."""


def migration_page(slots: SparseMap, after: bytes, to_epoch: int) -> Page:
    """Return the next page behind a cursor: as many slots of another epoch than `to_epoch` as a page holds.

    Nothing is left to whoever migrates: map and cursor fix the page. An empty map has one page, which is empty.
    """
    marked = _mark(to_epoch)
    taken: list[tuple[bytes, bytes]] = []
    size = 0
    for tag, value in slots.after(after):
        if value.startswith(marked):
            continue
        size += len(value) + _FRAMING
        if len(taken) == MAX_WRITES or (taken and size > RESULT_BUDGET):
            return Page(tuple(taken), taken[-1][0], is_last=False)
        taken.append((tag, value))
    return Page(tuple(taken), taken[-1][0] if taken else after, is_last=True)


def is_of_epoch(value: bytes, epoch: int) -> bool:
    """Say whether a slot's value says of itself that it is sealed under `epoch`; whether it opens is another matter."""
    return value.startswith(_mark(epoch))


def is_agreed(publications: tuple[Publication, ...], workers: tuple[bytes, ...]) -> bool:
    """Say whether keys are agreed upon: two workers published the same, or the only one did.

    Differing ones never meet in one list: a dispute ends it at once.
    """
    agreed = sum(item.worker in workers for item in publications)
    return bool(workers) and agreed >= min(2, len(workers))


def may_migrate(record: ContractRecord) -> bool:
    """Say whether slots may be sealed anew: all calls of the old epoch are consumed, the next one's keys agreed upon.

    Once a page is in, the keys stay agreed upon, whoever leaves.
    """
    if not record.rotation or record.done < record.rotation[0].drain:
        return False
    rotation = record.rotation[0]
    return rotation.pages > 0 or is_agreed(rotation.publications, record.workers)


def open_epochs(record: ContractRecord) -> tuple[int, ...]:
    """Return the key epochs that may be released now: the present one and, while it rotates, the next.

    The old one is needed to drain and to migrate. When the next begins it is in no such list again, for epochs only
    rise.
    """
    return (record.epoch, *(rotation.to_epoch for rotation in record.rotation))


def migration_digest(migration: Migration) -> bytes:
    """Return what quorum votes are counted by."""
    return tagged_hash(MIGRATION, encode(migration))


@lru_cache(maxsize=64)
def _mark(epoch: int) -> bytes:
    """Return how every slot of an epoch begins: canonical CBOR spells the shortest field name, `epoch`, first."""
    spelled = encode(SealedSlot(epoch, bytes(32), b""))
    return spelled[: spelled.index(b"sealed")]
