"""Clocks that tests turn by hand: one that stands still meanwhile, and one that runs.

On the one that stands still, only wall-clock time does. Windows in which an enclave counts as fresh, and pauses between
attempts, are measured by the monotonic clock, which runs. On the one that runs both are turned: what has to be over
before a test goes on can be so long that no busy machine lets it end early.
"""

from __future__ import annotations

import time
from typing import Final, final

_SECOND: Final = 10**9


@final
class ManualClock:
    """Implements `base.clock.Clock`; any thread may read it."""

    def __init__(self, now_ns: int) -> None:
        """Stand at `now_ns`."""
        self._now_ns = now_ns

    def turn(self, seconds: float) -> None:
        """Go forward.

        Raises:
            ValueError: backward.
        """
        if seconds < 0:
            raise ValueError("time does not go back")
        self._now_ns += round(seconds * _SECOND)

    def now_ns(self) -> int:
        """See `Clock`."""
        return self._now_ns

    def monotonic(self) -> float:
        """See `Clock`."""
        return time.monotonic()


@final
class LeapingClock:
    """Implements `base.clock.Clock`: the machine's own, ahead by what it was turned; any thread may read it."""

    def __init__(self) -> None:
        """Agree with the machine."""
        self._ahead = 0

    def turn(self, seconds: int) -> None:
        """Go forward, wall-clock and monotonic time alike.

        Raises:
            ValueError: backward.
        """
        if seconds < 0:
            raise ValueError("time does not go back")
        self._ahead += seconds

    def now_ns(self) -> int:
        """See `Clock`."""
        return time.time_ns() + self._ahead * _SECOND

    def monotonic(self) -> float:
        """See `Clock`."""
        return time.monotonic() + self._ahead
