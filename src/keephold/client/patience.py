"""A node that restarts is silent for a second or two: whoever gave a deadline has the time to ask again.

Questions of a node are idempotent, so one that found nobody, at any of the nodes, is asked again until the deadline of
the call that needs the answer; then NodeUnreachable is raised, which says more than that time passed. Without a
deadline nothing is asked twice. Submissions and streams are not asked in this way: outbox and follower repeat them by
rules of their own.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from contextvars import ContextVar
from typing import Final, TypeVar

from keephold.base.errors import NodeUnreachable

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
