"""Frames of the block stream: what one reader asked for, proven against the frame's own header.

A frame at height H carries transactions of block H, and results, receipts and map values of the block before, because
that is what header H proves. Everything that readers share is made once: views, proofs, proven values, headers.
"""

from __future__ import annotations

from typing import Final, final

from keephold.base.errors import InputError
from keephold.base.limits import MAX_INTEREST
from keephold.ledger.archive import Archive
from keephold.ledger.views import BlockView
from keephold.protocol.wire import Frame, Interest, LocatedTransaction, ProvenValue

HEAD_INTERVAL_NS: Final = 1_000_000_000
"""A sparse reader sees a head at least this often, in block time."""


@final
class Watch:
    """One reader of the stream. Ask for heights in ascending order; not safe for several threads at once."""

    def __init__(self, archive: Archive, interest: Interest) -> None:
        """Take a reader's interest.

        Raises:
            InputError: it asks for more than `MAX_INTEREST` things.
        """
        size = len(interest.paths) + len(interest.contracts) + len(interest.receipts) + len(interest.identities)
        if size > MAX_INTEREST:
            raise InputError(f"an interest names at most {MAX_INTEREST} things")
        self._archive: Final = archive
        self._interest: Final = interest
        self._paths: Final = frozenset(interest.paths)
        self._receipts: Final = frozenset(interest.receipts)
        self._selects: Final = bool(interest.contracts or interest.identities or interest.custody)
        self._unserved = self._paths
        """Paths whose value at the start is still owed."""
        self._previous = 0
        self._sets = (b"", b"")
        self._last_ns = 0

    def check(self, height: int) -> None:
        """Refuse to begin at a height where not all that the reader asks for is kept.

        Raises:
            NotKept
        """
        if self._selects:
            self._archive.check_kept(height)
        if self._receipts:
            self._archive.check_kept(height - 1)

    def frame(self, height: int) -> Frame | None:
        """Return the frame of a block, or None if the reader is sparse and nothing in it was asked for.

        Values of heights whose version is gone are made up for in the first frame whose version is there.

        Raises:
            InputError: there is no such block (yet).
            NotKept: something that the reader asks for is not here any more.
        """
        light = self._archive.light(height)
        # Old blocks are decoded for their view: only for a reader who asks for what is in them.
        view = self._archive.view(height) if self._selects else None
        before = self._archive.view(height - 1) if self._receipts else None
        transactions = self._transactions(view)
        receipts = self._archive.receipts(before, self._receipts) if before is not None else ()
        values = self._values(height)
        due = light.time_ns - self._last_ns >= HEAD_INTERVAL_NS
        if self._interest.sparse and not (transactions or receipts or values or due):
            self._previous = height
            return None
        sets = (light.validators, light.next_validators)
        shown = sets if sets != self._sets else (b"", b"")
        self._previous, self._sets, self._last_ns = height, sets, light.time_ns
        return Frame(
            height,
            light.signed_header,
            *shown,
            view.ids if transactions and view is not None else (),
            transactions,
            before.results if receipts and before is not None else (),
            values,
            receipts,
        )

    def _transactions(self, view: BlockView | None) -> tuple[LocatedTransaction, ...]:
        if view is None or not view.raws:
            return ()
        positions: set[int] = set(view.custody) if self._interest.custody else set()
        for contract in self._interest.contracts:
            positions.update(view.by_contract.get(contract, ()))
        for identity in self._interest.identities:
            positions.update(view.by_identity.get(identity, ()))
        return tuple(LocatedTransaction(position, view.raws[position]) for position in sorted(positions))

    def _values(self, height: int) -> tuple[ProvenValue, ...]:
        # The version is held from here on: it may leave the kept ones at any moment.
        state = self._archive.version(height - 1) if self._paths else None
        if state is None:
            self._unserved = self._paths
            return ()
        wanted = set(self._unserved)
        for at in range(max(self._previous, 1), height) if self._previous else ():
            changed = self._archive.changed(at)
            if changed is None:
                wanted = set(self._paths)
                break
            wanted |= self._paths & changed
        self._unserved = frozenset()
        return tuple(self._archive.proven(state, path) for path in sorted(wanted))
