"""Freshness by echo: how long an enclave may believe that its view of the ledger is the present one.

The host can stop an enclave, cut its network, or feed it blocks of last week under headers that all verify. So the
enclave submits a nonce, and sees it again in a verified block: that block, and the state above it, is younger than the
moment *of submission*. For W seconds from that moment, on its own monotonic clock, it answers; then it is mute until
the next echo. Measured from the sighting instead, a host that delays the echo would stretch W at will.

What this rests on: a monotonic clock that the host cannot slow down. Where the platform has none, W is the host's to
stretch, and a contract's policy should ask for a platform that has one.
"""

from __future__ import annotations

from typing import Final, final

from keephold.base.errors import NotFresh


@final
class Freshness:
    """Until when this enclave's view counts as present. Starts mute."""

    def __init__(self, window_seconds: float) -> None:
        self.window_seconds: Final = window_seconds
        self._until: float | None = None
        self._height = 0

    @property
    def height(self) -> int:
        """Height of the block of the newest echo: state proven above it is as fresh as this object says."""
        return self._height

    def confirm(self, submitted: float, height: int) -> None:
        """An echo submitted at monotonic time `submitted` was seen in the verified block of this height."""
        until = submitted + self.window_seconds
        if self._until is None or until > self._until:
            self._until, self._height = until, height

    def is_fresh(self, now: float) -> bool:
        """Say whether the view counts as present at monotonic time `now`."""
        return self._until is not None and now < self._until

    def require(self, now: float) -> None:
        """Refuse to go on with a stale view.

        Raises:
            NotFresh
        """
        if not self.is_fresh(now):
            raise NotFresh("no own nonce was seen under a verified header within the window")
