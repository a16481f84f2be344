"""A ledger's snapshots as state sync sees them: those on the shelf are served, and an empty ledger restores one.

Nothing that arrives is believed. The manifest says what each chunk has to be, so a wrong chunk is refused with its
sender; all chunks together have to be the state of an app hash and a header that a light client followed from the
genesis (`restore`). They are gathered in a file beside the ledger, which is removed at the next start; the ledger
itself changes in one transaction at the end, so a crash at any moment leaves it empty or restored.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, Final, final

from keephold.base.errors import ChainRefused, EncodingError, KeepholdError, UnavailableError
from keephold.ledger.application import LedgerApplication
from keephold.ledger.engines.base import StoredBlock
from keephold.ledger.engines.statesync import Offered, Origin, Snapshot, Taken
from keephold.ledger.snapshots.content import CHUNK_SIZE, FORMAT, Manifest, is_chunk
from keephold.ledger.snapshots.restore import verified
from keephold.ledger.snapshots.shelf import Shelf
from keephold.protocol.codec import decode

_LOG: Final = logging.getLogger("keephold.snapshots")
_INCOMING: Final = "incoming"


@final
class Nowhere:
    """The origin of a node that does not join: it restores nothing. Implements `statesync.Origin`."""

    def block(self, height: int) -> StoredBlock:
        """Raise UnavailableError."""
        raise UnavailableError(f"no nodes are named to ask for block {height}")

    def below(self, above: StoredBlock, count: int) -> Sequence[StoredBlock]:  # noqa: ARG002 - the protocol's signature
        """Raise UnavailableError."""
        raise UnavailableError("no nodes are named to ask for older blocks")


@dataclass(slots=True)
class _Arriving:
    """The snapshot that is being gathered."""

    manifest: Manifest
    header: bytes
    """Hash of its block's header, from our own light client."""
    file: BinaryIO
    missing: set[int] = field(default_factory=set)


@final
class SnapshotService:
    """Implements `statesync.Snapshots`."""

    def __init__(self, application: LedgerApplication, shelf: Shelf, directory: Path, origin: Origin) -> None:
        """Serve from a shelf, and gather in a directory.

        Args:
            application: The ledger.
            shelf: Of its snapshots.
            directory: Where a snapshot is gathered; what an earlier run left there is removed.
            origin: Where the block of a snapshot is found; `Nowhere` restores nothing.
        """
        self._application: Final = application
        self._shelf: Final = shelf
        self._path: Final = directory / _INCOMING
        self._origin: Final = origin
        self._arriving: _Arriving | None = None
        self._path.unlink(missing_ok=True)

    def list(self) -> tuple[Snapshot, ...]:
        """Return what can be loaded, newest first."""
        return self._shelf.list()

    def load(self, height: int, kind: int, index: int) -> bytes:
        """Return one chunk; empty if there is none (any more)."""
        return self._shelf.load(height, index) if kind == FORMAT else b""

    def offer(self, snapshot: Snapshot, app_hash: bytes) -> Offered:
        """Begin to restore a snapshot, if this ledger is empty and the snapshot could be one of its network."""
        self._give_up()
        # (1) Nothing that was applied here is ever replaced.
        if not self._application.is_untouched:
            return Offered.ABORT
        # (2) It says of itself what was announced, and what is asked for.
        if snapshot.format != FORMAT:
            return Offered.REJECT_FORMAT
        try:
            manifest = decode(snapshot.metadata, Manifest)
        except EncodingError:
            return Offered.REJECT
        announced = (snapshot.height, snapshot.chunks, snapshot.hash)
        if announced != (manifest.height, len(manifest.chunks), manifest.hash()):
            return Offered.REJECT
        if (manifest.network, manifest.app_hash) != (self._application.network, app_hash):
            return Offered.REJECT
        # (3) Its block is on our chain.
        try:
            header = self._origin.block(manifest.height).signed.header.hash()
        except UnavailableError as error:
            _LOG.warning("no snapshot can be restored now: %s", error)
            return Offered.ABORT
        except ChainRefused as error:
            _LOG.warning("a snapshot of block %d is not of this chain: %s", manifest.height, error)
            return Offered.REJECT
        self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._arriving = _Arriving(manifest, header, self._path.open("w+b"), set(range(snapshot.chunks)))
        _LOG.info("restoring the snapshot of block %d: %d chunks", manifest.height, snapshot.chunks)
        return Offered.ACCEPT

    def apply(self, index: int, chunk: bytes) -> Taken:
        """Take one chunk; with the last one the ledger is restored, or the snapshot refused."""
        arriving = self._arriving
        if arriving is None:
            return Taken.ABORT
        if not is_chunk(arriving.manifest, index, chunk):
            return Taken.REFETCH
        arriving.file.seek(index * CHUNK_SIZE)
        arriving.file.write(chunk)
        arriving.missing.discard(index)
        if arriving.missing:
            return Taken.ACCEPT
        try:
            self._restore(arriving)
        except KeepholdError as error:
            _LOG.warning("the snapshot of block %d is refused: %s", arriving.manifest.height, error)
            return Taken.REJECT_SNAPSHOT
        finally:
            self._give_up()
        return Taken.ACCEPT

    def _restore(self, arriving: _Arriving) -> None:
        application, manifest = self._application, arriving.manifest
        arriving.file.seek(0)
        restored = verified(arriving.file, application.genesis, application.network, manifest.app_hash, arriving.header)
        application.adopt(restored.state, restored.write)
        _LOG.info("restored the state after block %d", restored.state.height)

    def _give_up(self) -> None:
        arriving, self._arriving = self._arriving, None
        if arriving is not None:
            arriving.file.close()
            self._path.unlink(missing_ok=True)
