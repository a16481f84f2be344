"""The ledger as everybody else sees it: read-only, committed, with proofs. The only thing that `api` uses.

Answers for machines are wire records with proofs against headers; their readers believe none of it. Answers for people
(`people`) are records without proofs. Every method is synchronous and may be called from any thread.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from threading import Lock
from typing import Final, TypeVar, final

from keephold.base.errors import InputError, NotKept
from keephold.base.ids import ContractId
from keephold.base.limits import MAX_INTEREST
from keephold.chain import merkle
from keephold.chain.sparse import EMPTY_ROOT, SparseMap
from keephold.ledger import index
from keephold.ledger.application import LedgerApplication
from keephold.ledger.archive import Archive
from keephold.ledger.engines.base import Admission, Engine
from keephold.ledger.frames import Watch
from keephold.ledger.people import People
from keephold.ledger.views import AcceptedResult
from keephold.protocol.codec import Record
from keephold.protocol.genesis import Genesis
from keephold.protocol.wire import (
    BlocksRequest,
    FoundTransaction,
    FoundTransactions,
    Frame,
    GovernanceHistory,
    InboxEntry,
    InboxPage,
    InboxRequest,
    Interest,
    LightBlock,
    LightBlocks,
    Priorities,
    PrioritiesRequest,
    ProveAnswer,
    ProvenReceipt,
    ProveRequest,
    Slot,
    SlotsPage,
    SlotsRequest,
    TransactionsRequest,
    TreeProof,
    Verdict,
)

T = TypeVar("T", bound=Record)

PAGE_BYTES: Final = 4 << 20
"""Bytes of entries, slots or transactions in one answer."""

PAGE_ITEMS: Final = 4096

_LISTINGS: Final = 8
"""Contract states kept while somebody pages through them. Each is a version: it shares what did not change since."""


@final
class LedgerReader:
    """Queries on committed snapshots of one ledger."""

    def __init__(self, application: LedgerApplication, engine: Engine) -> None:
        self._application: Final = application
        self._engine: Final = engine
        self._archive: Final = Archive(application, engine)
        self._listings: Final[OrderedDict[tuple[bytes, bytes], SparseMap]] = OrderedDict()
        self._lock: Final = Lock()
        self.people: Final = People(self._archive)

    @property
    def genesis(self) -> Genesis:
        """The genesis of this ledger."""
        return self._application.genesis

    def latest(self) -> int:
        """Return the height of the newest block; 0 before the first."""
        return self._engine.latest()

    def submit(self, raws: Sequence[bytes]) -> tuple[Verdict, ...]:
        """Offer signed transactions to the engine."""
        return tuple(verdict_of(admission) for admission in self._engine.submit(raws))

    # --- the stream ---

    def watch(self, interest: Interest) -> Watch:
        """Return a reader of the stream: call its `frame(height)` for ascending heights.

        Raises:
            InputError: the interest is too large.
        """
        return Watch(self._archive, interest)

    def frame(self, height: int, interest: Interest) -> Frame:
        """Return one frame by itself, with all values that the interest names."""
        frame = self.watch(interest).frame(height)
        if frame is None:
            raise InputError(f"no block {height}")
        return frame

    # --- proofs ---

    def record(self, path: bytes, kind: type[T]) -> T | None:
        """Return the newest record at a path, unproven: for people and for the node itself."""
        return self._application.map.newest.record(path, kind)

    def prove(self, request: ProveRequest) -> ProveAnswer:
        """Return values with proofs under the app hash of a header; height 0 means the newest header.

        Raises:
            InputError: no such header yet, its state is not kept any more, or too many paths.
        """
        if len(request.paths) > MAX_INTEREST:
            raise InputError(f"at most {MAX_INTEREST} paths")
        height = request.height or self._engine.latest()
        if height > self._engine.latest():
            raise InputError(f"no block {height} yet")
        state = self._archive.version(height - 1)
        if state is None:
            raise InputError(f"the state under block {height} is not kept any more")
        return ProveAnswer(height, tuple(self._archive.proven(state, path) for path in request.paths))

    def blocks(self, request: BlocksRequest) -> LightBlocks:
        """Return signed headers with their validators; height 0 means the newest.

        Raises:
            InputError: a block that does not exist, or too many heights.
            NotKept: a header that is not here.
        """
        if len(request.heights) > PAGE_ITEMS:
            raise InputError(f"at most {PAGE_ITEMS} heights")
        lights = [self._archive.light(height or self._engine.latest()) for height in request.heights]
        return LightBlocks(
            tuple(LightBlock(x.height, x.signed_header, x.validators, x.next_validators) for x in lights)
        )

    def priorities(self, request: PrioritiesRequest) -> Priorities:
        """Return whose turn it was to propose, as far as the engine knows: for a node that joins.

        Raises:
            InputError: no such block (any more).
            UnavailableError: the engine does not answer.
        """
        return Priorities(self._engine.priorities(request.height))

    def transactions(self, request: TransactionsRequest) -> FoundTransactions:
        """Return transactions with proofs of place and result; those not yet under a header with results are left out.

        The answer ends where it would become too large: ask for the rest again.
        """
        found: list[FoundTransaction] = []
        size = 0
        for identity in request.ids[:PAGE_ITEMS]:
            item = self._found(identity)
            if item is not None:
                size += len(item.raw)
                if found and size > PAGE_BYTES:
                    break
                found.append(item)
        return FoundTransactions(tuple(found))

    def _found(self, identity: bytes) -> FoundTransaction | None:
        row = self._application.map.query(lambda reader: index.transaction(reader, identity))
        if row is None or row.height >= self._engine.latest():
            return None
        block = self._archive.judged(row.height)
        raw = self._archive.raw(row)
        if block is None or raw is None:
            return None
        return FoundTransaction(
            raw,
            row.height,
            row.position,
            _proof(block.ids, row.position),
            block.results[row.position],
            _proof([merkle.result_leaf(result.code, result.data) for result in block.results], row.position),
        )

    def receipt(self, call: bytes) -> tuple[int, ProvenReceipt] | None:
        """Return (height of the result's block, receipt) for a call; None while there is none."""
        row = self._application.map.query(lambda reader: index.transaction(reader, call))
        if row is None or not row.entry:
            return None
        contract, entry = row.contract, row.entry
        result = self._application.map.query(lambda reader: index.result_for(reader, contract, entry))
        if result is None:
            return None
        block = self._archive.view(result.height)
        if block is None:
            return None
        accepted = AcceptedResult(contract, result.first, result.count, result.position)
        receipts = self._archive.result_receipts(block, accepted)
        return (result.height, receipts[entry - result.first][1]) if receipts else None

    # --- pages ---

    def inbox(self, request: InboxRequest) -> InboxPage:
        """Return consecutive entries of an inbox, up to a page.

        Raises:
            NotKept: entries so old that they are not here any more.
        """
        rows = self._application.map.query(
            lambda reader: index.inbox(reader, request.contract, request.first, PAGE_ITEMS)
        )
        if rows and rows[0].entry != request.first:
            raise NotKept(self._archive.first())
        entries: list[InboxEntry] = []
        size = 0
        for row in rows:
            raw = self._archive.raw(row)
            if raw is None:
                break
            size += len(raw)
            if entries and size > PAGE_BYTES:
                break
            entries.append(InboxEntry(row.height, raw))
        return InboxPage(tuple(entries))

    def slots(self, request: SlotsRequest) -> SlotsPage:
        """Return slots of a contract at a state root, in tag order, up to a page.

        Raises:
            InputError: no kept version of the contract has this root.
        """
        slots: list[Slot] = []
        size = 0
        # No slot lies at tag 0, so nothing comes before what is after it.
        for tag, value in self._listed(request.contract, request.root).after(request.after):
            size += 64 + len(value)
            if slots and (size > PAGE_BYTES or len(slots) == PAGE_ITEMS):
                return SlotsPage(tuple(slots))
            slots.append(Slot(tag, value))
        return SlotsPage(tuple(slots), last=True)

    def _listed(self, contract: bytes, root: bytes) -> SparseMap:
        """Return the slots under a root. Whoever has begun to page finds them also once their version is not kept."""
        if root == EMPTY_ROOT:
            return SparseMap.empty()
        key = (contract, root)
        with self._lock:
            if key in self._listings:
                self._listings.move_to_end(key)
                return self._listings[key]
        slots = self._application.map.slots_at(ContractId(contract), root)
        if slots is None:
            raise InputError("no kept version of this contract has that state root")
        with self._lock:
            self._listings[key] = slots
            while len(self._listings) > _LISTINGS:
                self._listings.popitem(last=False)
        return slots

    def governance(self) -> GovernanceHistory:
        """Return all governance actions, in order."""
        return GovernanceHistory(self._application.map.newest.enacted)


def verdict_of(admission: Admission) -> Verdict:
    """Return an admission as the wire spells it."""
    return Verdict(admission.code, admission.detail, admission.height)


def _proof(leaves: Sequence[bytes], position: int) -> TreeProof:
    return TreeProof(position, len(leaves), merkle.prove(leaves, position).siblings)
