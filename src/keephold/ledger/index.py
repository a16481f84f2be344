"""Indexes: where things stand. No rule reads them, and none is in the app hash; each can be rebuilt from the blocks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

import apsw

from keephold.ledger.engines.base import TransactionOutcome
from keephold.ledger.sqlite import insert
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
    position INTEGER NOT NULL, PRIMARY KEY (contract, entry)) WITHOUT ROWID, STRICT;
CREATE TABLE IF NOT EXISTS result (
    contract BLOB, first INTEGER, count INTEGER NOT NULL, height INTEGER NOT NULL, position INTEGER NOT NULL,
    PRIMARY KEY (contract, first)) WITHOUT ROWID, STRICT;
CREATE TABLE IF NOT EXISTS contract (id BLOB PRIMARY KEY, height INTEGER NOT NULL, position INTEGER NOT NULL)
    WITHOUT ROWID, STRICT;
CREATE INDEX IF NOT EXISTS contract_order ON contract (height, position);
"""


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
    height: int
    position: int


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
    connection.execute(
        "INSERT INTO block VALUES (?, ?, ?, ?, ?, ?)",
        (
            block.height,
            block.hash,
            block.time_ns,
            block.app_hash,
            b"".join(block.ids),
            encode(Results(block.results)) if block.results else b"",
        ),
    )
    # The same bytes may be ordered again after a refusal; what was applied once is never overwritten.
    insert(
        connection,
        "INSERT INTO tx",
        [
            (row.id, row.height, row.position, row.code, row.detail, row.kind, row.sender, row.contract, row.entry)
            for row in rows.transactions
        ],
        "ON CONFLICT (id) DO UPDATE SET height = excluded.height, position = excluded.position, code = excluded.code, "
        "detail = excluded.detail, contract = excluded.contract, entry = excluded.entry WHERE tx.code <> 0",
    )
    insert(
        connection,
        "INSERT INTO inbox",
        [(row.contract, row.entry, row.id, row.sender, row.height, row.position) for row in rows.inbox],
    )
    insert(
        connection,
        "INSERT INTO result",
        [(row.contract, row.first, row.count, row.height, row.position) for row in rows.results],
    )
    insert(
        connection,
        "INSERT INTO contract",
        [(contract, block.height, position) for contract, position in rows.contracts],
    )


def block(connection: apsw.Connection, height: int) -> BlockRow | None:
    """Return a block's row."""
    for row in connection.execute("SELECT * FROM block WHERE height = ?", (height,)):
        return _block(row)
    return None


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
