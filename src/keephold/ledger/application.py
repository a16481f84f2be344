"""The state machine behind an engine: bytes become transactions, transactions become a state, a state becomes durable.

The same class serves every engine (`engines.base.Application`). `finalize` computes on an overlay and touches nothing
that anyone can see; `commit` writes one SQLite transaction and only then shows the new state.

Signatures are checked once: a transaction opened for `check` is remembered, by the hash of its bytes, until its block
is finalized. The memory holds only what `open_signed` returned, so it cannot let anything in that would not open.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, final

import apsw

from keephold.base.errors import CryptoError, EncodingError, InputError, LedgerRefused
from keephold.base.ids import NetworkId
from keephold.base.limits import MAX_BLOCK_BYTES, MAX_BLOCK_TRANSACTIONS, MAX_TRANSACTION
from keephold.chain.validators import Validator, ValidatorSet
from keephold.ledger import index, rules
from keephold.ledger.engines.base import (
    Admission,
    ApplicationInfo,
    Block,
    FinalizedBlock,
    Queried,
    TransactionOutcome,
    ValidatorUpdate,
)
from keephold.ledger.map import StateMap
from keephold.ledger.overlay import Changes, Overlay, State
from keephold.ledger.pool import Planner, Standing
from keephold.ledger.queries import path_of
from keephold.ledger.rules.context import Appended, BlockContext, Consumed, Deployed, Event
from keephold.protocol.genesis import Genesis, network_id
from keephold.protocol.offences import Offence
from keephold.protocol.refusals import Refusal
from keephold.protocol.transactions import Transaction, open_signed, transaction_id

_REMEMBERED: Final = 16_384
"""Opened transactions."""

KEPT_BLOCKS: Final = 256
KEPT_BYTES: Final = 32 << 20
"""Recent blocks stay in memory, decoded, for the streams: this many, and this many bytes of transactions."""


@dataclass(frozen=True, slots=True)
class CommittedBlock:
    """A recent block as the streams need it."""

    height: int
    raws: tuple[bytes, ...]
    ids: tuple[bytes, ...]
    transactions: tuple[Transaction | None, ...]
    """None where the bytes do not open."""
    outcomes: tuple[TransactionOutcome, ...]
    events: tuple[tuple[int, Event], ...]
    """With the position of the transaction."""
    changed: frozenset[bytes]
    """Map paths whose value changed."""


@dataclass(frozen=True, slots=True)
class _Pending:
    state: State
    changes: Changes
    rows: index.BlockRows
    block: CommittedBlock


@final
class LedgerApplication:
    """The ledger of one network, in one directory. Implements `engines.base.Application`."""

    def __init__(self, genesis: Genesis, directory: Path) -> None:
        """Open the ledger, rebuilding and checking its state.

        Raises:
            ConfigurationError: a genesis that cannot be lived under, or a directory of another network.
            ProofInvalid: what is stored does not hash to its own app hash.
        """
        self.genesis: Final = genesis
        self.network: Final[NetworkId] = network_id(genesis)
        self.map: Final = StateMap(directory / "ledger.db", genesis, self.network)
        self._opened: OrderedDict[bytes, Transaction] = OrderedDict()
        self._standing = Standing(Overlay(self.map.newest))
        self._pending: _Pending | None = None
        self._recent: OrderedDict[int, CommittedBlock] = OrderedDict()
        self._recent_bytes = 0

    # --- engines.base.Application ---

    def info(self) -> ApplicationInfo:
        """Return where the ledger stands, and what the next header has to state of it."""
        newest = self.map.newest
        last = self.map.query(lambda reader: index.block(reader, newest.height))
        outcomes = () if last is None else tuple(TransactionOutcome(item.code, item.data) for item in last.results)
        validators = tuple((entry.public_key, entry.power) for entry in newest.law.validators)
        return ApplicationInfo(newest.height, newest.values.root, outcomes, validators, self.map.first)

    def query(self, path: str, data: bytes, height: int) -> Queried:
        """Return a value of the map with its proof; see `ledger.queries`."""
        key = path_of(path, data)
        state = self.map.version(height) if height else self.map.newest
        if state is None:
            raise InputError(f"the state of height {height} is not kept, or not there yet")
        return Queried(key, state.values.get(key) or b"", state.height, state.values.prove(key).encode())

    def inspect(self, raw: bytes) -> None:
        """Open a transaction ahead of `check`, which then finds it opened."""
        with suppress(LedgerRefused):
            self._open(raw, transaction_id(raw))

    def check(self, raw: bytes) -> Admission:
        """Say whether a transaction would be applied after those admitted since the last commit.

        The same bytes again: the answer says where they stand.
        """
        identity = transaction_id(raw)
        try:
            transaction = self._open(raw, identity)
            self._standing.admit(transaction, identity, self._next_block())
        except LedgerRefused as error:
            if error.reason == Refusal.BAD_NONCE.word:
                known = self.map.query(lambda reader: index.transaction(reader, identity))
                if known is not None:
                    return Admission(known.code, known.detail, known.height)
            return Admission(Refusal[error.reason.upper()], error.detail)
        return Admission()

    def recheck(self, raws: Sequence[bytes]) -> tuple[bool, ...]:
        """After a commit: say of each waiting transaction whether it is still worth ordering, by its nonce."""
        self._standing = Standing(Overlay(self.map.newest))
        return tuple(self._still_stands(raw) for raw in raws)

    def prepare(self, raws: Sequence[bytes], max_bytes: int) -> tuple[bytes, ...]:
        """Choose, in order, what goes into the next block: within all quotas, no sender's nonces torn apart."""
        planner = Planner(max_bytes)
        chosen = []
        for raw in dict.fromkeys(raws):
            try:
                transaction = self._open(raw, transaction_id(raw))
            except LedgerRefused:
                continue
            if planner.takes(transaction, len(raw)):
                chosen.append(raw)
        return tuple(chosen)

    def process(self, raws: Sequence[bytes]) -> bool:
        """Say whether a proposed block is well-formed: bounded, and of transactions that open, each once.

        What they do, `finalize` judges one by one. Nothing is asked of the state, so that no two nodes can differ; and
        nothing that `prepare` does not keep to, so that no honest proposer is refused.
        """
        return (
            len(raws) <= MAX_BLOCK_TRANSACTIONS
            and sum(map(len, raws)) <= MAX_BLOCK_BYTES
            and len(set(raws)) == len(raws)
            and all(map(self._opens, raws))
        )

    def finalize(self, block: Block) -> FinalizedBlock:
        """Compute what the block does; remember it for `commit`."""
        newest = self.map.newest
        if block.height != newest.height + 1 or block.time_ns <= newest.time_ns:
            raise ValueError(f"block {block.height} does not follow block {newest.height}")
        overlay = Overlay(newest)
        context = BlockContext(self.network, block.height, block.time_ns, self.map.anchor)
        rules.begin_block(overlay, context, _offences(block))
        transactions: list[Transaction | None] = []
        outcomes: list[TransactionOutcome] = []
        events: list[tuple[int, Event]] = []
        ids = tuple(transaction_id(raw) for raw in block.transactions)
        for position, (raw, identity) in enumerate(zip(block.transactions, ids, strict=True)):
            transaction = None
            try:
                transaction = self._open(raw, identity)
                applied = rules.apply(overlay, context, transaction, identity)
                outcomes.append(TransactionOutcome(0, applied.data))
                events += [(position, event) for event in applied.events]
            except LedgerRefused as error:
                outcomes.append(TransactionOutcome(Refusal[error.reason.upper()], b"", error.detail))
            transactions.append(transaction)
        updates = tuple(ValidatorUpdate(key, power) for key, power in rules.validator_changes(overlay))
        state, changes = overlay.settle(block.height, block.time_ns)
        committed = CommittedBlock(
            block.height,
            block.transactions,
            ids,
            tuple(transactions),
            tuple(outcomes),
            tuple(events),
            frozenset(changes.values),
        )
        self._pending = _Pending(state, changes, _rows(block, committed, state.values.root), committed)
        return FinalizedBlock(committed.outcomes, state.values.root, updates)

    def commit(self) -> None:
        """Make the last finalized block durable, then visible."""
        pending, self._pending = self._pending, None
        if pending is None:
            raise ValueError("no block is finalized")
        self.map.commit(pending.state, pending.changes, pending.rows)
        self._remember(pending.block)
        for identity in pending.block.ids:
            self._opened.pop(identity, None)

    # --- state sync ---

    @property
    def is_untouched(self) -> bool:
        """Whether no block was ever applied here: the state is that of the genesis, or was restored and no more."""
        height = self.map.newest.height
        return height == 0 or height < self.map.first

    def adopt(self, state: State, write: Callable[[apsw.Connection], None]) -> None:
        """Put a verified state in the place of an untouched one; see `StateMap.adopt`."""
        if not self.is_untouched:
            raise ValueError("blocks were applied here")
        self.map.adopt(state, write)
        self._pending = None
        self._standing = Standing(Overlay(state))

    # --- for readers and programs ---

    def recent(self, height: int) -> CommittedBlock | None:
        """Return a recent block, decoded; None once it is only on the disk."""
        return self._recent.get(height)

    def validators(self) -> ValidatorSet:
        """Return the genesis validators."""
        return ValidatorSet.of(Validator(entry.public_key, entry.power) for entry in self.genesis.law.validators)

    def close(self) -> None:
        """Close the file."""
        self.map.close()

    # --- inside ---

    def _open(self, raw: bytes, identity: bytes) -> Transaction:
        """Return the transaction, its signature and network checked; every failure is a refusal."""
        known = self._opened.get(identity)
        if known is not None:
            return known
        if len(raw) > MAX_TRANSACTION:
            raise LedgerRefused(Refusal.TOO_LARGE.word, f"a transaction has at most {MAX_TRANSACTION} bytes")
        try:
            transaction = open_signed(raw, self.network)
        except EncodingError as error:
            raise LedgerRefused(Refusal.MALFORMED.word, str(error)) from error
        except CryptoError as error:
            raise LedgerRefused(Refusal.BAD_SIGNATURE.word, str(error)) from error
        self._opened[identity] = transaction
        while len(self._opened) > _REMEMBERED:
            self._opened.popitem(last=False)
        return transaction

    def _opens(self, raw: bytes) -> bool:
        try:
            self._open(raw, transaction_id(raw))
        except LedgerRefused:
            return False
        return True

    def _next_block(self) -> BlockContext:
        newest = self.map.newest
        return BlockContext(self.network, newest.height + 1, newest.time_ns, self.map.anchor)

    def _still_stands(self, raw: bytes) -> bool:
        try:
            self._standing.keep(self._open(raw, transaction_id(raw)))
        except LedgerRefused:
            return False
        return True

    def _remember(self, block: CommittedBlock) -> None:
        self._recent[block.height] = block
        self._recent_bytes += sum(map(len, block.raws))
        while len(self._recent) > KEPT_BLOCKS or (self._recent_bytes > KEPT_BYTES and len(self._recent) > 1):
            _, dropped = self._recent.popitem(last=False)
            self._recent_bytes -= sum(map(len, dropped.raws))


def _offences(block: Block) -> tuple[Offence, ...]:
    return tuple(
        Offence(
            kind=item.kind,
            validator=item.address,
            height=item.height,
            time_ns=item.time_ns,
            power=item.power,
            recorded=block.height,
        )
        for item in block.offences
    )


def _rows(block: Block, committed: CommittedBlock, app_hash: bytes) -> index.BlockRows:
    """Return the index rows of a block."""
    places: dict[int, Appended] = {}
    inbox, results, contracts = [], [], []
    for position, event in committed.events:
        match event:
            case Appended(contract, entry, identity, raw, sender) if raw:
                inbox.append(index.InboxRow(contract, entry, identity, sender, block.height, position, raw))
            case Appended(contract, entry):
                places[position] = event
                transaction = committed.transactions[position]
                sender = b"" if transaction is None else transaction.sender
                inbox.append(index.InboxRow(contract, entry, committed.ids[position], sender, block.height, position))
            case Consumed(contract, first, count):
                results.append(index.ResultRow(contract, first, count, block.height, position))
            case Deployed(contract):
                contracts.append((contract, position))
    transactions = tuple(
        index.TransactionRow(
            identity,
            block.height,
            position,
            outcome.code,
            outcome.detail,
            "" if transaction is None else kind_of(transaction),
            b"" if transaction is None else transaction.sender,
            places[position].contract if position in places else b"",
            places[position].entry if position in places else 0,
        )
        for position, (identity, outcome, transaction) in enumerate(
            zip(committed.ids, committed.outcomes, committed.transactions, strict=True)
        )
    )
    row = index.BlockRow(
        block.height, block.hash, block.time_ns, app_hash, committed.ids, index.results_of(committed.outcomes)
    )
    return index.BlockRows(row, transactions, tuple(inbox), tuple(results), tuple(contracts))


def kind_of(transaction: Transaction) -> str:
    """Return the tag of a transaction's body, as people see it."""
    return str(transaction.body.__struct_config__.tag)
