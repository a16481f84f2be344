"""The follower: keeps a verified view up to date from nodes that may die, lag or lie. I/O and timing; no decisions.

* **Nodes die.** A broken stream is taken up at the next height, within `BACKOFF_SECONDS`, at the next node in turn.
* **Nodes lag.** Far behind, the view skips to the newest header (`headers`), and the stream's first frame brings every
  value asked for.
* **Nodes forget.** A stream that begins where a node keeps nothing any more is asked of the others. When none has it,
  whoever may skip does, as if far behind; whoever may not (`sparse`, or by `skip_above`) is told.
* **Nodes lie.** What does not verify is refused and the next node is asked (`nodes`). Only when every node in turn
  refuses or is refused, `MAX_REFUSALS` times over, the last refusal is raised: with one node that means that its chain
  is not ours.
* **A node whose newest block is older than ours** was rolled back, or lags: it is left for another, and when all are
  so, for longer than a restart takes, that is `RollbackDetected`. Acknowledged blocks survive the death of an honest
  node.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Sequence
from contextlib import aclosing
from typing import Final, TypeVar, final

from keephold.base.errors import (
    ChainRefused,
    KeepholdError,
    NodeUnreachable,
    NotKept,
    ProofInvalid,
    RollbackDetected,
    StaleAnswer,
)
from keephold.base.ids import HeaderHash
from keephold.chain.header import Header
from keephold.crypto.hashing import sha256
from keephold.follower.headers import Headers
from keephold.follower.law import Law, check_complete
from keephold.follower.nodes import Nodes, Patience, Refusals, at_once
from keephold.follower.remote import Remote
from keephold.follower.view import LocatedTransaction, ProvenValues, VerifiedBlock, VerifiedView
from keephold.protocol.codec import decode
from keephold.protocol.governance import GovernanceRecord
from keephold.protocol.state import governance_path
from keephold.protocol.wire import FoundTransaction, Frame, Interest, ProvenReceipt, StreamRequest, Verdict

SKIP_ABOVE: Final = 512
"""Blocks behind at which the view skips instead of streaming every block."""

_NEVER: Final = 1 << 62
"""A sparse stream costs nothing for blocks it leaves out, and skipping would lose what lies in them."""
_WAIT_SECONDS: Final = 10.0
"""How long `prove` waits for a node to reach a height."""
_POLL_SECONDS: Final = 0.02

Pause = Callable[[float], Awaitable[None]]
T = TypeVar("T")


@final
class Follower:
    """One verified view over one or more nodes. For one event loop; close it with `aclose`."""

    def __init__(
        self,
        remotes: Sequence[Remote],
        view: VerifiedView,
        interest: Interest | None = None,
        *,
        skip_above: int = SKIP_ABOVE,
        pause: Pause = asyncio.sleep,
        patience: Patience = at_once,
        turn_seconds: float | None = None,
    ) -> None:
        """Follow with `view`, asking the first node first.

        Args:
            remotes: One or more nodes of the network.
            view: Extended by this follower only.
            interest: What the stream brings beside headers.
            skip_above: How many blocks behind are streamed rather than skipped.
            pause: Replaces `asyncio.sleep` in tests.
            patience: Whether questions that no node answered are repeated; see `Nodes`.
            turn_seconds: How long one of several nodes may take to answer; see `Nodes`.
        """
        self._nodes: Final = Nodes(remotes, patience, turn_seconds)
        self._streaming = self._nodes.current
        self.view: Final = view
        self._headers: Final = Headers(self._nodes, view)
        self._interest = interest or Interest()
        self._changed: Final = asyncio.Event()
        self._skip_above: Final = skip_above
        self._pause: Final = pause
        self._law: Law | None = None

    @property
    def remote(self) -> Remote:
        """The node asked at present."""
        return self._nodes.current

    @property
    def nodes(self) -> Nodes:
        """All nodes."""
        return self._nodes

    @property
    def streaming(self) -> Remote:
        """The node that the stream comes from, or came from last."""
        return self._streaming

    @property
    def interest(self) -> Interest:
        """What the stream asks for."""
        return self._interest

    def watch(self, interest: Interest) -> None:
        """Ask for something else from the next block on. Every value asked for is sent again."""
        if interest != self._interest:
            self._interest = interest
            self._changed.set()

    async def aclose(self) -> None:
        """Close every remote."""
        await self._nodes.aclose()

    # --- the stream ---

    async def blocks(self) -> AsyncGenerator[VerifiedBlock, None]:
        """Yield verified blocks for ever, through restarts of nodes; blocks may be skipped (see `after`).

        Raises:
            ChainRefused: no node offers a continuation of our chain.
            RollbackDetected: all nodes are, and stay, behind what we saw.
            NotKept: no node has the blocks that come next, and they may not be skipped.
        """
        refusals = Refusals(len(self._nodes))
        forgotten = 0
        while True:
            behind = _NEVER if self._interest.sparse else self._skip_above
            may_skip = behind < _NEVER
            try:
                await self.sync(0 if may_skip and forgotten >= len(self._nodes) else behind)
                self._streaming = self.remote
                self._changed.clear()
                request = StreamRequest(self.view.height + 1, self._interest)
                async with aclosing(self._unchanged(self._streaming.stream(request))) as frames:
                    async for frame in frames:
                        block = await self._accepted(frame)
                        refusals.clear()
                        forgotten = 0
                        yield block
                refusals.forget()
            except NodeUnreachable as error:
                await self._next(error, refusals.pause())
            except NotKept as error:
                forgotten += 1
                await self._next(error, refusals.pause() if may_skip else refusals.count(error))
            except (ChainRefused, RollbackDetected) as error:
                await self._next(error, refusals.count(error))

    async def _unchanged(self, frames: AsyncGenerator[Frame, None]) -> AsyncGenerator[Frame, None]:
        """Yield frames until the interest changes."""
        changed = asyncio.ensure_future(self._changed.wait())
        try:
            async with aclosing(frames):
                while not self._changed.is_set():
                    following = asyncio.ensure_future(anext(frames))
                    try:
                        await asyncio.wait({following, changed}, return_when=asyncio.FIRST_COMPLETED)
                        if not following.done():
                            return
                        yield following.result()
                    except StopAsyncIteration:
                        raise NodeUnreachable("the stream ended") from None
                    finally:
                        await ended(following)
        finally:
            await ended(changed)

    async def _accepted(self, frame: Frame) -> VerifiedBlock:
        if not self._interest.sparse and frame.height != self.view.height + 1:
            raise ProofInvalid(f"frame {frame.height} after block {self.view.height}")
        await self._headers.admit(frame.signed_header)
        return self.view.accept(frame)

    # --- headers ---

    async def sync(self, behind: int = 0, to: int = 0) -> None:
        """Move the view to the header of height `to`, at the present node; see `Headers.sync`.

        Raises:
            RollbackDetected, ChainRefused, NodeUnreachable
        """
        await self._headers.sync(behind, to)

    async def header(self, height: int) -> Header:
        """Return the header of any height; see `Headers.reach`.

        Raises:
            ChainRefused, NodeUnreachable
        """
        return await self._nodes.checked(lambda: self._headers.reach(height))

    async def header_hash(self, height: int) -> HeaderHash:
        """Return the hash of the header of any height; see `header`."""
        return (await self.header(height)).hash()

    async def tip(self) -> Header:
        """Return the newest header of the stream's node, verified; the view does not move.

        Raises:
            RollbackDetected, ChainRefused, NodeUnreachable
        """
        return await self._headers.tip(self._streaming)

    # --- state and transactions ---

    async def prove(self, paths: Iterable[bytes], at_least: int = 0) -> ProvenValues:
        """Return the values of these paths under the newest header that the node has, `at_least` this height.

        Raises:
            StaleAnswer: the node does not get that far.
            ChainRefused, NodeUnreachable
        """
        wanted = tuple(dict.fromkeys(paths))
        return await self._nodes.checked(lambda: self._prove(wanted, at_least))

    async def _prove(self, wanted: tuple[bytes, ...], at_least: int) -> ProvenValues:
        waited = 0.0
        floor = max(at_least, self.view.height)
        while True:
            answer = await self._nodes.ask(lambda remote: remote.prove(0, wanted))
            if answer.height >= floor:
                await self._headers.reach(answer.height)
                return self.view.check_values(answer, wanted)
            if waited >= _WAIT_SECONDS:
                raise StaleAnswer(f"state proven by header {answer.height}, asked for {floor}")
            await self._pause(_POLL_SECONDS)
            waited += _POLL_SECONDS

    async def transactions(self, ids: Sequence[bytes]) -> dict[bytes, bytes]:
        """Return the signed bytes of those transactions that the node has, by id; the id fixes the bytes.

        Raises:
            NodeUnreachable
        """
        return {sha256(item.raw): item.raw for item in await self._found(ids)}

    async def locate(self, ids: Sequence[bytes]) -> dict[bytes, LocatedTransaction]:
        """Return place and result of those transactions that the node has, proven, by id.

        Raises:
            ChainRefused, NodeUnreachable
        """
        return await self._nodes.checked(lambda: self._locate(ids))

    async def _locate(self, ids: Sequence[bytes]) -> dict[bytes, LocatedTransaction]:
        located: dict[bytes, LocatedTransaction] = {}
        for item in await self._found(ids):
            await self._headers.reach(item.height + 1)
            await self._headers.reach(item.height)
            verified = self.view.check_found(item)
            located[verified.id] = verified
        return located

    async def _found(self, ids: Sequence[bytes]) -> list[FoundTransaction]:
        """Return what any node has of these, by the hash of its bytes; a node may need several answers for many."""
        missing = dict.fromkeys(ids)
        found: list[FoundTransaction] = []
        silent = 0
        while missing and silent < len(self._nodes):
            wanted = list(missing)
            answer = await self._nodes.ask(lambda remote, wanted=wanted: remote.transactions(wanted))  # type: ignore[misc] # a default argument's type
            fresh = [item for item in answer if sha256(item.raw) in missing]
            if not fresh:  # what one leaves out, another may have
                silent += 1
                self._nodes.mistrust()
                continue
            found += fresh
            for item in fresh:
                missing.pop(sha256(item.raw), None)
        return found

    async def submit(self, transactions: Sequence[bytes], turn: int = 0) -> tuple[Verdict, ...]:
        """Offer signed transactions to the present node, or to the one so many turns behind; verdicts are advice.

        Raises:
            NodeUnreachable
        """
        remote = self._nodes.after(self.remote, turn)
        try:
            return await self._nodes.one(remote, lambda asked: asked.submit(transactions))
        except NodeUnreachable as error:
            self._nodes.leave(remote, error)
            raise

    async def receipts(
        self, remote: Remote, account: bytes, height: int
    ) -> AsyncGenerator[tuple[ProvenReceipt, int], None]:
        """Yield receipts of an account from blocks after `height`, as one node has them; beside the stream.

        With each the height of the header that proves it.

        It does not end by itself: a sparse stream says nothing of blocks without a receipt.

        Raises:
            ChainRefused, NodeUnreachable
        """
        request = StreamRequest(height + 1, Interest(receipts=(account,), sparse=True))
        async with aclosing(remote.stream(request)) as frames:
            async for frame in frames:
                await self._headers.reach(frame.height)
                for receipt in self.view.check_receipts(frame):
                    yield receipt, frame.height

    # --- law ---

    async def law(self) -> Law:
        """Return the whole law as of the newest proven state; verified once for each governance action.

        Raises:
            ChainRefused, NodeUnreachable
        """
        raw = (await self.prove([governance_path()]))[governance_path()]
        return await self.law_of(raw)

    async def law_of(self, raw: bytes | None) -> Law:
        """Return the law that a proven value of `governance_path` commits to.

        Raises:
            ChainRefused, NodeUnreachable
        """
        record = GovernanceRecord() if raw is None else decode(raw, GovernanceRecord)
        if self._law is None or self._law.record != record:
            self._law = await self._nodes.checked(lambda: self._complete(record))
            self.view.know(record)
        return self._law

    async def _complete(self, record: GovernanceRecord) -> Law:
        law = await self._headers.history()
        check_complete(law, record)
        return law

    def mistrust(self) -> None:
        """Ask the next node from now on: what this one sent does not hold, or is missing. The stream goes on."""
        self._nodes.mistrust()

    def leave(self, reason: KeepholdError | str) -> None:
        """Leave the node of the stream: it goes on at another one, from the block behind the newest verified."""
        self._nodes.leave(self._streaming, reason)
        self._changed.set()

    def rejoin(self) -> None:
        """Let the stream come from the node that is asked at present, if it comes from one that was left."""
        if self._streaming is not self.remote:
            self._changed.set()

    async def _next(self, error: KeepholdError, pause: float) -> None:
        self._nodes.leave(self.remote, error)
        await self._pause(pause)


async def ended(task: asyncio.Future[T]) -> None:
    """Cancel a task and wait until it ended, even if we are cancelled meanwhile: what it runs must not outlive us.

    Our own cancellation is raised afterwards: swallowed, it would leave whoever cancelled us waiting for ever.
    """
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        task.cancel()
        try:
            await asyncio.wait({task})
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        raise cancelled
