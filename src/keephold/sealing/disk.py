"""An enclave's sealed disk: files that only this code on this machine opens.

Authenticated by name and by a counter inside, so a file cannot be renamed into another's place. It cannot prevent a
host from putting an *old* version back: who reads a file compares what it says with the ledger (see `enclave`).
Writes are atomic and durable: the file is complete under its name, or the old one is.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final, final

from keephold.base.errors import SealBroken
from keephold.crypto.aead import ContextSealer
from keephold.crypto.labels import SEAL_DISK
from keephold.crypto.opaque import Opaque
from keephold.crypto.secret import SecretBytes

_COUNTER: Final = 16
"""Random bytes stored in front: they make the context of two versions of one file differ."""


@final
class SealedDisk(Opaque):
    """Sealed files in one directory, under a key from the platform's sealing key."""

    __slots__ = ("_directory", "_sealer")

    def __init__(self, key: SecretBytes, directory: Path) -> None:
        """Use `directory` (created, mode 0700) under a 32-byte key.

        Raises:
            BadKey: the key is not 32 bytes.
        """
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._sealer: Final = ContextSealer(key, SEAL_DISK)
        self._directory: Final = directory

    def write(self, name: str, plaintext: SecretBytes) -> None:
        """Seal `plaintext` under `name`; on return it survives a power failure."""
        fresh = SecretBytes.random(_COUNTER).reveal()
        sealed = fresh + self._sealer.seal(plaintext.reveal(), name.encode(), fresh)
        target = self._path(name)
        temporary = target.with_suffix(".new")
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(sealed)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(target)
        directory = os.open(self._directory, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)

    def read(self, name: str) -> SecretBytes:
        """Return what was sealed under `name`.

        Raises:
            FileNotFoundError: nothing was.
            SealBroken: the file was sealed elsewhere, renamed, or altered.
        """
        sealed = self._path(name).read_bytes()
        if len(sealed) < _COUNTER:
            raise SealBroken(f"{name}: cut short")
        fresh = sealed[:_COUNTER]
        return SecretBytes(self._sealer.open(sealed[_COUNTER:], name.encode(), fresh))

    def holds(self, name: str) -> bool:
        """Say whether a file of that name is there; only `read` says whether it opens."""
        return self._path(name).exists()

    def remove(self, name: str) -> None:
        """Delete the file; no error if there is none."""
        self._path(name).unlink(missing_ok=True)

    def _path(self, name: str) -> Path:
        return self._directory / f"{name}.sealed"
