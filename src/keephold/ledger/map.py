"""The map on disk and in memory: leaves in SQLite, recent versions as persistent trees.

SQLite holds the newest leaves only. Trees are rebuilt from them at the start and checked against the app hash that was
stored with them, so a disk that lost or changed a leaf is noticed before anything is built on it. Recent versions stay
in memory for proofs under recent headers: they share all that did not change.

One SQLite transaction a block carries leaves, slots, attachments, governance actions and indexes (`index`): after a
crash the file is at one block, whole.
"""

from __future__ import annotations

import threading
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final, final

import apsw

from keephold.base.errors import ConfigurationError, ProofInvalid
from keephold.base.ids import ContractId, NetworkId
from keephold.chain.sparse import EMPTY_ROOT, SparseMap
from keephold.ledger import index
from keephold.ledger.overlay import Anchor, Changes, State
from keephold.ledger.sqlite import connect, delete, insert
from keephold.protocol.amendments import replay
from keephold.protocol.codec import Record, decode, encode
from keephold.protocol.evidence import Collateral
from keephold.protocol.genesis import Genesis
from keephold.protocol.governance import Enacted, GovernanceRecord, chain_head
from keephold.protocol.state import ContractRecord, contract_path, governance_path

KEPT_VERSIONS: Final = 256
"""Versions in memory; older ones have no proofs any more."""

FORMAT: Final = 3
"""Version of the file; another one is refused, not guessed at."""

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS leaf (path BLOB PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID, STRICT;
CREATE TABLE IF NOT EXISTS slot (
    contract BLOB, tag BLOB, value BLOB NOT NULL, PRIMARY KEY (contract, tag)) WITHOUT ROWID, STRICT;
CREATE TABLE IF NOT EXISTS attachment (path BLOB PRIMARY KEY, record BLOB NOT NULL) WITHOUT ROWID, STRICT;
CREATE TABLE IF NOT EXISTS governance (sequence INTEGER PRIMARY KEY, entry BLOB NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID, STRICT;
"""
_TABLES: Final = ("leaf", "slot", "attachment", "governance", *index.TABLES)
"""All but `meta`."""


@final
class StateMap:
    """The ledger's state: newest and recent versions, and the file behind them.

    One thread commits; any thread may read versions, which are immutable. Queries of the file go through `query`.
    """

    def __init__(self, path: Path, genesis: Genesis, network: NetworkId) -> None:
        """Open or create the file, and rebuild and check what it holds.

        Raises:
            ConfigurationError: the file is another network's, or of another format.
            ProofInvalid: its leaves do not hash to its own app hash.
        """
        self._genesis: Final = genesis
        self._writer: Final = connect(path)
        self._writing: Final = threading.Lock()
        self._reader: Final = connect(path)
        self._reading: Final = threading.Lock()
        try:
            with self._writer:
                self._writer.execute(_SCHEMA + index.SCHEMA)
                self._check_identity(network)
            newest = self._load()
            before = self._before(newest)
            self._first = index.first(self._writer)
        except BaseException:
            self.close()
            raise
        self._versions: OrderedDict[int, State] = OrderedDict((state.height, state) for state in (*before, newest))
        self._newest = newest

    @property
    def newest(self) -> State:
        """The state after the last committed block."""
        return self._newest

    @property
    def first(self) -> int:
        """The lowest height whose block is indexed whole; 1 unless history was pruned, or began with a snapshot."""
        return self._first

    def version(self, height: int) -> State | None:
        """Return the state after block `height`, if it is newest or recent."""
        return self._versions.get(height)

    def slots_at(self, contract: ContractId, root: bytes) -> SparseMap | None:
        """Return the contract's map with this root from a recent version, if one has it."""
        for state in reversed(tuple(self._versions.values())):
            slots = state.slots.get(contract)
            if slots is not None and slots.root == root:
                return slots
        return None

    def anchor(self, height: int) -> Anchor | None:
        """Return hash and time of a committed block; None if it is so old that a snapshot left it out."""
        if not 0 < height <= self._newest.height:
            return None
        found = self.query(lambda reader: index.block(reader, height))
        return None if found is None or not found.hash else Anchor(found.hash, found.time_ns)

    def query(self, ask: Callable[[apsw.Connection], index.T]) -> index.T:
        """Return what `ask` reads from the last committed file."""
        with self._reading:
            return ask(self._reader)

    def commit(self, state: State, changes: Changes, rows: index.BlockRows) -> None:
        """Write a block's changes and index rows in one transaction; then make the state the newest."""
        with self._writing, self._writer:
            values, slots = changes.values.items(), changes.slots.items()
            insert(self._writer, "INSERT OR REPLACE INTO leaf", [(path, value) for path, value in values if value])
            delete(self._writer, "leaf", ("path",), [(path,) for path, value in values if not value])
            insert(self._writer, "INSERT OR REPLACE INTO slot", [(*key, value) for key, value in slots if value])
            delete(self._writer, "slot", ("contract", "tag"), [key for key, value in slots if not value])
            self._write_beside(changes.attachments, changes.enacted)
            index.write(self._writer, rows)
        self._versions[state.height] = state
        self._newest = state
        while len(self._versions) > KEPT_VERSIONS:
            self._versions.popitem(last=False)

    def adopt(self, state: State, write: Callable[[apsw.Connection], None]) -> None:
        """Replace everything by a state that the caller has verified, in one transaction; `write` adds its index rows.

        Until it is committed the file is what it was; a crash leaves it so.
        """
        with self._writing, self._writer:
            for table in _TABLES:
                self._writer.execute(f"DELETE FROM {table}")  # noqa: S608 - names are ours
            insert(self._writer, "INSERT INTO leaf", state.values)
            for contract, slots in state.slots.items():
                insert(self._writer, "INSERT INTO slot", ((contract, tag, value) for tag, value in slots))
            self._write_beside(state.attachments, state.enacted)
            write(self._writer)
            index.begin(self._writer, state.height + 1)
        self._versions = OrderedDict({state.height: state})
        self._newest = state
        self._first = state.height + 1

    def prune(self, below: int, write: Callable[[apsw.Connection], None]) -> None:
        """Let `write` delete index rows of blocks below a height, in one transaction."""
        with self._writing, self._writer:
            write(self._writer)
            index.begin(self._writer, below)
        self._first = below

    def close(self) -> None:
        """Close the file. A process that dies without it loses nothing."""
        self._reader.close()
        self._writer.close()

    def _check_identity(self, network: NetworkId) -> None:
        expected = {"network": network, "format": FORMAT.to_bytes(4, "big")}
        found = dict(self._writer.execute("SELECT name, value FROM meta"))
        if not found:
            self._writer.executemany("INSERT INTO meta VALUES (?, ?)", list(expected.items()))
        elif found != expected:
            raise ConfigurationError("the ledger's file is another network's, or of another format")

    def _write_beside(self, attachments: Mapping[bytes, Record], enacted: Sequence[Enacted]) -> None:
        attached = [(path, encode(record)) for path, record in attachments.items()]
        insert(self._writer, "INSERT OR REPLACE INTO attachment", attached)
        actions = [(entry.signed.proposal.sequence, encode(entry)) for entry in enacted]
        insert(self._writer, "INSERT INTO governance", actions)

    def _load(self) -> State:
        last = index.last_block(self._writer)
        values = SparseMap.of(self._writer.execute("SELECT path, value FROM leaf"))
        by_contract: defaultdict[bytes, list[tuple[bytes, bytes]]] = defaultdict(list)
        for contract, tag, value in self._writer.execute("SELECT contract, tag, value FROM slot"):
            by_contract[contract].append((tag, value))
        slots = {contract: SparseMap.of(items) for contract, items in by_contract.items()}
        attachments: dict[bytes, Record] = {
            path: decode(record, Collateral)
            for path, record in self._writer.execute("SELECT path, record FROM attachment")
        }
        rows = self._writer.execute("SELECT entry FROM governance ORDER BY sequence")
        enacted = tuple(decode(entry, Enacted) for (entry,) in rows)
        height, time_ns = (0, self._genesis.time_ns) if last is None else (last.height, last.time_ns)
        state = assembled(self._genesis, height, time_ns, values, slots, attachments, enacted)
        deployed = index.contracts(self._writer, limit=-1, offset=0)
        check_roots(state, EMPTY_ROOT if last is None else last.app_hash, {*deployed, *slots})
        return state

    def _before(self, newest: State) -> tuple[State, ...]:
        """Return the state after the block before the newest one, if that changed nothing: it is the same map.

        The newest header proves that state. Where the newest block did change something, another follows at once; where
        it did not, as on a chain that rests, the next may be a heartbeat away, and nothing could be proven until then.
        """
        row = index.block(self._writer, newest.height - 1)
        if row is None or row.app_hash != newest.values.root:
            return ()
        parts = newest.values, newest.slots, newest.attachments, newest.enacted
        return (assembled(self._genesis, row.height, row.time_ns, *parts),)


def assembled(
    genesis: Genesis,
    height: int,
    time_ns: int,
    values: SparseMap,
    slots: Mapping[bytes, SparseMap],
    attachments: Mapping[bytes, Record],
    enacted: tuple[Enacted, ...],
) -> State:
    """Return the state of these parts, with the law that follows from its actions."""
    law, waiting, _ = replay(genesis.law, enacted, time_ns)
    return State(height, time_ns, values, slots, attachments, enacted, law, waiting)


def check_roots(state: State, app_hash: bytes, contracts: Iterable[bytes]) -> None:
    """Refuse leaves, slots or governance actions that are not those that the chain committed to.

    Args:
        state: Of which all the parts are checked against `app_hash`.
        app_hash: What the chain says.
        contracts: All of them: the slots of one that is left out are not checked.

    Raises:
        ProofInvalid
    """
    if state.values.root != app_hash:
        raise ProofInvalid(f"the map does not hash to the app hash of block {state.height}")
    for contract in contracts:
        record = state.record(contract_path(ContractId(contract)), ContractRecord)
        if record is None or record.state_root != state.slots.get(contract, SparseMap.empty()).root:
            raise ProofInvalid(f"the slots of contract {contract.hex()} do not hash to its state root")
    head = GovernanceRecord().head
    for entry in state.enacted:
        head = chain_head(head, entry)
    if head != (state.record(governance_path(), GovernanceRecord) or GovernanceRecord()).head:
        raise ProofInvalid("the governance actions do not hash to the head of their chain")
