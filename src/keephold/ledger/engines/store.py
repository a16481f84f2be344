"""The block store: final blocks, on the disk before anybody acts on them.

One row a header with its commit, one row a transaction, one row whenever the validators changed. A block is stored in
one SQLite transaction, before it is finalized; so after a crash the application is at most one block behind.
"""

from __future__ import annotations

import threading
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
"""


@final
class BlockStore:
    """Blocks of one chain in one file. One thread appends; any thread reads."""

    def __init__(self, path: Path) -> None:
        self._writer: Final = connect(path)
        self._writer.execute(_SCHEMA)
        # A connection of their own: readers do not wait while a block is forced to the disk.
        self._reader: Final = connect(path)
        self._reading: Final = threading.Lock()
        self._newest_validators: dict[int, ValidatorSet] = {}

    def append(self, stored: StoredBlock, transactions: tuple[bytes, ...]) -> None:
        """Store a block; it is on the disk when this returns."""
        height = stored.signed.header.height
        sets = {height: stored.validators, height + 1: stored.next_validators}
        with self._writer:
            self._writer.execute("INSERT INTO header VALUES (?, ?)", (height, encode_signed_header(stored.signed)))
            body = [(height, position, raw) for position, raw in enumerate(transactions)]
            insert(self._writer, "INSERT INTO body", body)
            for at, validators in sets.items():
                known = self._newest_validators.get(at) or self._newest_validators.get(at - 1)
                if (known or _validators(self._writer, at)) != validators:
                    self._writer.execute("INSERT INTO validators VALUES (?, ?)", (at, encode_validator_set(validators)))
        self._newest_validators = sets

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
        self._writer.close()


def _validators(connection: apsw.Connection, height: int) -> ValidatorSet | None:
    """Return the set of a height: the one stored last at or below it."""
    rows = connection.execute(
        "SELECT encoded FROM validators WHERE height <= ? ORDER BY height DESC LIMIT 1", (height,)
    )
    for (encoded,) in rows:
        return decode_validator_set(encoded)
    return None
