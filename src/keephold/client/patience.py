"""A node that restarts is silent for a second or two: whoever gave a deadline has the time to ask again.

Questions of a node are idempotent, so one that found nobody, at any of the nodes, is asked again until the deadline of
the call that needs the answer; then NodeUnreachable is raised, which says more than that time passed: also where the
time ends in the pause before the next attempt, which a busy machine oversleeps. Without a deadline nothing is asked
twice. Submissions and streams are not asked in this way: outbox and follower repeat them by rules of their own.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Final, TypeVar

from keephold.base.errors import NodeUnreachable

PAUSE_SECONDS: Final = 0.1
"""Between two attempts."""

T = TypeVar("T")


@dataclass(slots=True)
class _Patience:
    ends: float
    """When the time is over, on the event loop's clock."""
    pausing: NodeUnreachable | None = None
    """In the pause before a question is asked again: what it came to."""


_PATIENCE: Final[ContextVar[_Patience | None]] = ContextVar("patience", default=None)


@asynccontextmanager
async def within(ends: float) -> AsyncIterator[None]:
    """Let this task have time until `ends` of the event loop's clock, and patience as long.

    Raises:
        NodeUnreachable: the time is over, and a question that found nobody was to be asked again.
        TimeoutError: the time is over.
    """
    patience = _Patience(ends)
    token = _PATIENCE.set(patience)
    try:
        async with asyncio.timeout_at(ends):
            yield
    except TimeoutError:
        if patience.pausing is not None:
            raise patience.pausing from None
        raise
    finally:
        _PATIENCE.reset(token)


async def asked(question: Callable[[], Awaitable[T]]) -> T:
    """Ask, and ask again while nobody answers and there is patience.

    Raises:
        NodeUnreachable: nobody answered, and the time is over.
    """
    patience, loop = _PATIENCE.get(), asyncio.get_running_loop()
    while True:
        try:
            return await question()
        except NodeUnreachable as error:
            if patience is None or loop.time() + PAUSE_SECONDS >= patience.ends:
                raise
            patience.pausing = error
        await asyncio.sleep(PAUSE_SECONDS)
        patience.pausing = None
