"""Snapshots on the disk: the last few, each in a file of its own beside its manifest.

A snapshot is there once its manifest is; that is written last, after the content has reached the disk. What a crash
left without a manifest is removed at the start.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from threading import Lock
from typing import Final, final

from keephold.base.errors import EncodingError
from keephold.crypto.hashing import sha256
from keephold.ledger.engines.statesync import Snapshot
from keephold.ledger.snapshots.content import CHUNK_SIZE, FORMAT, Manifest
from keephold.protocol.codec import decode, encode

_CONTENT: Final = ".snapshot"
_MANIFEST: Final = ".manifest"


@final
class Shelf:
    """One directory of snapshots. Every method may be called from any thread."""

    def __init__(self, directory: Path) -> None:
        """Open the directory, if there is one, and clear it of what was not finished."""
        self._directory: Final = directory
        self._lock: Final = Lock()
        self._manifests: Final[dict[int, Manifest]] = {}
        for path in sorted(directory.glob(f"*{_MANIFEST}")):
            try:
                manifest = decode(path.read_bytes(), Manifest)
            except EncodingError:  # damaged: a snapshot can be taken again
                path.unlink()
            else:
                self._manifests[manifest.height] = manifest
        for path in directory.glob(f"*{_CONTENT}"):
            if not path.with_suffix(_MANIFEST).exists():
                path.unlink()

    def heights(self) -> tuple[int, ...]:
        """Return the heights of the snapshots, newest first."""
        with self._lock:
            return tuple(sorted(self._manifests, reverse=True))

    def put(self, network: bytes, height: int, app_hash: bytes, chunks: Iterable[bytes]) -> Manifest:
        """Write a snapshot; it is on the disk when this returns."""
        self._directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        content = self._path(height, _CONTENT)
        hashes = []
        with content.open("wb") as file:
            for chunk in chunks:
                hashes.append(sha256(chunk))
                file.write(chunk)
            file.flush()
            os.fsync(file.fileno())
        manifest = Manifest(network, height, app_hash, tuple(hashes))
        draft = self._path(height, ".draft")
        with draft.open("wb") as file:
            file.write(encode(manifest))
            file.flush()
            os.fsync(file.fileno())
        draft.replace(self._path(height, _MANIFEST))
        directory = os.open(self._directory, os.O_RDONLY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)
        with self._lock:
            self._manifests[height] = manifest
        return manifest

    def keep(self, count: int) -> None:
        """Remove all snapshots but the newest `count`."""
        for height in self.heights()[count:]:
            with self._lock:
                del self._manifests[height]
            self._path(height, _MANIFEST).unlink()
            self._path(height, _CONTENT).unlink()

    def list(self) -> tuple[Snapshot, ...]:
        """Return the snapshots as they are announced, newest first."""
        with self._lock:
            manifests = [self._manifests[height] for height in sorted(self._manifests, reverse=True)]
        return tuple(Snapshot(item.height, FORMAT, len(item.chunks), item.hash(), encode(item)) for item in manifests)

    def load(self, height: int, index: int) -> bytes:
        """Return one chunk; empty if there is no such snapshot or chunk (any more)."""
        with self._lock:
            manifest = self._manifests.get(height)
        if manifest is None or not 0 <= index < len(manifest.chunks):
            return b""
        try:
            with self._path(height, _CONTENT).open("rb") as file:
                file.seek(index * CHUNK_SIZE)
                return file.read(CHUNK_SIZE)
        except FileNotFoundError:  # removed meanwhile
            return b""

    def _path(self, height: int, suffix: str) -> Path:
        return self._directory / f"{height}{suffix}"
