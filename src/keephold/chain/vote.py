"""What a precommit signs: CometBFT's `CanonicalVote`, length-prefixed.

All precommits for one block share everything but their time, so the shared bytes are made once per commit.
"""

from __future__ import annotations

from typing import Final, final

from keephold.chain import proto
from keephold.chain.header import NO_BLOCK, BlockId

_PRECOMMIT: Final = 2


@final
class Precommits:
    """The sign bytes of all precommits of one round for one block."""

    __slots__ = ("_head", "_tail")

    def __init__(self, chain_id: str, height: int, round_: int, block_id: BlockId) -> None:
        self._head = proto.number(1, _PRECOMMIT) + proto.fixed(2, height) + proto.fixed(3, round_)
        if block_id != NO_BLOCK:
            self._head += proto.message(4, block_id.encode())
        self._tail = proto.data(6, chain_id.encode())

    def sign_bytes(self, time_ns: int) -> bytes:
        """Return what a validator signs whose vote carries this time."""
        vote = self._head + proto.message(5, proto.timestamp(time_ns)) + self._tail
        return proto.varint(len(vote)) + vote
