"""Where two nodes' states differ: the first block that they judged differently, and every path, slot and index.

For the operator after an app hash mismatch. Both states are taken at one height: a ledger that is ahead is brought
there by playing a copy of its own blocks again, up to that height; what it had then is known by its own app hash.
Nothing here is believed or written back: it reads, and says what it saw.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar

import apsw

from keephold.base.errors import ConfigurationError, InputError
from keephold.base.ids import ContractId, PublicKey
from keephold.contract.address import Address
from keephold.ledger import index
from keephold.ledger.application import LedgerApplication
from keephold.ledger.engines.base import Block
from keephold.ledger.engines.store import BlockStore
from keephold.ledger.index import BlockRow
from keephold.protocol import state
from keephold.protocol.genesis import Genesis

K = TypeVar("K")

LEDGER: Final = "ledger.db"
BLOCKS: Final = "blocks.db"
_INDEXES: Final = ("tx", "inbox", "result", "contract")


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing that is not the same."""

    kind: str
    """`block`, `transaction`, `path`, `slot` or `index`."""
    where: str
    left: str
    right: str


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A ledger's committed state, as its file has it."""

    height: int
    leaves: Mapping[bytes, bytes]
    slots: Mapping[tuple[bytes, bytes], bytes]
    """By contract and tag."""
    blocks: Mapping[int, BlockRow]
    indexes: Mapping[str, frozenset[tuple[object, ...]]]
    names: Mapping[bytes, str]
    """What paths mean, of those that can be told from the indexes."""


def read_snapshot(directory: Path) -> Snapshot:
    """Return the state in a ledger's directory, which is not changed.

    Raises:
        ConfigurationError: there is none, or it cannot be read.
    """
    path = directory / LEDGER
    try:
        connection = apsw.Connection(f"file:{path}?mode=ro", flags=apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI)
        connection.execute("BEGIN")  # one moment, whoever else writes
        try:
            return _snapshot(connection)
        finally:
            connection.close()
    except apsw.Error as error:
        raise ConfigurationError(f"{path}: {error}") from error


def _snapshot(connection: apsw.Connection) -> Snapshot:
    blocks = {row.height: row for row in index.blocks(connection)}
    return Snapshot(
        max(blocks, default=0),
        dict(connection.execute("SELECT path, value FROM leaf")),
        {(contract, tag): value for contract, tag, value in connection.execute("SELECT * FROM slot")},
        blocks,
        {name: frozenset(connection.execute(f"SELECT * FROM {name}")) for name in _INDEXES},  # noqa: S608 - constants
        _names(connection),
    )


def read_snapshot_at(directory: Path, height: int, genesis: Genesis) -> Snapshot:
    """Return the state that a ledger had at a height, by playing its blocks again.

    Raises:
        InputError: its first blocks are not kept.
        ConfigurationError: see `read_snapshot`.
    """
    newest = read_snapshot(directory)
    if newest.height == height:
        return newest
    with tempfile.TemporaryDirectory(prefix="keephold-replay-") as place:
        for path in directory.glob(f"{BLOCKS}*"):
            shutil.copy(path, place)
        store = BlockStore(Path(place) / BLOCKS)
        try:
            if store.first > 1:
                raise InputError(f"{directory} keeps blocks from {store.first} on: its state at {height} is not known")
            application = LedgerApplication(genesis, Path(place))
            try:
                for at in range(1, height + 1):
                    stored = store.block(at)
                    if stored is None:
                        raise InputError(f"{directory} has no block {at}")
                    header = stored.signed.header
                    application.finalize(Block(at, header.time_ns, header.hash(), store.transactions(at)))
                    application.commit()
            finally:
                application.close()
        finally:
            store.close()
        replayed = read_snapshot(Path(place))
    if replayed.blocks[height].app_hash != newest.blocks[height].app_hash:
        raise InputError(f"{directory} had another state at {height} than this version of keephold computes")
    return replayed


def differences(left: Snapshot, right: Snapshot) -> Iterator[Difference]:
    """Yield the first block that differs, then what differs in the state at the height that both have.

    Raises:
        InputError: they are at two heights.
    """
    if left.height != right.height:
        raise InputError(f"two heights: {left.height} and {right.height}")
    yield from _first_block(left, right)
    names = {**right.names, **left.names}
    yield from _of_maps(left.leaves, right.leaves, "path", lambda path: names.get(path, f"path {path.hex()}"))
    yield from _of_maps(left.slots, right.slots, "slot", lambda key: f"{Address.contract(key[0])} tag {key[1].hex()}")
    for name in _INDEXES:
        mine, theirs = left.indexes[name], right.indexes[name]
        for row in sorted(mine ^ theirs, key=repr):
            yield Difference("index", name, *((_shown(row), "") if row in mine else ("", _shown(row))))


def _first_block(left: Snapshot, right: Snapshot) -> Iterator[Difference]:
    for height in sorted(left.blocks.keys() & right.blocks.keys()):
        one, other = left.blocks[height], right.blocks[height]
        if one == other:
            continue
        for name in ("hash", "time_ns", "app_hash"):
            mine, theirs = getattr(one, name), getattr(other, name)
            if mine != theirs:
                yield Difference("block", f"{height} {name}", _shown(mine), _shown(theirs))
        if one.ids != other.ids:
            yield Difference("block", f"{height} transactions", _shown(one.ids), _shown(other.ids))
        else:
            for position, (identity, mine, theirs) in enumerate(zip(one.ids, one.results, other.results, strict=False)):
                if mine != theirs:
                    yield Difference(
                        "transaction", f"{height}/{position} {identity.hex()}", _shown(mine), _shown(theirs)
                    )
        return


def _of_maps(
    left: Mapping[K, bytes], right: Mapping[K, bytes], kind: str, name: Callable[[K], str]
) -> Iterator[Difference]:
    for key in sorted(left.keys() | right.keys(), key=repr):
        if left.get(key) != right.get(key):
            yield Difference(kind, name(key), _shown(left.get(key)), _shown(right.get(key)))


def _shown(value: object) -> str:
    if value is None:
        return "none"
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, tuple):
        return " ".join(map(_shown, value)) or "none"
    return str(value)


def _names(connection: apsw.Connection) -> dict[bytes, str]:
    """Return what can be told of paths: those of everybody who sent something, and of every contract."""
    senders = [PublicKey(sender) for (sender,) in connection.execute("SELECT DISTINCT sender FROM tx") if sender]
    contracts = [ContractId(contract) for (contract,) in connection.execute("SELECT id FROM contract")]
    return dict(_pairs(senders, contracts))


def _pairs(senders: Iterable[PublicKey], contracts: Iterable[ContractId]) -> Iterator[tuple[bytes, str]]:
    yield from (
        (state.committee_path(), "committee"),
        (state.governance_path(), "governance"),
        (state.waiting_path(), "waiting contracts"),
        (state.departures_path(), "departures"),
        (state.due_path(), "contracts whose epoch is due"),
        (state.roll_path("worker"), "roll of workers"),
        (state.roll_path("gatekeeper"), "roll of gatekeepers"),
    )
    for sender in senders:
        text = str(Address.account(sender))
        yield state.account_path(sender), f"account {text}"
        yield state.registration_path(sender), f"registration {text}"
        yield state.roster_path(sender), f"roster of {text}"
        yield state.departed_path(sender), f"departed of {text}"
    for contract in contracts:
        yield state.contract_path(contract), f"contract {Address.contract(contract)}"
