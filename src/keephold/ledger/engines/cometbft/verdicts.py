"""Who waits for the verdict on which transaction: submitters on one side, our own `CheckTx` on the other."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, InvalidStateError
from contextlib import contextmanager, suppress
from typing import Final, final

from keephold.base.errors import UnavailableError
from keephold.ledger.engines.base import Admission


@final
class Verdicts:
    """Open questions, by the bytes of the transaction. Every method may be called from any thread."""

    def __init__(self) -> None:
        self._lock: Final = threading.Lock()
        self._asked: Final[dict[bytes, list[Future[Admission]]]] = {}

    @contextmanager
    def of(self, raws: Sequence[bytes]) -> Iterator[list[Future[Admission]]]:
        """Yield a future for each transaction, resolved by the next check of the same bytes; forget them at the end.

        Ask before offering: a check that came earlier is not remembered.
        """
        futures: list[Future[Admission]] = [Future() for _ in raws]
        with self._lock:
            for raw, future in zip(raws, futures, strict=True):
                self._asked.setdefault(raw, []).append(future)
        try:
            yield futures
        finally:
            with self._lock:
                for raw, future in zip(raws, futures, strict=True):
                    self._forget(raw, future)

    def settle(self, raw: bytes, admission: Admission) -> None:
        """Answer all who ask about these bytes."""
        with self._lock:
            asking = self._asked.pop(raw, ())
        for future in asking:
            with suppress(InvalidStateError):
                future.set_result(admission)

    def give_up(self) -> None:
        """Tell all who ask that no verdict will come."""
        with self._lock:
            asking = [future for futures in self._asked.values() for future in futures]
            self._asked.clear()
        for future in asking:
            with suppress(InvalidStateError):
                future.set_exception(UnavailableError("the engine has stopped"))

    def _forget(self, raw: bytes, future: Future[Admission]) -> None:
        asking = self._asked.get(raw)
        if asking is None or future not in asking:
            return
        asking.remove(future)
        if not asking:
            del self._asked[raw]
