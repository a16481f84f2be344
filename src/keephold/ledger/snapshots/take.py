"""A snapshot of a committed state: pure reading, of an immutable state and of what was committed. Blocks nobody.

The state may be any recent version; what the survey names was ordered before it, and its bytes are kept for as long as
the newest map refers to it, or its block is. Whoever prunes waits until no snapshot is being taken.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from keephold.base.errors import NotKept
from keephold.chain.wire import encode_header
from keephold.ledger import index
from keephold.ledger.archive import Archive
from keephold.ledger.overlay import State
from keephold.ledger.snapshots.content import Actions, Headers, Kept, Leaf, Leaves, Page, Slots, paged
from keephold.ledger.survey import survey
from keephold.protocol.codec import encode
from keephold.protocol.governance import SetAttestation
from keephold.protocol.wire import LocatedTransaction, Slot


def pages(archive: Archive, state: State) -> Iterator[Page]:
    """Yield the pages of the snapshot of a state, whose block is in the archive.

    Raises:
        NotKept: the archive lacks something that belongs to it.
    """
    headers = _headers(archive, state)
    yield from (Headers(page) for page in paged((len(header), header) for header in headers))
    leaves = ((len(value) + 64, Leaf(path, value)) for path, value in state.values)
    yield from (Leaves(page) for page in paged(leaves))
    for contract in sorted(state.slots):
        slots = ((len(value) + 64, Slot(tag, value)) for tag, value in state.slots[contract])
        yield from (Slots(contract, page) for page in paged(slots))
    yield from (Actions(page) for page in paged((len(encode(entry)), entry) for entry in state.enacted))
    yield from _kept(archive, state)


def anchor_span(state: State) -> int:
    """Return how far back a quote may be anchored, in nanoseconds, under the law in force or ordered."""
    actions = (item.proposal.action for item in state.waiting)
    coming = [action.policy.quote_window_ns for action in actions if isinstance(action, SetAttestation)]
    return max([state.law.attestation.quote_window_ns, *coming])


def _headers(archive: Archive, state: State) -> Iterator[bytes]:
    """Yield the header of the state's block, and of earlier ones back to the first that no quote may be anchored at."""
    span = anchor_span(state)
    for height in range(state.height, 0, -1):
        stored = archive.engine.block(height)
        if stored is None:
            raise NotKept(height + 1)
        yield encode_header(stored.signed.header)
        if state.time_ns - stored.signed.header.time_ns > span:
            return


def _kept(archive: Archive, state: State) -> Iterator[Kept]:
    query = archive.application.map.query
    by_height: defaultdict[int, list[index.TransactionRow]] = defaultdict(list)
    by_height[state.height] = []
    for identity in survey(archive.application.network, state.values).ids:
        row = query(lambda reader, identity=identity: index.transaction(reader, identity))  # type: ignore[misc] # a default argument's type
        if row is None:
            raise NotKept(archive.first())
        by_height[row.height].append(row)
    for height, rows in sorted(by_height.items()):
        block = query(lambda reader, height=height: index.block(reader, height))  # type: ignore[misc] # as above
        if block is None or (rows and not block.ids):
            raise NotKept(archive.first())
        located = []
        for row in sorted(rows, key=lambda row: row.position):
            raw = archive.raw(row)
            if raw is None:
                raise NotKept(archive.first())
            located.append(LocatedTransaction(row.position, raw))
        yield Kept(height, block.ids, block.results, tuple(located))
