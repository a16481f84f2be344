from __future__ import annotations

import contextlib

import apsw

from keephold.ledger.sqlite import CACHE_KIB, connect


def cached_kib(connection: apsw.Connection) -> float:
    """Return what the connection's cache holds after a look at everything."""
    connection.execute("SELECT count(*) FROM page WHERE content = x'00'").fetchall()
    return connection.status(apsw.SQLITE_DBSTATUS_CACHE_USED)[0] / 1024


def test_a_connection_caches_no_more_than_it_says(tmp_path):
    with contextlib.closing(connect(tmp_path / "some.db")) as connection:
        connection.execute("CREATE TABLE page (content BLOB)")
        with connection:
            connection.executemany("INSERT INTO page VALUES (zeroblob(1000))", [()] * (2 * CACHE_KIB))
        assert CACHE_KIB * 0.9 < cached_kib(connection) < CACHE_KIB * 1.15
        connection.execute("PRAGMA cache_size = -8000")
        assert cached_kib(connection) > CACHE_KIB * 1.5, "it was the limit that held"
