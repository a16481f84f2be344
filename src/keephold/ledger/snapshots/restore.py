"""Restoring a snapshot that strangers sent, under an app hash that a light client verified.

`verified` turns the file into a `Restored` or raises; only that can be put in the ledger's place. In order:

1. The leaves hash to the app hash: with it everything below is compared, so nothing below is believed by itself.
2. The headers are a chain that ends in the block of the snapshot, which the caller's light client verified; they reach
   back as far as a quote may be anchored. The block's time is its header's.
3. Of every contract in the map the slots hash to its state root; there are slots of no other.
4. The governance actions hash to the head of their chain; law and what is pending follow from them.
5. What is kept of this block is what its header commits to; what is kept of others fits together.
6. Every transaction that the map refers to is there, with the very bytes that its id is the hash of. Collateral is
   taken from its transaction.

**What is not checked here**: that other blocks than this one, of which something is kept, have those ids and results.
Whoever is shown a transaction of one checks its place and result against headers of his own (`follower.view`); a lie
would refuse him service, here and nowhere else, and put nothing wrong into any rule.

The caller owes: that app hash and header are of one height of this network's chain.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import BinaryIO, final

import apsw

from keephold.base.errors import ProofInvalid
from keephold.base.ids import NetworkId
from keephold.base.minting import NoPublicConstructor
from keephold.chain import merkle
from keephold.chain.header import Header
from keephold.chain.sparse import SparseMap
from keephold.chain.wire import decode_header
from keephold.ledger import index
from keephold.ledger.application import kind_of
from keephold.ledger.map import assembled, check_roots
from keephold.ledger.overlay import State
from keephold.ledger.snapshots.content import Actions, Headers, Kept, Leaves, Slots, read
from keephold.ledger.snapshots.take import anchor_span
from keephold.ledger.survey import Survey, survey
from keephold.protocol.channel import sender_of
from keephold.protocol.codec import Record, encode
from keephold.protocol.genesis import Genesis
from keephold.protocol.governance import Enacted
from keephold.protocol.transactions import Transaction, UpdateCollateral, open_signed, transaction_id


@final
@dataclass(frozen=True, slots=True)
class Restored(metaclass=NoPublicConstructor):
    """A state that hashes to a verified app hash, with the index rows that go with it; made by `verified` only."""

    state: State
    blocks: tuple[index.BlockRow, ...]
    transactions: tuple[index.TransactionRow, ...]
    inbox: tuple[index.InboxRow, ...]
    contracts: tuple[tuple[bytes, int, int], ...]
    """Id, height and position of each deployment."""
    raws: Mapping[bytes, bytes]

    def write(self, connection: apsw.Connection) -> None:
        """Insert the index rows; the caller holds the transaction."""
        for row in self.blocks:
            index.write_block(connection, row)
        index.write_transactions(connection, self.transactions)
        index.write_inbox(connection, self.inbox)
        index.write_contracts(connection, self.contracts)
        index.keep(connection, self.raws.items())


@dataclass(slots=True)
class _Parts:
    """What the pages of a file say, unverified."""

    headers: list[Header] = field(default_factory=list)
    leaves: list[tuple[bytes, bytes]] = field(default_factory=list)
    slots: defaultdict[bytes, list[tuple[bytes, bytes]]] = field(default_factory=lambda: defaultdict(list))
    enacted: list[Enacted] = field(default_factory=list)
    kept: dict[int, Kept] = field(default_factory=dict)


def verified(file: BinaryIO, genesis: Genesis, network: NetworkId, app_hash: bytes, header: bytes) -> Restored:
    """Return the state in a snapshot's file.

    Args:
        file: All chunks, from the first byte on.
        genesis: Of the network.
        network: Its id.
        app_hash: After the snapshot's block, verified.
        header: Hash of that block's header, verified.

    Raises:
        EncodingError, CryptoError, LedgerRefused: not a snapshot, or with a transaction that does not open.
        ProofInvalid: not the one of this app hash and header.
    """
    parts = _parts(file)
    # (1) The map. A path given twice would be counted once.
    values = SparseMap.of(parts.leaves)
    if values.root != app_hash or len(values) != len(parts.leaves):
        raise ProofInvalid("snapshot: its leaves do not hash to the app hash")
    # (2) The headers, and with them height and time.
    _check_chain(parts.headers, header)
    own = parts.headers[0]
    slots = {contract: SparseMap.of(items) for contract, items in parts.slots.items()}
    transactions = dict(_opened(parts.kept, network))
    found = survey(network, values)
    attachments = _attachments(found, transactions)
    state = assembled(genesis, own.height, own.time_ns, values, slots, attachments, tuple(parts.enacted))
    if parts.headers[-1].height > 1 and own.time_ns - parts.headers[-1].time_ns <= anchor_span(state):
        raise ProofInvalid("snapshot: its headers end too early")
    # (3) Slots and (4) governance.
    if not slots.keys() <= found.contracts.keys():
        raise ProofInvalid("snapshot: slots of no contract")
    check_roots(state, app_hash, found.contracts)
    # (5) Blocks, (6) transactions.
    _check_kept(parts.kept, own)
    if transactions.keys() != found.ids:
        raise ProofInvalid("snapshot: its transactions are not those that the map refers to")
    return _restored(state, parts, found, transactions)


def _parts(file: BinaryIO) -> _Parts:
    parts = _Parts()
    for page in read(file):
        match page:
            case Headers(headers=headers):
                parts.headers += map(decode_header, headers)
            case Leaves(leaves=leaves):
                parts.leaves += ((leaf.path, leaf.value) for leaf in leaves)
            case Slots(contract=contract, slots=slots):
                parts.slots[contract] += ((slot.tag, slot.value) for slot in slots)
            case Actions(actions=actions):
                parts.enacted += actions
            case Kept(height=height):
                parts.kept[height] = page
    return parts


def _check_chain(headers: list[Header], newest: bytes) -> None:
    if not headers or headers[0].hash() != newest:
        raise ProofInvalid("snapshot: its header is not the block's")
    for later, earlier in pairwise(headers):
        if earlier.height != later.height - 1 or earlier.hash() != later.last_block_id.hash:
            raise ProofInvalid(f"snapshot: header {earlier.height} does not lead to the next one")


@dataclass(frozen=True, slots=True)
class _Standing:
    """A transaction with its place."""

    raw: bytes
    transaction: Transaction
    height: int
    position: int


def _opened(kept: Mapping[int, Kept], network: NetworkId) -> Iterator[tuple[bytes, _Standing]]:
    for height, block in kept.items():
        for item in block.transactions:
            identity = transaction_id(item.raw)
            if item.index >= len(block.ids) or block.ids[item.index] != identity:
                raise ProofInvalid(f"snapshot: a transaction that is not in block {height}")
            yield identity, _Standing(item.raw, open_signed(item.raw, network), height, item.index)


def _attachments(found: Survey, transactions: Mapping[bytes, _Standing]) -> dict[bytes, Record]:
    attachments: dict[bytes, Record] = {}
    for path, identity in found.collateral.items():
        standing = transactions.get(identity)
        if standing is None or not isinstance(standing.transaction.body, UpdateCollateral):
            raise ProofInvalid("snapshot: collateral without its transaction")
        attachments[path] = standing.transaction.body.collateral
    return attachments


def _check_kept(kept: Mapping[int, Kept], own: Header) -> None:
    last = kept.get(own.height)
    if last is None or merkle.root(list(last.ids)) != own.data_hash:
        raise ProofInvalid("snapshot: not the transactions of its block")
    for height, block in kept.items():
        if height > own.height or len(block.results) != len(block.ids):
            raise ProofInvalid(f"snapshot: block {height} does not fit together")


def _restored(state: State, parts: _Parts, found: Survey, transactions: Mapping[bytes, _Standing]) -> Restored:
    rows = []
    inbox = []
    for identity, item in transactions.items():
        contract, entry = found.waiting.get(identity, (b"", 0))
        kind, sender = kind_of(item.transaction), item.transaction.sender
        rows.append(index.TransactionRow(identity, item.height, item.position, 0, "", kind, sender, contract, entry))
        if entry:
            inbox.append(index.InboxRow(contract, entry, identity, sender, item.height, item.position))
    for identity, waiting in found.letters:
        if waiting.letter is not None:
            at = (waiting.contract, waiting.entry, identity, sender_of(waiting.letter), waiting.height, 0)
            inbox.append(index.InboxRow(*at, encode(waiting.letter)))
    deployed = []
    for contract, record in found.contracts.items():
        place = transactions[record.deployment]
        deployed.append((contract, place.height, place.position))
    return Restored._mint(  # noqa: SLF001 - the one place that makes it
        state=state,
        blocks=tuple(_block_rows(state, parts)),
        transactions=tuple(rows),
        inbox=tuple(inbox),
        contracts=tuple(deployed),
        raws={identity: item.raw for identity, item in transactions.items()},
    )


def _block_rows(state: State, parts: _Parts) -> Iterator[index.BlockRow]:
    """Yield a row for each header, and for each other block of which something is kept: hash and time unknown."""
    app_hash = state.values.root
    for header in parts.headers:
        kept = parts.kept.pop(header.height, None)
        ids, results = (kept.ids, kept.results) if kept is not None else ((), ())
        yield index.BlockRow(header.height, header.hash(), header.time_ns, app_hash, ids, results)
        app_hash = header.app_hash
    for height, kept in parts.kept.items():
        yield index.BlockRow(height, b"", 0, b"", kept.ids, kept.results)
