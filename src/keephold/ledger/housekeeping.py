"""What a node does beside consensus, in a thread of its own: snapshots for newcomers, and forgetting old history.

**Snapshots** are taken of blocks whose height is a multiple of an interval, the same at every node: newcomers gather
one from several nodes. Taking one reads an immutable state, so no block waits for it.

**Pruning** forgets the content of blocks older than a window of block time: transactions, results, receipts. What the
map still refers to is kept (`survey`), so whoever verifies a registration, a contract or a waiting call finds it; so
are headers, the law and all it came from. The index goes first, then the blocks: `first` never promises too much.

The window has to be as long as anybody may still ask. `programs` refuses one shorter than the trusting period (a client
that comes back after so long cannot follow anyway) and than evidence counts.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Final, final

import apsw

from keephold.base.errors import NotKept
from keephold.ledger import index
from keephold.ledger.archive import Archive
from keephold.ledger.snapshots.content import chunked
from keephold.ledger.snapshots.shelf import Shelf
from keephold.ledger.snapshots.take import pages
from keephold.ledger.survey import survey

_LOG: Final = logging.getLogger("keephold.housekeeping")
_STRETCH: Final = 256
"""Blocks pruned in one transaction: a commit waits for no more."""

_EVERY: Final = 64
"""Blocks between two looks at what is too old."""


@dataclass(frozen=True, slots=True)
class Habits:
    """What is kept, and what is taken. The default keeps everything and takes nothing."""

    snapshot_interval: int = 0
    """Blocks between two snapshots; 0: none are taken."""
    snapshots: int = 2
    """How many are kept."""
    window_ns: int = 0
    """Block time that history reaches back; 0: to the beginning."""


@final
class Housekeeper:
    """Keeps house for one ledger. `start` a thread, or call `tidy` after blocks."""

    def __init__(self, archive: Archive, shelf: Shelf, habits: Habits) -> None:
        self._archive: Final = archive
        self._shelf: Final = shelf
        self._habits: Final = habits
        self._wake: Final = threading.Condition()
        self._height = self._done = 0
        self._stopping = False
        self._thread: threading.Thread | None = None
        self._unsubscribe: Callable[[], None] = lambda: None
        self._looked = 0

    def start(self) -> None:
        """Keep house from now on, after each block."""
        self._unsubscribe = self._archive.engine.subscribe(self._announced)
        self._thread = threading.Thread(target=self._run, name="keephold-housekeeping", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Finish what is under way, and end."""
        self._unsubscribe()
        with self._wake:
            self._stopping = True
            self._wake.notify()
        if self._thread is not None:
            self._thread.join()

    def tidy(self, height: int) -> None:
        """Do what is due once a block is there."""
        interval = self._habits.snapshot_interval
        if interval and height >= interval:
            self._take(height - height % interval)
        if self._habits.window_ns and height - self._looked >= _EVERY:
            self._looked = height
            self.prune(self._outside_window(height))

    # --- snapshots ---

    def _take(self, height: int) -> None:
        application = self._archive.application
        taken = self._shelf.heights()
        state = application.map.version(height)
        if state is None or (taken and taken[0] >= height) or height < self._archive.first():
            return
        try:
            root = state.values.root
            manifest = self._shelf.put(application.network, height, root, chunked(pages(self._archive, state)))
        except NotKept as error:
            _LOG.warning("no snapshot of block %d: %s", height, error)
            return
        self._shelf.keep(self._habits.snapshots)
        _LOG.info("took a snapshot of block %d: %d chunks", height, len(manifest.chunks))

    # --- pruning ---

    def _outside_window(self, newest: int) -> int:
        """Return the lowest height inside the window, by bisection over the blocks' times."""
        archive = self._archive
        oldest_ns = archive.application.map.newest.time_ns - self._habits.window_ns
        low, high = archive.first(), newest
        while low < high:
            middle = (low + high) // 2
            anchor = archive.application.map.anchor(middle)
            if anchor is not None and anchor.time_ns < oldest_ns:
                low = middle + 1
            else:
                high = middle
        return low

    def prune(self, below: int) -> None:
        """Forget history below a height, as far as nothing refers to it."""
        archive = self._archive
        ledger = archive.application.map
        # Never the newest block: with it gone a ledger would look as if no block had been applied to it.
        below = min(below, ledger.newest.height, archive.engine.latest())
        if below <= archive.first():
            return
        found = survey(archive.application.network, ledger.newest.values)
        living, letters = found.ids, {identity for identity, _ in found.letters}
        for start in range(archive.first(), below, _STRETCH):
            end = min(start + _STRETCH, below)
            rows = ledger.query(lambda reader, end=end: index.transactions_below(reader, end))  # type: ignore[misc] # a default argument's type
            stay = [row for row in rows if row.id in living]
            raws = [(row.id, raw) for row in stay if row.height >= start and (raw := archive.raw(row)) is not None]
            gone = [row.id for row in rows if row.id not in living]
            heights = {row.height for row in stay}
            ledger.prune(end, _forgetting(end, gone, heights, raws, letters))
            archive.engine.prune(end)
        _LOG.info("history before block %d is forgotten", below)

    # --- the thread ---

    def _announced(self, height: int) -> None:
        with self._wake:
            self._height = height
            self._wake.notify()

    def _run(self) -> None:
        while height := self._next():
            try:
                self.tidy(height)
            except Exception:  # noqa: BLE001 - consensus must not end for it, and the next block is another occasion
                _LOG.exception("housekeeping after block %d failed", height)

    def _next(self) -> int:
        """Return the newest height once it rose; 0: to end instead."""
        with self._wake:
            self._wake.wait_for(lambda: self._stopping or self._height > self._done)
            self._done = self._height
            return 0 if self._stopping else self._height


def _forgetting(
    below: int, gone: list[bytes], heights: set[int], raws: list[tuple[bytes, bytes]], letters: Collection[bytes]
) -> Callable[[apsw.Connection], None]:
    def write(connection: apsw.Connection) -> None:
        index.keep(connection, raws)
        index.forget(connection, below, gone, heights, letters)

    return write
