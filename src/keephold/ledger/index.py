"""Indexes: where things stand. No rule reads them, and none is in the app hash; each can be rebuilt from the blocks.

Where blocks are not kept any more (`first`), indexes keep what the map still refers to (`survey`): the rows of those
transactions, their bytes (`kept`), and the ids and results of the blocks they stand in, from which a proof is made. Of
all other blocks below, only hash and time remain.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import apsw

from keephold.ledger.engines.base import TransactionOutcome
from keephold.ledger.sqlite import delete, insert
from keephold.protocol.codec import Record, decode, encode
from keephold.protocol.wire import TransactionResult

T = TypeVar("T")

SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS block (
    height INTEGER PRIMARY KEY, hash BLOB NOT NULL, time_ns INTEGER NOT NULL, app_hash BLOB NOT NULL,
    ids BLOB NOT NULL, results BLOB NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS tx (
    id BLOB PRIMARY KEY, height INTEGER NOT NULL, position INTEGER NOT NULL, code INTEGER NOT NULL,
    detail TEXT NOT NULL, kind TEXT NOT NULL, sender BLOB NOT NULL, contract BLOB NOT NULL, entry INTEGER NOT NULL)
    WITHOUT ROWID, STRICT;
CREATE TABLE IF NOT EXISTS inbox (
    contract BLOB, entry INTEGER, id BLOB NOT NULL, sender BLOB NOT NULL, height INTEGER NOT NULL,
    position INTEGER NOT NULL, raw BLOB NOT NULL, PRIMARY KEY (contract, entry)) WITHOUT ROWID, STRICT;
CREATE TABLE IF NOT EXISTS result (
    contract BLOB, first INTEGER, count INTEGER NOT NULL, height INTEGER NOT NULL, position INTEGER NOT NULL,
    PRIMARY KEY (contract, first)) WITHOUT ROWID, STRICT;
CREATE TABLE IF NOT EXISTS contract (id BLOB PRIMARY KEY, height INTEGER NOT NULL, position INTEGER NOT NULL)
    WITHOUT ROWID, STRICT;
CREATE INDEX IF NOT EXISTS contract_order ON contract (height, position);
CREATE TABLE IF NOT EXISTS kept (id BLOB PRIMARY KEY, raw BLOB NOT NULL) WITHOUT ROWID, STRICT;
CREATE TABLE IF NOT EXISTS history (name TEXT PRIMARY KEY, height INTEGER NOT NULL) WITHOUT ROWID, STRICT;
CREATE INDEX IF NOT EXISTS block_with_ids ON block (height) WHERE ids <> x'';
CREATE INDEX IF NOT EXISTS tx_height ON tx (height);
CREATE INDEX IF NOT EXISTS inbox_height ON inbox (height);
CREATE INDEX IF NOT EXISTS result_height ON result (height);
"""
"""The indexes by height are for `forget`, which would otherwise read all of a history to find its end."""

TABLES: Final = ("block", "tx", "inbox", "result", "contract", "kept", "history")
_FIRST: Final = "first"


class Results(Record):
    """All results of a block, as stored."""

    results: tuple[TransactionResult, ...]


@dataclass(frozen=True, slots=True)
class BlockRow:
    """One block: identity, app hash after it, ids and results of its transactions."""

    height: int
    hash: bytes
    time_ns: int
    app_hash: bytes
    ids: tuple[bytes, ...]
    results: tuple[TransactionResult, ...]


@dataclass(frozen=True, slots=True)
class TransactionRow:
    """Where a transaction stands and what became of it."""

    id: bytes
    height: int
    position: int
    code: int
    detail: str
    kind: str
    """Its body's tag; empty if it did not decode."""
    sender: bytes
    contract: bytes = b""
    """Of an accepted call, with its inbox index."""
    entry: int = 0


@dataclass(frozen=True, slots=True)
class InboxRow:
    """One inbox entry."""

    contract: bytes
    entry: int
    id: bytes
    sender: bytes
    """The account; of an entry that no account signed, the contract at its other end."""
    height: int
    position: int
    """Of the call, or of the result that carried the entry."""
    raw: bytes = b""
    """`protocol.channel.InboxEntry`; empty for a call, which stands in its block."""


@dataclass(frozen=True, slots=True)
class ResultRow:
    """One accepted result: the entries it consumed, and the transaction that carried it."""

    contract: bytes
    first: int
    count: int
    height: int
    position: int


@dataclass(frozen=True, slots=True)
class BlockRows:
    """All rows of one block."""

    block: BlockRow
    transactions: tuple[TransactionRow, ...]
    inbox: tuple[InboxRow, ...]
    results: tuple[ResultRow, ...]
    contracts: tuple[tuple[bytes, int], ...]
    """Contract id and the position of its deployment."""


def results_of(outcomes: Sequence[TransactionOutcome]) -> tuple[TransactionResult, ...]:
    """Return the hashed parts of outcomes."""
    return tuple(TransactionResult(outcome.code, outcome.data) for outcome in outcomes)


def write(connection: apsw.Connection, rows: BlockRows) -> None:
    """Insert a block's rows; the caller holds the transaction."""
    block = rows.block
    write_block(connection, block)
    write_transactions(connection, rows.transactions)
    write_inbox(connection, rows.inbox)
    insert(
        connection,
        "INSERT INTO result",
        [(row.contract, row.first, row.count, row.height, row.position) for row in rows.results],
    )
    write_contracts(connection, [(contract, block.height, position) for contract, position in rows.contracts])


def write_block(connection: apsw.Connection, row: BlockRow) -> None:
    """Insert a block's own row."""
    results = encode(Results(row.results)) if row.results else b""
    values = (row.height, row.hash, row.time_ns, row.app_hash, b"".join(row.ids), results)
    connection.execute("INSERT INTO block VALUES (?, ?, ?, ?, ?, ?)", values)


def write_contracts(connection: apsw.Connection, rows: Sequence[tuple[bytes, int, int]]) -> None:
    """Insert contracts with the height and position of their deployments."""
    insert(connection, "INSERT INTO contract", rows)


def write_transactions(connection: apsw.Connection, rows: Sequence[TransactionRow]) -> None:
    """Insert rows. The same bytes may be ordered again after a refusal; what was applied once is never overwritten."""
    insert(
        connection,
        "INSERT INTO tx",
        [
            (row.id, row.height, row.position, row.code, row.detail, row.kind, row.sender, row.contract, row.entry)
            for row in rows
        ],
        "ON CONFLICT (id) DO UPDATE SET height = excluded.height, position = excluded.position, code = excluded.code, "
        "detail = excluded.detail, contract = excluded.contract, entry = excluded.entry WHERE tx.code <> 0",
    )


def write_inbox(connection: apsw.Connection, rows: Sequence[InboxRow]) -> None:
    """Insert rows of inbox entries."""
    insert(
        connection,
        "INSERT INTO inbox",
        [(row.contract, row.entry, row.id, row.sender, row.height, row.position, row.raw) for row in rows],
    )


def block(connection: apsw.Connection, height: int) -> BlockRow | None:
    """Return a block's row."""
    for row in connection.execute("SELECT * FROM block WHERE height = ?", (height,)):
        return _block(row)
    return None


def blocks(connection: apsw.Connection) -> list[BlockRow]:
    """Return all blocks' rows, in order of height."""
    return [_block(row) for row in connection.execute("SELECT * FROM block ORDER BY height")]


def last_block(connection: apsw.Connection) -> BlockRow | None:
    """Return the newest block's row."""
    for row in connection.execute("SELECT * FROM block ORDER BY height DESC LIMIT 1"):
        return _block(row)
    return None


def transaction(connection: apsw.Connection, identity: bytes) -> TransactionRow | None:
    """Return where a transaction stands."""
    for row in connection.execute("SELECT * FROM tx WHERE id = ?", (identity,)):
        return TransactionRow(*row)
    return None


def inbox(connection: apsw.Connection, contract: bytes, first: int, limit: int) -> list[InboxRow]:
    """Return consecutive entries of an inbox."""
    rows = connection.execute(
        "SELECT * FROM inbox WHERE contract = ? AND entry >= ? ORDER BY entry LIMIT ?", (contract, first, limit)
    )
    return [InboxRow(*row) for row in rows]


def result_for(connection: apsw.Connection, contract: bytes, entry: int) -> ResultRow | None:
    """Return the accepted result that consumed an entry."""
    rows = connection.execute(
        "SELECT * FROM result WHERE contract = ? AND first <= ? ORDER BY first DESC LIMIT 1", (contract, entry)
    )
    for row in rows:
        found = ResultRow(*row)
        return found if entry < found.first + found.count else None
    return None


def contracts(connection: apsw.Connection, limit: int, offset: int) -> list[bytes]:
    """Return ids of contracts, newest first."""
    rows = connection.execute(
        "SELECT id FROM contract ORDER BY height DESC, position DESC LIMIT ? OFFSET ?", (limit, offset)
    )
    return [contract for (contract,) in rows]


def first(connection: apsw.Connection) -> int:
    """Return the lowest height whose rows are all here; 1 unless older ones were pruned or never were."""
    return next((int(height) for (height,) in connection.execute("SELECT height FROM history")), 1)


def begin(connection: apsw.Connection, height: int) -> None:
    """Say that rows below a height are not all here any more."""
    connection.execute("INSERT OR REPLACE INTO history VALUES (?, ?)", (_FIRST, height))


def keep(connection: apsw.Connection, raws: Iterable[tuple[bytes, bytes]]) -> None:
    """Keep transactions, by id, beyond their blocks."""
    insert(connection, "INSERT OR REPLACE INTO kept", raws)


def kept(connection: apsw.Connection, identity: bytes) -> bytes | None:
    """Return a transaction that was kept beyond its block."""
    for (raw,) in connection.execute("SELECT raw FROM kept WHERE id = ?", (identity,)):
        return bytes(raw)
    return None


def transactions_below(connection: apsw.Connection, height: int) -> list[TransactionRow]:
    """Return all rows of blocks below a height."""
    return [TransactionRow(*row) for row in connection.execute("SELECT * FROM tx WHERE height < ?", (height,))]


def forget(
    connection: apsw.Connection,
    below: int,
    gone: Sequence[bytes],
    heights: Collection[int],
    letters: Collection[bytes],
) -> None:
    """Delete what belongs to these transactions, and what blocks below a height say unless something of them stays.

    Of inbox entries that no account signed these `letters` stay: they wait.

    Hash and time of every block stay, and so does each contract's place.
    """
    ids = [(identity,) for identity in gone]
    delete(connection, "tx", ("id",), ids)
    delete(connection, "kept", ("id",), ids)
    entries: list[Any] = connection.execute(
        "SELECT contract, entry, id FROM inbox WHERE height < ? AND id NOT IN (SELECT id FROM kept)", (below,)
    ).fetchall()
    consumed = [(bytes(row[0]), int(row[1])) for row in entries if row[2] not in letters]
    delete(connection, "inbox", ("contract", "entry"), consumed)
    connection.execute("DELETE FROM result WHERE height < ?", (below,))
    emptied = connection.execute("SELECT height FROM block WHERE height < ? AND ids <> x''", (below,)).fetchall()
    connection.executemany(
        "UPDATE block SET ids = x'', results = x'' WHERE height = ?",
        [(height,) for (height,) in emptied if height not in heights],
    )


def _block(row: tuple[int, bytes, int, bytes, bytes, bytes]) -> BlockRow:
    height, digest, time_ns, app_hash, ids, results = row
    return BlockRow(
        height,
        digest,
        time_ns,
        app_hash,
        tuple(ids[at : at + 32] for at in range(0, len(ids), 32)),
        decode(results, Results).results if results else (),
    )
