"""Time as a parameter. Decision cores never import this module; shells pass what it returns."""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """What a shell may ask about time."""

    def now_ns(self) -> int:
        """Return wall-clock nanoseconds since the Unix epoch."""
        ...

    def monotonic(self) -> float:
        """Return seconds that never go back; only differences mean anything."""
        ...


class SystemClock:
    """The operating system's clocks."""

    def now_ns(self) -> int:
        """Return wall-clock nanoseconds since the Unix epoch."""
        return time.time_ns()

    def monotonic(self) -> float:
        """Return seconds that never go back."""
        return time.monotonic()
