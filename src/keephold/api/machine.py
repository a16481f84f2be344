"""The machine endpoints: canonical records in, canonical records out, each with the proofs its reader needs.

Nothing here is a secret, so nothing here asks who is asking. What could hurt the node is size, and every size is bound
in `ledger.reader` or by the decoder's limit. Whatever may touch the disk runs in a thread beside the event loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from typing import Final, final

from keephold.api.toll import PEER, Toll
from keephold.base.clock import Clock, SystemClock
from keephold.base.errors import InputError
from keephold.base.limits import MAX_STREAM_FRAME, MAX_TRANSACTION
from keephold.ledger.engines.base import Engine, heights
from keephold.ledger.reader import LedgerReader
from keephold.protocol.codec import decode, encode
from keephold.protocol.genesis import network_id
from keephold.protocol.wire import (
    BlocksRequest,
    InboxRequest,
    PrioritiesRequest,
    ProveRequest,
    SlotsRequest,
    StreamRequest,
    Submission,
    TransactionsRequest,
    Verdict,
    Verdicts,
)

MAX_SUBMISSION: Final = 1024
"""Transactions in one submission."""


@final
class MachineApi:
    """Endpoints by name; `endpoints` and `streams` list them for whoever mounts them."""

    def __init__(self, reader: LedgerReader, engine: Engine, clock: Clock | None = None) -> None:
        self._reader: Final = reader
        self._toll: Final = Toll(network_id(reader.genesis), clock or SystemClock())
        self._engine: Final = engine
        self._genesis: Final = encode(reader.genesis)

    @property
    def endpoints(self) -> dict[str, Callable[[bytes], Awaitable[bytes]]]:
        """Endpoints that answer once."""
        return {
            "genesis": self.genesis,
            "submit": self.submit,
            "prove": self.prove,
            "blocks": self.blocks,
            "priorities": self.priorities,
            "transactions": self.transactions,
            "inbox": self.inbox,
            "slots": self.slots,
            "governance": self.governance,
        }

    @property
    def streams(self) -> dict[str, Callable[[bytes], AsyncGenerator[bytes, None]]]:
        """Endpoints that answer for as long as somebody reads."""
        return {"stream": self.stream}

    async def genesis(self, _: bytes) -> bytes:
        """Nothing to `Genesis`. Whoever pins a network compares, and does not take this for an answer."""
        return self._genesis

    async def submit(self, body: bytes) -> bytes:
        """`Submission` to `Verdicts`."""
        submission = decode(body, Submission)
        if len(submission.transactions) > MAX_SUBMISSION:
            raise InputError(f"at most {MAX_SUBMISSION} transactions at once")
        if any(len(raw) > MAX_TRANSACTION for raw in submission.transactions):
            raise InputError(f"a transaction has at most {MAX_TRANSACTION} bytes")
        return encode(Verdicts(await asyncio.to_thread(self._submit, submission.transactions)))

    def _submit(self, raws: Sequence[bytes]) -> tuple[Verdict, ...]:
        """Offer what comes at a pace that this node can judge; in order, a refusal in its place."""
        refusals = self._toll.refusals(raws, PEER.get())
        offered = [raw for raw, refusal in zip(raws, refusals, strict=True) if refusal is None]
        verdicts = iter(self._reader.submit(offered) if offered else ())
        return tuple(refusal if refusal is not None else next(verdicts) for refusal in refusals)

    async def prove(self, body: bytes) -> bytes:
        """`ProveRequest` to `ProveAnswer`."""
        return encode(await asyncio.to_thread(self._reader.prove, decode(body, ProveRequest)))

    async def blocks(self, body: bytes) -> bytes:
        """`BlocksRequest` to `LightBlocks`."""
        return encode(await asyncio.to_thread(self._reader.blocks, decode(body, BlocksRequest)))

    async def priorities(self, body: bytes) -> bytes:
        """`PrioritiesRequest` to `Priorities`."""
        return encode(await asyncio.to_thread(self._reader.priorities, decode(body, PrioritiesRequest)))

    async def transactions(self, body: bytes) -> bytes:
        """`TransactionsRequest` to `FoundTransactions`."""
        return encode(await asyncio.to_thread(self._reader.transactions, decode(body, TransactionsRequest)))

    async def inbox(self, body: bytes) -> bytes:
        """`InboxRequest` to `InboxPage`."""
        return encode(await asyncio.to_thread(self._reader.inbox, decode(body, InboxRequest)))

    async def slots(self, body: bytes) -> bytes:
        """`SlotsRequest` to `SlotsPage`."""
        return encode(await asyncio.to_thread(self._reader.slots, decode(body, SlotsRequest)))

    async def governance(self, _: bytes) -> bytes:
        """Nothing to `GovernanceHistory`."""
        return encode(self._reader.governance())

    async def stream(self, body: bytes) -> AsyncGenerator[bytes, None]:
        """`StreamRequest` to `Frame`s, from the height asked for (0: the newest) and for ever.

        A reader that lags is served from the disk until it has caught up; nothing is skipped but what a sparse
        interest leaves out. An empty record says that the node is alive while a chain has no first block yet.
        """
        request = decode(body, StreamRequest, limit=MAX_STREAM_FRAME)
        watch = self._reader.watch(request.interest)
        upcoming = request.from_height
        watch.check(upcoming)
        yield b""
        async with heights(self._engine) as risen:
            async for newest in risen:
                if newest == 0:
                    continue
                upcoming = upcoming or newest
                while upcoming <= newest:
                    frame = watch.frame(upcoming)
                    upcoming += 1
                    if frame is not None:
                        yield encode(frame)
                    elif upcoming <= newest:
                        # A long stretch that does not concern this reader must not hold the loop.
                        await asyncio.sleep(0)
