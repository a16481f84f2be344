"""What was committed, ready to be served: recent blocks and versions from memory, older ones from the disk.

Everything made here is made once and shared by all readers; the caches are bounded and hold immutable values only.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from threading import Lock
from typing import Final, Generic, TypeVar, final

from keephold.base.errors import EncodingError, InputError, KeepholdError, NotKept
from keephold.base.ids import ContractId
from keephold.chain.validators import encode_validator_set
from keephold.chain.wire import encode_signed_header
from keephold.ledger import index
from keephold.ledger.application import LedgerApplication
from keephold.ledger.engines.base import Engine
from keephold.ledger.overlay import State
from keephold.ledger.rules.context import Consumed
from keephold.ledger.views import AcceptedResult, BlockView, tree_proofs, view
from keephold.protocol.codec import decode
from keephold.protocol.state import receipt_leaf
from keephold.protocol.transactions import SignedTransaction, SubmitResult, Transaction
from keephold.protocol.wire import ProvenReceipt, ProvenValue

V = TypeVar("V")

_HEADERS: Final = 1024
_VIEWS: Final = 64
_RECEIPTS: Final = 64
_VALUES: Final = 8192


@final
class _Cache(Generic[V]):
    """The last `size` values made; safe for threads, which may make a value twice."""

    def __init__(self, size: int) -> None:
        self._size: Final = size
        self._lock: Final = Lock()
        self._values: OrderedDict[Hashable, V] = OrderedDict()

    def get(self, key: Hashable, make: Callable[[], V]) -> V:
        with self._lock:
            if key in self._values:
                self._values.move_to_end(key)
                return self._values[key]
        value = make()
        with self._lock:
            self._values[key] = value
            while len(self._values) > self._size:
                self._values.popitem(last=False)
        return value


@dataclass(frozen=True, slots=True)
class Light:
    """A header as it goes over the wire."""

    height: int
    time_ns: int
    signed_header: bytes
    validators: bytes
    next_validators: bytes


@final
class Archive:
    """Blocks, versions and proofs of one ledger."""

    def __init__(self, application: LedgerApplication, engine: Engine) -> None:
        self.application: Final = application
        self.engine: Final = engine
        self._lights: Final[_Cache[Light]] = _Cache(_HEADERS)
        self._views: Final[_Cache[BlockView | None]] = _Cache(_VIEWS)
        self._receipts: Final[_Cache[dict[bytes, tuple[ProvenReceipt, ...]]]] = _Cache(_RECEIPTS)
        self._values: Final[_Cache[ProvenValue]] = _Cache(_VALUES)

    # --- headers ---

    def light(self, height: int) -> Light:
        """Return a block's header as wire bytes.

        Raises:
            InputError: there is no such block (yet).
            NotKept: its header is not here (any more).
        """
        return self._lights.get(height, lambda: self._light(height))

    def _light(self, height: int) -> Light:
        stored = self.engine.block(height)
        if stored is None and 0 < height < self.first():
            raise NotKept(self.first())
        if stored is None:
            raise InputError(f"no block {height}")
        return Light(
            height,
            stored.signed.header.time_ns,
            encode_signed_header(stored.signed),
            encode_validator_set(stored.validators),
            encode_validator_set(stored.next_validators),
        )

    # --- blocks ---

    def first(self) -> int:
        """Return the lowest height whose block is here with all that is in it."""
        return max(self.application.map.first, self.engine.first())

    def check_kept(self, height: int) -> None:
        """Refuse a height whose block is not here any more, or never was.

        Raises:
            NotKept
        """
        if 0 < height < self.first():
            raise NotKept(self.first())

    def view(self, height: int) -> BlockView | None:
        """Return a block by whom it concerns; None below block 1.

        Raises:
            NotKept: there was such a block.
        """
        if height < 1:
            return None
        self.check_kept(height)
        return self._views.get(height, lambda: self._view(height))

    def _view(self, height: int) -> BlockView | None:
        recent = self.application.recent(height)
        if recent is not None:
            accepted = tuple(
                AcceptedResult(event.contract, event.first, event.count, position)
                for position, event in recent.events
                if isinstance(event, Consumed)
            )
            results = index.results_of(recent.outcomes)
            return view(height, recent.raws, recent.ids, recent.transactions, results, accepted, recent.changed)
        row = self.application.map.query(lambda reader: index.block(reader, height))
        if row is None:
            return None
        raws = self.engine.transactions(height)
        transactions = tuple(opened(raw) for raw in raws)
        found = []
        for position, (transaction, result) in enumerate(zip(transactions, row.results, strict=True)):
            # Only a result that was accepted has data.
            if transaction is not None and isinstance(transaction.body, SubmitResult) and result.data:
                body = transaction.body.result
                found.append(AcceptedResult(body.contract, body.first, body.count, position))
        return view(height, raws, row.ids, transactions, row.results, tuple(found), None)

    def judged(self, height: int) -> BlockView | index.BlockRow | None:
        """Return ids and results of a block that is here, or of which something is kept; None for any other."""
        if height >= self.first():
            return self.view(height)
        row = self.application.map.query(lambda reader: index.block(reader, height))
        return row if row is not None and row.ids else None

    def raw(self, row: index.TransactionRow | index.InboxRow) -> bytes | None:
        """Return the bytes of a transaction or entry, wherever they are kept; None if they went meanwhile."""
        if isinstance(row, index.InboxRow) and row.raw:
            return row.raw
        found = self.engine.transaction(row.height, row.position) if row.height >= self.engine.first() else None
        return found or self.application.map.query(lambda reader: index.kept(reader, row.id))

    def changed(self, height: int) -> frozenset[bytes] | None:
        """Return the map paths that a block changed; None if that is not known any more."""
        recent = self.application.recent(height)
        return None if recent is None else recent.changed

    # --- receipts ---

    def receipts(self, block: BlockView, accounts: frozenset[bytes]) -> tuple[ProvenReceipt, ...]:
        """Return the receipts in a block's results for calls of these accounts."""
        if not accounts or not block.accepted:
            return ()
        by_account = self._receipts.get(block.height, lambda: self._block_receipts(block))
        return tuple(item for account in sorted(accounts & by_account.keys()) for item in by_account[account])

    def _block_receipts(self, block: BlockView) -> dict[bytes, tuple[ProvenReceipt, ...]]:
        found: dict[bytes, list[ProvenReceipt]] = {}
        for accepted in block.accepted:
            for sender, receipt in self.result_receipts(block, accepted):
                found.setdefault(sender, []).append(receipt)
        return {sender: tuple(receipts) for sender, receipts in found.items()}

    def result_receipts(self, block: BlockView, accepted: AcceptedResult) -> list[tuple[bytes, ProvenReceipt]]:
        """Return the receipts of one accepted result, each with the sender of its call."""
        transaction = block.transactions[accepted.position]
        if transaction is None or not isinstance(transaction.body, SubmitResult):
            return []
        receipts = transaction.body.result.receipts
        contract = ContractId(accepted.contract)
        entries = self.application.map.query(
            lambda reader: index.inbox(reader, contract, accepted.first, accepted.count)
        )
        leaves = [
            receipt_leaf(contract, row.entry, row.id, receipt) for row, receipt in zip(entries, receipts, strict=True)
        ]
        return [
            (row.sender, ProvenReceipt(row.id, contract, row.entry, receipt, proof, accepted.position))
            for row, receipt, proof in zip(entries, receipts, tree_proofs(leaves), strict=True)
        ]

    # --- values ---

    def version(self, height: int) -> State | None:
        """Return the state after a block, while it can still be proven."""
        return self.application.map.version(height)

    def proven(self, state: State, path: bytes) -> ProvenValue:
        """Return the value at a path in a state, with its proof."""
        return self._values.get(
            (state.height, path),
            lambda: ProvenValue(path, state.values.prove(path).encode(), state.values.get(path) or b""),
        )


def opened(raw: bytes) -> Transaction | None:
    """Return the transaction that stored bytes spell, unverified; None if they spell none."""
    try:
        return decode(raw, SignedTransaction).transaction
    except (EncodingError, KeepholdError):
        return None
