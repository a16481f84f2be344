"""What both engines do alike: serve final blocks from their store, announce new ones, and refuse once they have ended.

How blocks come to be is each engine's own. `latest` is what it says is durable on both sides: block and effects.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Final

from keephold.base.errors import UnavailableError
from keephold.ledger.engines.announcer import Announcer
from keephold.ledger.engines.base import StoredBlock
from keephold.ledger.engines.store import BlockStore


class StoredEngine(ABC):
    """The reading half of `base.Engine`, over a block store."""

    def __init__(self, store: BlockStore) -> None:
        self._store: Final = store
        self._announcer: Final = Announcer()
        self._failure: BaseException | None = None
        self._stopping = False

    @property
    def failure(self) -> BaseException | None:
        """What stopped the engine, if something did: the node should end and be started again."""
        return self._failure

    @abstractmethod
    def latest(self) -> int:
        """Return the height of the newest block whose effects are durable; 0 before the first."""

    def first(self) -> int:
        """Return the lowest height whose transactions are kept."""
        return self._store.first

    def prune(self, below: int) -> None:
        """Forget the transactions of blocks below a height; headers stay. The newest block is always kept."""
        self._store.prune(min(below, self.latest()))

    def block(self, height: int) -> StoredBlock | None:
        """Return a final block, or None if there is none at this height or its header was never fetched."""
        return self._store.block(height) if 0 < height <= self.latest() else None

    def transactions(self, height: int) -> tuple[bytes, ...]:
        """Return a block's transactions in order."""
        return self._store.transactions(height)

    def transaction(self, height: int, position: int) -> bytes | None:
        """Return one transaction of a block."""
        return self._store.transaction(height, position)

    def subscribe(self, listener: Callable[[int], None]) -> Callable[[], None]:
        """Call `listener(height)` after each block, from the engine's thread."""
        return self._announcer.subscribe(listener)

    def _require_running(self) -> None:
        """Refuse what comes after the end.

        Raises:
            UnavailableError
        """
        if self._failure is not None or self._stopping:
            raise UnavailableError("the engine has stopped") from self._failure
