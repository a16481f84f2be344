"""How long a call takes, as a host can time it: the fuel it burns in the sandbox, which is the same on every run.

Whoever runs a worker sees when an execution begins and ends. A clock would measure the machine as much as the contract,
and differently each time; fuel counts instructions, and a call burns the same fuel wherever it runs. What it does not
show is what caches and memory add, which a host may see as well.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import Final, final

from keephold.crypto.secret import SecretBytes
from keephold.runtime.artefact import cache_directory, guest_artefact
from keephold.runtime.cache import CompiledCache, CompiledGuest
from keephold.runtime.outcome import CallRequest, KeyName, QueryRequest
from keephold.runtime.process import ExecutionProcess

_CACHE_KEY: Final = b"keephold fuel meter".ljust(32, b"\0")
"""Of a cache that the same user writes and reads, for a guest that runs nothing confidential."""


@final
class Committed:
    """A contract's slots before a call, as the sandbox reads them."""

    def __init__(self, slots: Mapping[str, str]) -> None:
        self._slots: Final = slots

    def get(self, key: str) -> bytes | None:
        """See `StateReader`."""
        text = self._slots.get(key)
        return None if text is None else text.encode()

    def public_key(self, name: KeyName) -> bytes:
        """See `StateReader`; any key will do, all are of one length."""
        return bytes(65 if name.scheme == "secp256k1" else 32)


@final
class FuelMeter:
    """Execution processes by source, started when first asked for. `close` ends them."""

    def __init__(self) -> None:
        self._held: Final = contextlib.ExitStack()
        self._guest: CompiledGuest | None = None
        self._processes: Final[dict[str, ExecutionProcess]] = {}

    def fuel(self, source: str, call: CallRequest, slots: Mapping[str, str]) -> int:
        """Return what a call burns on this state.

        Raises:
            SandboxError: the source makes no contract.
            ExecutionCrashed: the call kills its process.
        """
        return self._process(source).execute(call, Committed(slots)).fuel_used

    def fuel_to_answer(self, source: str, question: QueryRequest, slots: Mapping[str, str]) -> int:
        """Return about what a question burns on this state: a worker's instance stays warm for those after it.

        Raises:
            SandboxError: the source makes no contract.
            ExecutionCrashed: the question kills its process.
        """
        return self._process(source).query(question, Committed(slots)).fuel_used

    def _process(self, source: str) -> ExecutionProcess:
        if self._guest is None:
            cache = CompiledCache(cache_directory() / "fuel", SecretBytes(_CACHE_KEY))
            self._guest = self._held.enter_context(cache.guest(guest_artefact()))
        process = self._processes.get(source)
        if process is None or not process.is_alive:
            process = self._held.enter_context(ExecutionProcess.start(self._guest, source))
            self._processes[source] = process
        return process

    def close(self) -> None:
        """End the processes."""
        self._processes.clear()
        self._held.close()
