"""An application that has no snapshots, for an engine whose tests need none."""

from __future__ import annotations

from typing import final

from keephold.ledger.engines.statesync import Offered, Snapshot, Taken


@final
class NoSnapshots:
    """Of an application that takes none and restores none."""

    def list(self) -> tuple[Snapshot, ...]:
        """Return nothing."""
        return ()

    def load(self, height: int, kind: int, index: int) -> bytes:  # noqa: ARG002 - the protocol's signature
        """Return nothing."""
        return b""

    def offer(self, snapshot: Snapshot, app_hash: bytes) -> Offered:  # noqa: ARG002 - the protocol's signature
        """Decline."""
        return Offered.ABORT

    def apply(self, index: int, chunk: bytes) -> Taken:  # noqa: ARG002 - the protocol's signature
        """Decline."""
        return Taken.ABORT
