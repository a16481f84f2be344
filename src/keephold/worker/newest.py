"""Which proof of a path is the newest one. Proofs come out of order, and an older one is history: no news, no rollback.

A worker learns what the ledger says from its stream of blocks, and from proofs beside it, for an echo or a question,
which run ahead of the stream. All of them are under headers of one verified chain, where no height has two. So what the
stream then brings of a height that a proof passed is known already: followed, it would take a contract away that is
assigned, or look like a state put back.
"""

from __future__ import annotations

from typing import Final, final


@final
class Newest:
    """By path: the height of the newest header that this process was told a value under."""

    def __init__(self) -> None:
        self._heights: Final[dict[bytes, int]] = {}

    def is_news(self, path: bytes, height: int) -> bool:
        """Take the height of the header that proves a value; say whether no later one proved the path before."""
        if height < self._heights.get(path, 0):
            return False
        self._heights[path] = height
        return True
