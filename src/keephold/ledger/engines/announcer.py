"""Who is told of new blocks; the same under every engine."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Final, final


@final
class Announcer:
    """Listeners of one engine. Any thread subscribes; the engine's own announces."""

    def __init__(self) -> None:
        self._lock: Final = threading.Lock()
        self._listeners: Final[set[Callable[[int], None]]] = set()

    def subscribe(self, listener: Callable[[int], None]) -> Callable[[], None]:
        """Call `listener(height)` at each announcement, until the returned function is called."""
        with self._lock:
            self._listeners.add(listener)

        def unsubscribe() -> None:
            with self._lock:
                self._listeners.discard(listener)

        return unsubscribe

    def announce(self, height: int) -> None:
        """Tell all listeners."""
        with self._lock:
            listeners = tuple(self._listeners)
        for listener in listeners:
            listener(height)
