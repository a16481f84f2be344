"""Adversaries: parties that break the rules they can break, with the production's own encoders, keys and engine.

What they make is made honestly and then altered: a state in which a record was replaced, and which validators signed
all the same; an answer whose bytes were flipped, kept or held back on the way; a network that has every name of another
one. None of them forges a signature or a quote. That is the point: what they can do is what the design has to bear.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from typing import Final, final
from unittest.mock import patch

from msgspec.structs import replace as with_fields

from keephold.base.errors import DeadlineExceeded
from keephold.base.ids import PublicKey
from keephold.crypto.signing import SigningKey
from keephold.ledger.overlay import RecordCache
from keephold.protocol.codec import Record, encode
from keephold.protocol.genesis import Genesis
from keephold.protocol.governance import GovernanceRules, ValidatorEntry
from keephold.protocol.transactions import RevokePermits, sign
from keephold.testing.remote import LocalNode, Tamper

_ATTEMPTS: Final = 50
_POLL_SECONDS: Final = 0.01


@final
class Colluders:
    """The validators of one node's network, all of them, colluding: they order what they like and prove any state.

    For `prove` and `order` the node must not be running by itself: blocks are made here, one by one.
    """

    def __init__(self, node: LocalNode) -> None:
        """Take a node's engine, and with it its validator's key."""
        self._node: Final = node

    def prove(self, lies: Mapping[bytes, Record | None]) -> int:
        """Put records into the state that no rule put there (None: delete); return the height that proves them."""
        self.put(lies)
        self._node.engine.step()
        return self._node.engine.step()

    def put(self, lies: Mapping[bytes, Record | None]) -> None:
        """Put records into the state, as `prove` does; blocks are left to a node that runs by itself."""
        state_map = self._node.application.map
        newest = state_map.newest
        encoded = [(path, None if record is None else encode(record)) for path, record in lies.items()]
        values = newest.values.update(encoded)
        forged = replace(newest, values=values, cache=RecordCache())
        state_map._newest = forged  # noqa: SLF001 - the rules would not; the next block builds on it and is signed

    def order(self, *raws: bytes) -> int:
        """Order bytes that no check let in, none of the validators' own either; return the height of their block."""
        with patch.object(self._node.application, "process", return_value=True):  # they vote for what they like
            return self._node.engine._make(raws)

    async def put_running(self, lies: Mapping[bytes, Record]) -> None:
        """Put records into the state of a node that runs by itself; return once a block proves them.

        Raises:
            DeadlineExceeded: a block was under way each time.
        """
        state_map = self._node.application.map
        encoded = {path: encode(record) for path, record in lies.items()}
        for _ in range(_ATTEMPTS):
            self.put(lies)
            await self._blocks(2)
            if all(state_map.newest.values.get(path) == raw for path, raw in encoded.items()):
                return
        raise DeadlineExceeded("a block was under way each time")

    async def order_running(self, *raws: bytes) -> None:
        """Have a node that runs by itself order bytes, in one block and this order, whatever any check says of them."""
        application, mempool = self._node.application, self._node.engine._mempool  # noqa: SLF001 - a proposer plans what it likes
        plan, waiting = mempool.plan, list(raws)

        def planned(size: int) -> tuple[bytes, ...]:
            mine = tuple(waiting)
            waiting.clear()
            return (*mine, *plan(size))

        with patch.object(application, "process", return_value=True), patch.object(mempool, "plan", planned):
            # A block is planned when something waits.
            stranger = sign(application.network, SigningKey.generate(), 0, RevokePermits())
            self._node.reader.submit((stranger,))
            while waiting:  # noqa: ASYNC110 - blocks are made on another thread
                await asyncio.sleep(_POLL_SECONDS)
            await self._blocks(2)

    async def _blocks(self, count: int) -> None:
        state_map = self._node.application.map
        height = state_map.newest.height
        while state_map.newest.height <= height + count:  # noqa: ASYNC110 - as above
            await asyncio.sleep(_POLL_SECONDS)


def same_names(genesis: Genesis, *, validator: bytes, governor: PublicKey) -> Genesis:
    """Return a genesis that differs in its keys alone: every name, vendor, measurement and time is the other's."""
    law = with_fields(
        genesis.law,
        validators=tuple(ValidatorEntry(validator, entry.power) for entry in genesis.law.validators[:1]),
        governance=GovernanceRules((governor,), 1, genesis.law.governance.delay_ns),
    )
    return with_fields(genesis, law=law)


def flipping(endpoint: str, position: int, mask: int = 1) -> Tamper:
    """Alter one byte of each answer of an endpoint; `position` counts from either end and wraps around."""

    def tamper(name: str, answer: bytes) -> bytes:
        if name != endpoint or not answer:
            return answer
        at = position % len(answer)
        return answer[:at] + bytes([answer[at] ^ mask]) + answer[at + 1 :]

    return tamper


def repeating(endpoints: Collection[str]) -> Tamper:
    """Answer with the first answer, for ever: a node that shows its past."""
    first: dict[str, bytes] = {}

    def tamper(name: str, answer: bytes) -> bytes:
        return first.setdefault(name, answer) if name in endpoints else answer

    return tamper


def withholding() -> Tamper:
    """Send no block any more; answer everything else."""

    def tamper(name: str, answer: bytes) -> bytes:
        return b"" if name == "stream" else answer

    return tamper


def replacing(endpoint: str, forge: Callable[[bytes], bytes]) -> Tamper:
    """Put other bytes in the place of an endpoint's answers."""

    def tamper(name: str, answer: bytes) -> bytes:
        return forge(answer) if name == endpoint else answer

    return tamper
