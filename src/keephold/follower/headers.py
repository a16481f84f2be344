"""Headers of any height, from nodes that may lag or lie: which to ask for, so that each can be verified from the last.

The view decides what follows from what (`view`, `light_client`). Here is the way there: upwards by bisection, downwards
header by header, and beside the view from the genesis where that would be too long. On every way the validator sets
come from the history of governance, which is asked for when a header names a set that is not known yet.
"""

from __future__ import annotations

from typing import Final, final

from keephold.base.errors import LedgerRefused, NotEnoughTrust, ProofInvalid, RollbackDetected, TrustExpired
from keephold.chain.header import Header
from keephold.follower.law import Law, as_proof, check_extends, verify_history
from keephold.follower.nodes import Nodes
from keephold.follower.remote import Remote
from keephold.follower.view import VerifiedView
from keephold.protocol.wire import LightBlock

MAX_DESCENT: Final = 4096
"""Headers walked back from a verified one to an older one; what lies further below is reached from the genesis."""

_DESCENT_CHUNK: Final = 256


@final
class Headers:
    """The ways of one view to headers."""

    def __init__(self, nodes: Nodes, view: VerifiedView) -> None:
        """Ask these nodes; extend this view."""
        self._nodes: Final = nodes
        self._view: Final = view

    async def sync(self, behind: int = 0, to: int = 0) -> None:
        """Move the view to the header of height `to` (0: the newest) if it is more than `behind` blocks ahead.

        Raises:
            RollbackDetected: the node's newest header is older than ours.
            ChainRefused: it does not follow from ours.
            NodeUnreachable
        """
        (newest,) = await self._at_current([to])
        height = self._view.height
        if newest.height < height:
            raise RollbackDetected(f"the node is at {newest.height}, we saw {height}")
        if newest.height - height <= behind and self._view.height:
            return
        await self._check_same(height)
        await self._skip_to(newest)

    async def _check_same(self, height: int) -> None:
        """Skipping proves no ancestry; a node restored to another past at least has to lie about this."""
        known = self._view.header(height)
        if known is None:
            return
        (theirs,) = await self._at_current([height])
        self._view.vouch(theirs)

    async def _skip_to(self, target: LightBlock) -> None:
        """Bisect: halve the distance while a header has too little trust, or lies past the trusting period."""
        goals = [target]
        if self._view.height == 0 and target.height > 1:
            goals += await self._at_current([1])
        while goals:
            goal = goals[-1]
            if goal.height <= self._view.height:
                goals.pop()
                continue
            try:
                await self.admit(goal.signed_header)
                self._view.advance(goal)
            except (NotEnoughTrust, TrustExpired):
                between = (self._view.height + goal.height) // 2
                if between == self._view.height:
                    raise
                goals += await self._at_current([between])
                if goals[-1].height != between:
                    raise ProofInvalid("another height than asked for") from None
            else:
                goals.pop()

    async def _at_current(self, heights: list[int]) -> tuple[LightBlock, ...]:
        return await self._nodes.one(self._nodes.current, lambda remote: remote.blocks(heights))

    async def tip(self, remote: Remote) -> Header:
        """Return the newest header of one node, verified and remembered; the view does not move.

        Raises:
            RollbackDetected: it is older than ours.
            ChainRefused: it does not follow from ours, or is another than the one that we know.
            NodeUnreachable
        """
        (newest,) = await self._nodes.one(remote, lambda asked: asked.blocks([0]))
        if newest.height < self._view.height:
            raise RollbackDetected(f"the node is at {newest.height}, we saw {self._view.height}")
        await self.admit(newest.signed_header)
        return self._view.vouch(newest)

    async def reach(self, height: int) -> Header:
        """Return the header of any height: newer ones are verified, older ones reached by walking back.

        Walking back proves ancestry, header by header. Far below (`MAX_DESCENT`) a header is instead followed from the
        genesis, in a view of its own: lawful validators signed it. To put another one there, a third of them would
        have had to sign two chains.

        Raises:
            ChainRefused, NodeUnreachable
        """
        known = self._view.header(height)
        if known is not None:
            return known
        if height > self._view.height:
            (block,) = await self._nodes.ask(lambda remote: remote.blocks([height]))
            await self.admit(block.signed_header)
            if block.height != height:
                raise ProofInvalid("another height than asked for")
            if height > self._view.height:
                return self._view.vouch(block)
            # The stream moved past it while we asked: there is another way to it now.
            return await self.reach(height)
        return await self._descend(height)

    async def _descend(self, height: int) -> Header:
        lowest = height
        while self._view.header(lowest) is None:
            lowest += 1
            if lowest - height > MAX_DESCENT:
                return await self._beside(height)
        while lowest > height:
            chunk = list(range(lowest - 1, max(height, lowest - _DESCENT_CHUNK) - 1, -1))
            for block in await self._nodes.ask(lambda remote, chunk=chunk: remote.blocks(chunk)):  # type: ignore[misc] # a default argument's type
                self._view.descend(block)
            lowest = chunk[-1]
            if self._view.header(lowest) is None:
                raise ProofInvalid("other heights than asked for")
        found = self._view.header(height)
        if found is None:
            raise ProofInvalid(f"header {height} was not reached")
        return found

    async def _beside(self, height: int) -> Header:
        view = VerifiedView(self._view.genesis)
        await Headers(Nodes([self._nodes.current]), view).sync(to=height)
        found = view.header(height)
        if found is None:
            raise ProofInvalid("another height than asked for")
        return found

    async def history(self) -> Law:
        """Return the law that the present node's history of governance makes, and know its validator sets.

        It goes on from the history that the view knows. Whether it is complete is the caller's to check:
        `law.check_complete`.

        Raises:
            ChainRefused, NodeUnreachable
        """
        history = await self._nodes.ask(lambda remote: remote.governance())
        try:
            law = verify_history(self._view.genesis, history.entries)
            check_extends(law, self._view.governance)
        except LedgerRefused as error:
            raise as_proof(error) from error
        self._view.admit(law.validator_sets())
        return law

    async def admit(self, signed_header: bytes) -> None:
        """Learn validator sets that governance signed since, before a header that needs them is judged."""
        if not self._view.is_lawful(signed_header):
            await self.history()
