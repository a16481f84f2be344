"""Values that a program waits on: proven once when it begins to listen, then told as proven blocks change them.

A path has one newest value here, whoever listens. Nodes follow one another, and one may be behind: a value that an
older header proves than the newest known is not told.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Any, Final, final

from keephold.follower.follow import Follower
from keephold.protocol.wire import Interest


@final
class WatchedValues:
    """The paths of one ledger's map that somebody listens to."""

    def __init__(self, follower: Follower) -> None:
        """For `Connection`, which tells what its stream proves."""
        self._follower: Final = follower
        self._listeners: dict[bytes, set[asyncio.Queue[bytes | None]]] = {}
        self._proven_at: dict[bytes, int] = {}
        """By path: height of the header that proves the newest value, below which none is taken."""
        self._failure: Final[asyncio.Future[None]] = asyncio.get_running_loop().create_future()
        """Never has a value; fails when the connection breaks."""

    @property
    def paths(self) -> tuple[bytes, ...]:
        """The paths that somebody listens to."""
        return tuple(self._listeners)

    def proven_at(self, path: bytes) -> int:
        """Return the height of the header that proves the newest value of a path; 0: none is known."""
        return self._proven_at.get(path, 0)

    async def values(self, path: bytes, *ends: asyncio.Future[Any]) -> AsyncGenerator[bytes | None, None]:
        """Yield a path's proven value now and whenever it changes; raise what one of `ends` fails with.

        Raises:
            KeepholdError: the connection broke.
        """
        queue: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._listeners.setdefault(path, set()).add(queue)
        receipts = self._follower.interest.receipts
        self._follower.watch(Interest(paths=tuple(sorted(self._listeners)), receipts=receipts, sparse=True))
        failures: set[asyncio.Future[Any]] = {self._failure, *ends}
        try:
            # An idle chain may make no block for a while, and the stream speaks with blocks only.
            first = await self._follower.prove([path])
            last = first[path]
            self._proven_at[path] = max(self.proven_at(path), first.height)
            yield last
            while True:
                following = asyncio.ensure_future(queue.get())
                try:
                    await asyncio.wait({following, *failures}, return_when=asyncio.FIRST_COMPLETED)
                finally:
                    following.cancel()  # no effect on what is done; whoever stops listening leaves no reader behind
                if following.done():
                    if following.result() != last:
                        last = following.result()
                        yield last
                    continue
                for failure in [failure for failure in failures if failure.done()]:
                    failure.result()
                    failures.discard(failure)  # settled, not failed
        finally:
            self._listeners[path].discard(queue)
            if not self._listeners[path]:
                del self._listeners[path]
                self._proven_at.pop(path, None)  # the stream goes on asking for it until others are listened to

    def tell(self, path: bytes, value: bytes | None, height: int) -> None:
        """Take a proven value, with the height of the header that proves it, unless a newer one is known."""
        if path in self._listeners and height >= self.proven_at(path):
            self._proven_at[path] = height
            for queue in self._listeners[path]:
                queue.put_nowait(value)

    def fail(self, error: Exception) -> None:
        """Let whoever listens have the error."""
        if not self._failure.done():
            self._failure.set_exception(error)
            self._failure.exception()  # seen: nobody may be listening any more
