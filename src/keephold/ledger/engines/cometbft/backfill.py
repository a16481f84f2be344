"""Headers from before a restored state, fetched downwards in the background: clients follow them from the genesis.

Until they are all there, the node says which it does not have, and its clients ask another one.
"""

from __future__ import annotations

import logging
import threading
from typing import Final, final

from keephold.base.errors import KeepholdError
from keephold.ledger.engines.statesync import Origin
from keephold.ledger.engines.store import BlockStore

_LOG: Final = logging.getLogger("keephold.cometbft")
_TOGETHER: Final = 256
_AGAIN: Final = 5.0
"""Seconds until nodes are asked again that did not answer, or not well."""


@final
class Backfill:
    """Fills one block store down to block 1, in a thread of its own."""

    def __init__(self, store: BlockStore, origin: Origin) -> None:
        self._store: Final = store
        self._origin: Final = origin
        self._stopping: Final = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin, unless nothing is missing."""
        if self._thread is None and self._store.oldest() > 1:
            self._thread = threading.Thread(target=self._run, name="keephold-backfill", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """End; what is missing is fetched another time."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join()

    def step(self) -> bool:
        """Fetch some headers; return whether any are still missing.

        Raises:
            UnavailableError, ChainRefused: nobody answers, or not what leads to what is here.
        """
        if self._store.block(1) is None:
            # The first one at once: a new client begins with it, and may skip from there.
            self._store.backfill([self._origin.block(1)])
        oldest = self._store.oldest()
        above = self._store.block(oldest)
        if oldest <= 1 or above is None:
            return False
        self._store.backfill(self._origin.below(above, min(_TOGETHER, oldest - 1)))
        return True

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                if not self.step():
                    return
            except KeepholdError as error:
                _LOG.warning("older headers cannot be fetched now: %s", error)
                self._stopping.wait(_AGAIN)
