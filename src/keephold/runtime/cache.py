"""Compiled guests on disk, and the one in memory that execution processes map.

Loading compiled code is running native code, so a file that someone altered would own the process that holds keys.
Every entry therefore carries a MAC over guest hash, engine fingerprint and code, under a key that the caller derives
from the platform's sealing key. An entry that does not verify is not read any further: the guest is compiled again.

The guest's initial memory is read from the artefact each time, whose hash names it.

The bytes that were checked are the bytes that are loaded: they go into a sealed memory file, inside the TEE, whose
descriptor the execution processes inherit. A mapped host file could change after the check.
"""

from __future__ import annotations

import fcntl
import os
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from keephold.crypto.hashing import equal
from keephold.crypto.kdf import mac
from keephold.crypto.labels import KEY_CACHE
from keephold.crypto.secret import SecretBytes
from keephold.runtime import machine
from keephold.runtime.artefact import GuestArtefact, Progress, silent
from keephold.runtime.image import split

_MAC: Final = 32
_SEALS: Final = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE


class CompiledGuest:
    """Compiled code and initial memory in sealed memory files: shared by every execution process, altered by none."""

    def __init__(self, code: bytes, memory: bytes, sha256: bytes) -> None:
        self.sha256: Final = sha256
        """Of the guest artefact it was compiled from: what genesis pins."""
        self.descriptor: Final = _sealed("keephold-guest", code)
        self.memory: Final = _sealed("keephold-memory", memory)

    def close(self) -> None:
        """Close the descriptors; processes that were started keep theirs."""
        for descriptor in (self.descriptor, self.memory):
            with suppress(OSError):
                os.close(descriptor)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _sealed(name: str, data: bytes) -> int:
    descriptor = os.memfd_create(name, os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    with os.fdopen(os.dup(descriptor), "wb") as file:
        file.write(data)
    fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, _SEALS)
    return descriptor


class CompiledCache:
    """A directory of authenticated entries.

    Args:
        directory: where entries lie; made when missing, for this user only.
        key: 32 secret bytes, from the platform's sealing key. A platform that cannot seal passes a random one: then
            nothing verifies after a restart, and the guest is compiled at boot.
        compiler: for tests.
    """

    def __init__(
        self, directory: Path, key: SecretBytes, compiler: Callable[[bytes], bytes] = machine.compile_component
    ) -> None:
        self._directory: Final = directory
        self._key: Final = key
        self._compiler: Final = compiler

    def guest(self, artefact: GuestArtefact, progress: Progress = silent) -> CompiledGuest:
        """Return the compiled guest: from an entry that verifies, else compiled now (seconds) and stored.

        Raises:
            OSError: the artefact cannot be read. A cache that cannot be written is no error.
            ValueError: the artefact's file is not the one its hash names, or holds no guest.
        """
        guest = split(artefact.read())
        entry = self._directory / f"{artefact.sha256.hex()[:16]}.cwasm"
        parts = (artefact.sha256, machine.fingerprint().encode())
        with suppress(OSError):
            stored = entry.read_bytes()
            code = stored[_MAC:]
            if equal(mac(self._key, KEY_CACHE, *parts, code), stored[:_MAC]):
                return CompiledGuest(code, guest.memory, artefact.sha256)
        started = time.monotonic()
        progress("compiling the Python guest for this machine (once)")
        code = self._compiler(guest.code)
        progress(f"compiled in {time.monotonic() - started:.1f} s")
        with suppress(OSError):
            store(entry, mac(self._key, KEY_CACHE, *parts, code) + code)
        return CompiledGuest(code, guest.memory, artefact.sha256)


def store(path: Path, data: bytes) -> None:
    """Write a file as a whole or not at all: a reader that maps the old one keeps it."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
