"""Whether the node that a client follows still serves it; if not, the client moves to the next one.

The follower notices by itself a node that dies and one whose stream does not verify. What it cannot notice on a sparse
stream, which is silent where nothing is of interest, is looked for here while something is under way, every
`TICK_SECONDS`, and only by who has more than one node: there is nowhere to go from an only one.

1. *The node answers, with our chain.* Its newest header verifies, is not older than ours and not another of a height
   that we know. The stream follows where questions went already.
2. *Its chain goes on.* Enclaves answer only for the law's `freshness` after a header that carries their echo, so a
   network at work has a header within it. A node without a new one for longer stands still, alone or with all others;
   then it costs a round through the nodes.
3. *It keeps no value back.* What is waited for is proven anew, under a header no older than the one of step 1.
4. *It keeps no receipt back.* For a call that was proven to be ordered `RECEIPT_SECONDS` ago the other nodes are asked,
   one at a time. If one has the receipt, proven, the present node had it too, or stands still.

A node that is left is not told on: it may be asked again, and what it says is believed no more and no less than before.
The view never moves back: the next node's stream begins behind the newest verified header, and a node that is behind
that is left in turn (`RollbackDetected`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterable
from contextlib import aclosing
from typing import Final, NamedTuple, final

from keephold.base.errors import ChainRefused, NodeUnreachable, RollbackDetected, StaleAnswer
from keephold.follower.follow import Follower
from keephold.protocol.wire import ProvenReceipt

TICK_SECONDS: Final = 1.0
RECEIPT_SECONDS: Final = 4.0
"""After this long a receipt is looked for at other nodes; a worker that is slow makes it so, too."""
LOOK_SECONDS: Final = 2.0
"""How long another node has to show a receipt that it has."""

_LEFT: Final = (NodeUnreachable, ChainRefused, RollbackDetected, StaleAnswer)


class Due(NamedTuple):
    """A call that is proven to be ordered and has no receipt yet."""

    account: bytes
    call: bytes
    """Its transaction id."""
    height: int
    """Of the block that ordered it."""


@final
class Pace:
    """Says whether a chain stands still, from the heights that a node shows. Pure."""

    def __init__(self, longest: float) -> None:
        """`longest`: seconds between two headers that the law allows."""
        self._longest: Final = longest
        self._height = -1
        self._since = 0.0

    def forget(self) -> None:
        """Begin anew: with another node, or after a time in which nobody looked."""
        self._height = -1

    def stands_still(self, height: int, now: float) -> bool:
        """Take the newest height at `now`, on a monotonic clock; say whether it has been the newest for too long."""
        if height > self._height:
            self._height, self._since = height, now
        return now - self._since > self._longest


class Concerns(NamedTuple):
    """What a client has under way: functions, for it changes all the time."""

    is_busy: Callable[[], bool]
    paths: Callable[[], Collection[bytes]]
    """Whose values are waited for."""
    due: Callable[[float], Iterable[Due]]
    """Calls without a receipt since before this time of the event loop."""
    value: Callable[[bytes, bytes | None, int], None]
    """Take a proven value, with the height of the header that proves it."""
    receipt: Callable[[ProvenReceipt, int], bool]
    """Take a receipt, with the height of the header that proves it; says whether somebody waited for it."""


@final
class Watch:
    """Watches one follower's nodes for one client. Run it beside the stream."""

    def __init__(self, follower: Follower, concerns: Concerns) -> None:
        """For `Connection`."""
        self._follower: Final = follower
        self._concerns: Final = concerns
        self._pace: Final = Pace(follower.view.genesis.law.timing.freshness_ns / 10**9)
        self._turn = 0

    async def run(self) -> None:
        """Watch for ever."""
        while True:
            await asyncio.sleep(TICK_SECONDS)
            if not self._concerns.is_busy():
                self._pace.forget()
                continue
            try:
                await self._look()
            except _LEFT as error:
                self._pace.forget()
                self._follower.leave(error)

    async def _look(self) -> None:
        follower, now = self._follower, asyncio.get_running_loop().time()
        # (1) It answers, with our chain.
        follower.rejoin()
        tip = await follower.tip()
        # (2) Which goes on.
        if self._pace.stands_still(tip.height, now):
            raise NodeUnreachable("no new header for longer than the law's freshness")
        # (3) What is waited for.
        paths = self._concerns.paths()
        if paths:
            proven = await follower.prove(paths, tip.height)
            for path, value in proven.values.items():
                self._concerns.value(path, value, proven.height)
        # (4) Receipts that are due.
        for due in self._concerns.due(now - RECEIPT_SECONDS):
            if await self._is_kept_back(due):
                raise NodeUnreachable(f"it keeps back the receipt of call {due.call.hex()[:16]}")

    async def _is_kept_back(self, due: Due) -> bool:
        """Say whether another node has the receipt, which is taken then."""
        follower = self._follower
        self._turn = self._turn % (len(follower.nodes) - 1) + 1
        other = follower.nodes.after(follower.streaming, self._turn)
        try:
            async with (
                asyncio.timeout(LOOK_SECONDS),
                aclosing(follower.receipts(other, due.account, due.height)) as receipts,
            ):
                async for receipt, height in receipts:
                    if self._concerns.receipt(receipt, height) and receipt.call == due.call:
                        return True
        except (TimeoutError, *_LEFT):
            pass  # it has none, or is no better: the one that we follow is not to blame
        return False
