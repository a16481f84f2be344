"""The block store: final blocks, on the disk before anybody acts on them.

One row a header with its commit, one row a transaction, one row whenever the validators changed. A block is stored in
one SQLite transaction, before it is finalized; so after a crash the application is at most one block behind.

**What is not here.** Transactions of old blocks may be pruned, and a store that began in the middle (`adopt`) never had
them: `first` is the lowest height that has its transactions. Headers are never pruned, because clients follow them from
the genesis; those below the block that was adopted come later, downwards (`backfill`).
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Final, final

import apsw

from keephold.chain.validators import ValidatorSet, decode_validator_set, encode_validator_set
from keephold.chain.wire import decode_signed_header, encode_signed_header
from keephold.ledger.engines.base import StoredBlock
from keephold.ledger.sqlite import connect, insert

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS header (height INTEGER PRIMARY KEY, signed BLOB NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS body (
    height INTEGER, position INTEGER, raw BLOB NOT NULL, PRIMARY KEY (height, position)) WITHOUT ROWID, STRICT;
CREATE TABLE IF NOT EXISTS validators (height INTEGER PRIMARY KEY, encoded BLOB NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS span (name TEXT PRIMARY KEY, height INTEGER NOT NULL) WITHOUT ROWID, STRICT;
"""
_FIRST: Final = "first"


@final
class BlockStore:
    """Blocks of one chain in one file. One thread appends; any thread prunes, fills in and reads."""

    def __init__(self, path: Path) -> None:
        self._writer: Final = connect(path)
        self._writing: Final = threading.Lock()
        self._writer.execute(_SCHEMA)
        # A connection of their own: readers do not wait while a block is forced to the disk.
        self._reader: Final = connect(path)
        self._reading: Final = threading.Lock()
        self._newest_validators: dict[int, ValidatorSet] = {}
        self._first = next((int(at) for (at,) in self._reader.execute("SELECT height FROM span")), 1)

    @property
    def first(self) -> int:
        """The lowest height whose transactions are here; one above the newest block if none are."""
        return self._first

    def append(self, stored: StoredBlock, transactions: tuple[bytes, ...]) -> None:
        """Store a block; it is on the disk when this returns."""
        height = stored.signed.header.height
        sets = {height: stored.validators, height + 1: stored.next_validators}
        with self._writing, self._writer:
            self._writer.execute("INSERT INTO header VALUES (?, ?)", (height, encode_signed_header(stored.signed)))
            body = [(height, position, raw) for position, raw in enumerate(transactions)]
            insert(self._writer, "INSERT INTO body", body)
            for at, validators in sets.items():
                known = self._newest_validators.get(at) or self._newest_validators.get(at - 1)
                if (known or _validators(self._writer, at)) != validators:
                    self._writer.execute("INSERT INTO validators VALUES (?, ?)", (at, encode_validator_set(validators)))
        self._newest_validators = sets

    def adopt(self, stored: StoredBlock) -> None:
        """Go on above a block that is above all that are here; the transactions of neither are."""
        height = stored.signed.header.height
        with self._writing, self._writer:
            self._fill(stored)
            self._begin(height + 1)
        self._newest_validators = {height: stored.validators, height + 1: stored.next_validators}
        self._first = height + 1

    def backfill(self, blocks: Iterable[StoredBlock]) -> None:
        """Store headers of old blocks, which the caller has verified."""
        with self._writing, self._writer:
            for stored in blocks:
                self._fill(stored)

    def prune(self, below: int) -> None:
        """Forget the transactions of blocks below a height, but not those of the newest block."""
        below = min(below, self.last())
        if below <= self._first:
            return
        with self._writing, self._writer:
            self._writer.execute("DELETE FROM body WHERE height < ?", (below,))
            self._begin(below)
        self._first = below

    def oldest(self) -> int:
        """Return the height down to which headers are here without a gap, from `first` - 1 (which may be 0) on."""
        below = self._first - 1
        with self._reading:
            for (height,) in self._reader.execute(
                "SELECT height FROM header AS this WHERE height <= ? AND NOT EXISTS "
                "(SELECT 1 FROM header WHERE height = this.height - 1) ORDER BY height DESC LIMIT 1",
                (below,),
            ):
                return int(height)
        return below

    def last(self) -> int:
        """Return the newest height; 0 if there is none."""
        with self._reading:
            for (height,) in self._reader.execute("SELECT height FROM header ORDER BY height DESC LIMIT 1"):
                return int(height)
        return 0

    def block(self, height: int) -> StoredBlock | None:
        """Return the block at a height."""
        with self._reading:
            for (signed,) in self._reader.execute("SELECT signed FROM header WHERE height = ?", (height,)):
                validators, following = _validators(self._reader, height), _validators(self._reader, height + 1)
                if validators is None or following is None:
                    return None
                return StoredBlock(decode_signed_header(signed), validators, following)
        return None

    def transactions(self, height: int) -> tuple[bytes, ...]:
        """Return a block's transactions, in order."""
        with self._reading:
            rows = self._reader.execute("SELECT raw FROM body WHERE height = ? ORDER BY position", (height,))
            return tuple(raw for (raw,) in rows)

    def transaction(self, height: int, position: int) -> bytes | None:
        """Return one transaction of a block."""
        with self._reading:
            for (raw,) in self._reader.execute(
                "SELECT raw FROM body WHERE height = ? AND position = ?", (height, position)
            ):
                return bytes(raw)
        return None

    def close(self) -> None:
        """Close the file."""
        with self._reading:
            self._reader.close()
        with self._writing:
            self._writer.close()

    def _fill(self, stored: StoredBlock) -> None:
        """Store a header out of order. Each set is found by the row at or next below a height, so both are pinned."""
        height = stored.signed.header.height
        header = (height, encode_signed_header(stored.signed))
        self._writer.execute("INSERT OR REPLACE INTO header VALUES (?, ?)", header)
        sets = (
            (height, encode_validator_set(stored.validators)),
            (height + 1, encode_validator_set(stored.next_validators)),
        )
        if sets[0][1] == sets[1][1]:
            self._writer.execute("DELETE FROM validators WHERE height = ?", (height + 1,))
        for at, encoded in sets:
            known = _validators(self._writer, at)
            if known is None or encode_validator_set(known) != encoded:
                self._writer.execute("INSERT OR REPLACE INTO validators VALUES (?, ?)", (at, encoded))

    def _begin(self, first: int) -> None:
        self._writer.execute("INSERT OR REPLACE INTO span VALUES (?, ?)", (_FIRST, first))


def _validators(connection: apsw.Connection, height: int) -> ValidatorSet | None:
    """Return the set of a height: the one stored last at or below it."""
    rows = connection.execute(
        "SELECT encoded FROM validators WHERE height <= ? ORDER BY height DESC LIMIT 1", (height,)
    )
    for (encoded,) in rows:
        return decode_validator_set(encoded)
    return None
