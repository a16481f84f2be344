"""A contract's inbox as its worker knows it: entries in order, each authenticated by the hash chain.

An entry enters in one of two ways:

* **Tentatively**, from a verified block H that orders a call to this contract. Whether the rules appended it is not
  proven yet, so it may be executed but nothing that follows from it may leave. The record under header H + 1 either
  confirms it (same count, same head) or it goes.
* **Proven**, from a batch record under a verified header: ids, height and the head before. An id fixes the bytes.

The chain commits to index, id and height of every entry: with one proven head none was left out, invented or moved.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final, NamedTuple, final

from keephold.base.errors import EncodingError, ProofInvalid
from keephold.base.ids import HeaderHash, Height, TransactionId
from keephold.base.limits import MAX_BATCH
from keephold.protocol.channel import InboxEntry, read_entry, wants_answer
from keephold.protocol.state import Batch, inbox_head
from keephold.protocol.transactions import transaction_id


class Ordering(NamedTuple):
    """The verified block that ordered an entry."""

    height: Height
    header_hash: HeaderHash
    time_ns: int


@dataclass(frozen=True)
class Entry:
    """One inbox entry."""

    index: int
    """From 1."""
    id: TransactionId
    raw: bytes
    """The signed transaction, its signature not checked yet; or what another contract's result carried (`letter`)."""
    ordering: Ordering
    head: bytes
    """Of the hash chain, after this entry."""

    @cached_property
    def letter(self) -> InboxEntry | None:
        """What no account signed; None for a call, and for what is neither."""
        if transaction_id(self.raw) == self.id:
            return None
        try:
            return read_entry(self.raw)
        except EncodingError:
            return None

    @property
    def wants_answer(self) -> bool:
        """Whether it is another contract's message that wants to be answered."""
        return self.letter is not None and wants_answer(self.letter)


class ProvenBatch(NamedTuple):
    """A batch record under a verified header, with what its ids name."""

    first: int
    """Index of its first entry."""
    batch: Batch
    ordering: Ordering
    raws: Mapping[bytes, bytes]
    """Transactions, and entries that no account signed, by id; those of consumed entries may be missing."""


@final
class Inbox:
    """Entries after a starting point: a proven prefix, then a tentative suffix."""

    def __init__(self, index: int, head: bytes) -> None:
        """Start after entry `index`, whose head `head` is proven."""
        self._base = (index, head)
        self._entries: Final[deque[Entry]] = deque()
        self._ends: Final[set[int]] = set()
        self._proven = index

    @property
    def tip(self) -> int:
        """Index of the last entry known."""
        return self._entries[-1].index if self._entries else self._base[0]

    @property
    def proven(self) -> int:
        """Index of the last entry that a proof confirmed."""
        return self._proven

    def head_at(self, index: int) -> bytes | None:
        """Return the head after entry `index`; None where that is not known (any more, or yet)."""
        if index == self._base[0]:
            return self._base[1]
        at = index - self._base[0] - 1
        return self._entries[at].head if 0 <= at < len(self._entries) else None

    def proven_head_at(self, index: int) -> bytes | None:
        """Return the head after entry `index`, where it is known and proven."""
        return self.head_at(index) if index <= self._proven else None

    def follow(self, ordering: Ordering, calls: Iterable[tuple[TransactionId, bytes]]) -> None:
        """Append, tentatively, the calls that a verified block orders.

        A block that lies below the newest entry, or calls beyond a batch's size, are not appended: what the rules made
        of them comes as a proven batch.
        """
        if self._entries and ordering.height <= self._entries[-1].ordering.height:
            return
        for identity, raw in tuple(calls)[:MAX_BATCH]:
            self._append(identity, raw, ordering)

    def confirm(self, count: int, head: bytes) -> None:
        """Take a proven count and head of the whole inbox; tentative entries that contradict it go.

        Raises:
            ProofInvalid: entries that were proven before are not in this inbox.
        """
        known = self.head_at(count)
        if known == head:
            self._proven = max(self._proven, count)
        elif known is not None and count <= self._proven:
            raise ProofInvalid(f"the inbox was rewritten at entry {count}")
        else:
            self._truncate()

    def settle(self, height: int) -> None:
        """Drop tentative entries of blocks below `height`: their successor did not confirm them."""
        while self.tip > self._proven and self._entries[-1].ordering.height < height:
            self._entries.pop()

    def extend(self, proven: ProvenBatch) -> None:
        """Append a proven batch that begins at or before the next entry.

        Raises:
            ProofInvalid: it does not continue the chain, or a transaction is missing.
        """
        if proven.first > self._proven + 1:
            raise ProofInvalid("a batch beyond the next entry")
        self._truncate()
        head = proven.batch.before
        for index, identity in enumerate(proven.batch.entries, start=proven.first):
            if index == self.tip + 1:
                if head != self.head_at(self.tip):
                    raise ProofInvalid("a batch that does not continue the inbox")
                raw = proven.raws.get(identity)
                if raw is None:
                    raise ProofInvalid("a batch without its transactions")
                self._append(TransactionId(identity), raw, proven.ordering)
                self._proven = self.tip
            head = inbox_head(head, index, identity, proven.ordering.height)
        self._ends.add(proven.first + len(proven.batch.entries) - 1)

    def batch_after(self, index: int) -> Sequence[Entry]:
        """Return what remains after entry `index` of the batch that entry `index + 1` belongs to.

        One block may append several; what it orders for itself, known tentatively, is one.
        """
        found: list[Entry] = []
        for entry in self._entries:
            if entry.index > index:
                if found and (found[-1].index in self._ends or entry.ordering.height != found[0].ordering.height):
                    break
                found.append(entry)
        return found

    def consume(self, done: int) -> None:
        """Forget entries up to `done`."""
        while self._entries and self._entries[0].index <= done:
            entry = self._entries.popleft()
            self._base = (entry.index, entry.head)
            self._ends.discard(entry.index)
        self._proven = max(self._proven, self._base[0])

    def _append(self, identity: TransactionId, raw: bytes, ordering: Ordering) -> None:
        index = self.tip + 1
        before = self.head_at(self.tip) or b""
        head = inbox_head(before, index, identity, ordering.height)
        self._entries.append(Entry(index, identity, raw, ordering, head))

    def _truncate(self) -> None:
        while self.tip > self._proven:
            self._entries.pop()


def head_before(proven: ProvenBatch, index: int) -> bytes:
    """Return the head after entry `index`, which lies in the batch or right before it.

    Raises:
        ProofInvalid: it does not.
    """
    if not proven.first - 1 <= index < proven.first + len(proven.batch.entries):
        raise ProofInvalid(f"the batch from {proven.first} does not reach entry {index + 1}")
    head = proven.batch.before
    for at, identity in enumerate(proven.batch.entries[: index + 1 - proven.first], start=proven.first):
        head = inbox_head(head, at, identity, proven.ordering.height)
    return head
