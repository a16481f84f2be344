"""SQLite as this package uses it: durable commits, and few, large statements.

Each step of a statement gives up the interpreter lock, and a busy neighbour thread gives it back only after a switch
interval (5 ms by default). A block of a hundred rows, one step each, could take half a second in a node that serves
readers; so many rows go into one statement.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Final

import apsw

_CHUNKS: Final = (64, 16, 4, 1)
"""Rows of one statement: few sizes, so that prepared statements are found again."""

CACHE_KIB: Final = 2048
"""Memory that a connection's cache of pages fills, and no more; a node has four connections."""

Value = bytes | str | int


def connect(path: Path) -> apsw.Connection:
    """Return a connection whose commits are on the disk when they return."""
    connection = apsw.Connection(str(path))
    connection.set_busy_timeout(10_000)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
    return connection


def insert(connection: apsw.Connection, into: str, rows: Iterable[Sequence[Value]], then: str = "") -> None:
    """Execute `{into} VALUES (?, …), … {then}` for all rows, which have one length."""
    left = list(rows)
    at = 0
    for size in _CHUNKS:
        while len(left) - at >= size:
            chunk = left[at : at + size]
            values = [value for row in chunk for value in row]
            connection.execute(_statement(into, size, len(chunk[0]), then), values)
            at += size


def delete(connection: apsw.Connection, table: str, columns: Sequence[str], keys: Iterable[Sequence[Value]]) -> None:
    """Delete the rows with these keys."""
    left = list(keys)
    at = 0
    for size in _CHUNKS:
        while len(left) - at >= size:
            values = [value for key in left[at : at + size] for value in key]
            connection.execute(_deletion(table, tuple(columns), size), values)
            at += size


@lru_cache(maxsize=256)
def _statement(into: str, rows: int, columns: int, then: str) -> str:
    row = "(" + ", ".join("?" * columns) + ")"
    return f"{into} VALUES {', '.join([row] * rows)} {then}"


@lru_cache(maxsize=256)
def _deletion(table: str, columns: tuple[str, ...], rows: int) -> str:
    key = "(" + ", ".join("?" * len(columns)) + ")"
    names = f"({', '.join(columns)})"
    return f"DELETE FROM {table} WHERE {names} IN (VALUES {', '.join([key] * rows)})"  # noqa: S608 - names are ours
