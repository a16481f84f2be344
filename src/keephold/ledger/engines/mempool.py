"""What waits to be ordered: in order of arrival, bounded, each once. The application says what may wait at all."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from itertools import islice
from typing import Final, final

from keephold.ledger.engines.base import Admission, Application

MAX_WAITING: Final = 5000
"""Transactions."""

MAX_WAITING_BYTES: Final = 64 << 20

FULL: Final = 5
"""`Refusal.QUOTA`: the engine knows the number, not the protocol it comes from; a test keeps them equal."""

_LOOKAHEAD: Final = 2000
"""How far a block's plan looks past what it has to put off."""


@final
class Mempool:
    """Waiting transactions. Every method may be called from any thread."""

    def __init__(self, application: Application) -> None:
        self._application: Final = application
        self._lock: Final = threading.Lock()
        self._waiting: dict[bytes, None] = {}
        self._bytes = 0

    @property
    def waiting(self) -> int:
        """How many transactions wait."""
        return len(self._waiting)

    def offer(self, raws: Sequence[bytes]) -> tuple[Admission, ...]:
        """Admit what the application admits; what waits already is admitted again, and waits once."""
        for raw in raws:
            if raw not in self._waiting:
                self._application.inspect(raw)
        # Check and admission are one step: a sender's nonces wait in the order in which they were checked.
        with self._lock:
            return tuple(self._offer(raw) for raw in raws)

    def plan(self, max_bytes: int) -> tuple[bytes, ...]:
        """Return what goes into the next block; it goes on waiting until `settle`."""
        with self._lock:
            return self._application.prepare(tuple(islice(self._waiting, _LOOKAHEAD)), max_bytes)

    def settle(self, ordered: Sequence[bytes]) -> None:
        """Forget what was ordered, and what the application does not want any more after it."""
        with self._lock:
            for raw in ordered:
                self._forget(raw)
            left = tuple(self._waiting)
            for raw, stands in zip(left, self._application.recheck(left), strict=True):
                if not stands:
                    self._forget(raw)

    def _offer(self, raw: bytes) -> Admission:
        if raw in self._waiting:
            return Admission()
        if len(self._waiting) >= MAX_WAITING or self._bytes + len(raw) > MAX_WAITING_BYTES:
            return Admission(FULL, "too many transactions wait")
        admission = self._application.check(raw)
        if admission.code == 0 and admission.height == 0:
            self._waiting[raw] = None
            self._bytes += len(raw)
        return admission

    def _forget(self, raw: bytes) -> None:
        if raw in self._waiting:
            del self._waiting[raw]
            self._bytes -= len(raw)
