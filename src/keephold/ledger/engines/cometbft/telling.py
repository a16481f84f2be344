"""What CometBFT says before it ends, and how to hear that it has failed though it lives.

CometBFT speaks lines of text: JSON from its logger, `ERROR: …` from its command line, `panic: …` and a stack from Go.
Its state machine for consensus catches a panic of its own, logs it and is still: the process lives, answers RPC, and
never takes part again. So one line ends a CometBFT as an exit does.
"""

from __future__ import annotations

from typing import Final, final

FAILED: Final = b"CONSENSUS FAILURE!!!"
"""After this line CometBFT takes part in nothing."""

_LAST_WORDS: Final = (b"panic: ", b"ERROR: ", b"fatal error: ")
_LONGEST: Final = 1500
"""Bytes kept of a line: the logger puts a stack into it."""


@final
class LastWords:
    """The line that says why CometBFT ended: its first fatal one, else whatever came last."""

    def __init__(self) -> None:
        self._fatal = b""
        self._last = b""

    def hear(self, line: bytes) -> bool:
        """Take one line; say whether CometBFT has failed with it though its process lives."""
        failed = FAILED in line
        if not self._fatal and (failed or line.startswith(_LAST_WORDS)):
            self._fatal = line[:_LONGEST]
        if line.strip():
            self._last = line[:_LONGEST]
        return failed

    @property
    def text(self) -> str:
        """The line; empty if nothing was said."""
        return (self._fatal or self._last).decode("utf-8", "replace").strip()
