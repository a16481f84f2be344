"""A clock that stands still until a test turns it: block time by hand.

Only wall-clock time stands still. Windows in which an enclave counts as fresh, and pauses between attempts, are
measured by the monotonic clock, which runs.
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
