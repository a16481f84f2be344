"""A node that restarts is silent for a second or two: whoever gave a deadline has the time to ask again.

Questions of a node are idempotent, so one that found nobody is asked again until the deadline of the call that needs
the answer; then NodeUnreachable is raised, which says more than that time passed. Without a deadline nothing is asked
twice. Submissions and streams pass through: outbox and follower repeat them by rules of their own.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from contextvars import ContextVar
from typing import Final, TypeVar, final

from keephold.base.errors import NodeUnreachable
from keephold.follower.remote import Remote
from keephold.protocol.genesis import Genesis
from keephold.protocol.wire import (
    FoundTransaction,
    Frame,
    GovernanceHistory,
    InboxPage,
    LightBlock,
    ProveAnswer,
    SlotsPage,
    StreamRequest,
    Verdict,
)

PAUSE_SECONDS: Final = 0.1
"""Between two attempts."""

T = TypeVar("T")
_UNTIL: Final[ContextVar[float]] = ContextVar("patient_until", default=0.0)


@asynccontextmanager
async def within(ends: float) -> AsyncIterator[None]:
    """Let this task have time until `ends` of the event loop's clock, and patience as long.

    Raises:
        TimeoutError: the time is over.
    """
    token = _UNTIL.set(ends)
    try:
        async with asyncio.timeout_at(ends):
            yield
    finally:
        _UNTIL.reset(token)


async def asked(question: Callable[[], Awaitable[T]]) -> T:
    """Ask, and ask again while nobody answers and there is patience.

    Raises:
        NodeUnreachable: nobody answered, and the time is over.
    """
    loop = asyncio.get_running_loop()
    while True:
        try:
            return await question()
        except NodeUnreachable:
            if loop.time() + PAUSE_SECONDS >= _UNTIL.get():
                raise
        await asyncio.sleep(PAUSE_SECONDS)


@final
class PatientRemote:
    """A `Remote` whose questions are repeated; see above."""

    def __init__(self, remote: Remote) -> None:
        self._remote: Final = remote

    async def genesis(self) -> Genesis:
        """See `Remote`."""
        return await asked(self._remote.genesis)

    async def submit(self, transactions: Sequence[bytes]) -> tuple[Verdict, ...]:
        """See `Remote`."""
        return await self._remote.submit(transactions)

    def stream(self, request: StreamRequest) -> AsyncGenerator[Frame, None]:
        """See `Remote`."""
        return self._remote.stream(request)

    async def prove(self, height: int, paths: Sequence[bytes]) -> ProveAnswer:
        """See `Remote`."""
        return await asked(lambda: self._remote.prove(height, paths))

    async def blocks(self, heights: Sequence[int]) -> tuple[LightBlock, ...]:
        """See `Remote`."""
        return await asked(lambda: self._remote.blocks(heights))

    async def transactions(self, ids: Sequence[bytes]) -> tuple[FoundTransaction, ...]:
        """See `Remote`."""
        return await asked(lambda: self._remote.transactions(ids))

    async def inbox(self, contract: bytes, first: int) -> InboxPage:
        """See `Remote`."""
        return await asked(lambda: self._remote.inbox(contract, first))

    async def slots(self, contract: bytes, root: bytes, after: bytes) -> SlotsPage:
        """See `Remote`."""
        return await asked(lambda: self._remote.slots(contract, root, after))

    async def governance(self) -> GovernanceHistory:
        """See `Remote`."""
        return await asked(self._remote.governance)

    async def aclose(self) -> None:
        """See `Remote`."""
        await self._remote.aclose()
