"""The follower: keeps a verified view up to date from nodes that may die, lag or lie. I/O and timing; no decisions.

* **Nodes die.** A broken stream is taken up at the next height, within `BACKOFF_SECONDS`, at the next node in turn.
* **Nodes lag.** Far behind, the view skips to the newest header by bisection, and the stream's first frame brings every
  value asked for.
* **Nodes forget.** A stream that begins where a node keeps nothing any more is asked of the others. When none has it,
  whoever may skip does, as if far behind; whoever may not (`sparse`, or by `skip_above`) is told.
* **Nodes lie.** What does not verify is refused and the next node is asked. Only when every node in turn refuses or is
  refused, `MAX_REFUSALS` times over, the last refusal is raised: with one node that means that its chain is not ours.
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
    LedgerRefused,
    NodeUnreachable,
    NotEnoughTrust,
    NotKept,
    ProofInvalid,
    RollbackDetected,
    StaleAnswer,
    TrustExpired,
)
from keephold.base.ids import HeaderHash
from keephold.chain.header import Header
from keephold.crypto.hashing import sha256
from keephold.follower.law import Law, as_proof, check_complete, verify_history
from keephold.follower.remote import Remote
from keephold.follower.view import LocatedTransaction, ProvenValues, VerifiedBlock, VerifiedView
from keephold.protocol.codec import decode
from keephold.protocol.governance import GovernanceRecord
from keephold.protocol.state import governance_path
from keephold.protocol.wire import FoundTransaction, Frame, Interest, LightBlock, StreamRequest, Verdict

BACKOFF_SECONDS: Final = (0.02, 0.05, 0.1, 0.25, 0.5)
"""Pauses between attempts; the last one repeats."""

MAX_REFUSALS: Final = 8
"""Rounds through all nodes without a verified answer, before the refusal is raised."""

SKIP_ABOVE: Final = 512
"""Blocks behind at which the view skips instead of streaming every block."""

MAX_DESCENT: Final = 4096
"""Headers walked back from a verified one to an older one; what lies further below is reached from the genesis."""

_DESCENT_CHUNK: Final = 256
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
    ) -> None:
        """Follow with `view`, asking the first node first.

        Args:
            remotes: One or more nodes of the network.
            view: Extended by this follower only.
            interest: What the stream brings beside headers.
            skip_above: How many blocks behind are streamed rather than skipped.
            pause: Replaces `asyncio.sleep` in tests.
        """
        if not remotes:
            raise ValueError("a follower needs a node")
        self._remotes: Final = tuple(remotes)
        self.view: Final = view
        self._interest = interest or Interest()
        self._changed: Final = asyncio.Event()
        self._skip_above: Final = skip_above
        self._pause: Final = pause
        self._current = 0
        self._law: Law | None = None

    @property
    def remote(self) -> Remote:
        """The node asked at present."""
        return self._remotes[self._current]

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
        for remote in self._remotes:
            await remote.aclose()

    # --- the stream ---

    async def blocks(self) -> AsyncGenerator[VerifiedBlock, None]:
        """Yield verified blocks for ever, through restarts of nodes; blocks may be skipped (see `after`).

        Raises:
            ChainRefused: no node offers a continuation of our chain.
            RollbackDetected: all nodes are, and stay, behind what we saw.
            NotKept: no node has the blocks that come next, and they may not be skipped.
        """
        refusals = _Refusals(len(self._remotes))
        forgotten = 0
        while True:
            behind = _NEVER if self._interest.sparse else self._skip_above
            may_skip = behind < _NEVER
            try:
                await self.sync(0 if may_skip and forgotten >= len(self._remotes) else behind)
                self._changed.clear()
                request = StreamRequest(self.view.height + 1, self._interest)
                async with aclosing(self._unchanged(self.remote.stream(request))) as frames:
                    async for frame in frames:
                        block = await self._accepted(frame)
                        refusals.clear()
                        forgotten = 0
                        yield block
            except NodeUnreachable:
                await self._next(refusals.pause())
            except NotKept as error:
                forgotten += 1
                await self._next(refusals.pause() if may_skip else refusals.count(error))
            except (ChainRefused, RollbackDetected) as error:
                await self._next(refusals.count(error))

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
        await self._admit(frame.signed_header)
        return self.view.accept(frame)

    # --- headers ---

    async def sync(self, behind: int = 0, to: int = 0) -> None:
        """Move the view to the header of height `to` (0: the newest) if it is more than `behind` blocks ahead.

        Raises:
            RollbackDetected: the node's newest header is older than ours.
            ChainRefused: it does not follow from ours.
            NodeUnreachable
        """
        (newest,) = await self.remote.blocks([to])
        height = self.view.height
        if newest.height < height:
            raise RollbackDetected(f"the node is at {newest.height}, we saw {height}")
        if newest.height - height <= behind and self.view.height:
            return
        await self._check_same(height)
        await self._skip_to(newest)

    async def _check_same(self, height: int) -> None:
        """Skipping proves no ancestry; a node restored to another past at least has to lie about this."""
        known = self.view.header(height)
        if known is None:
            return
        (theirs,) = await self.remote.blocks([height])
        self.view.vouch(theirs)

    async def _skip_to(self, target: LightBlock) -> None:
        """Bisect: halve the distance while a header has too little trust, or lies past the trusting period."""
        goals = [target]
        if self.view.height == 0 and target.height > 1:
            goals += await self.remote.blocks([1])
        while goals:
            goal = goals[-1]
            if goal.height <= self.view.height:
                goals.pop()
                continue
            try:
                await self._admit(goal.signed_header)
                self.view.advance(goal)
            except (NotEnoughTrust, TrustExpired):
                between = (self.view.height + goal.height) // 2
                if between == self.view.height:
                    raise
                goals += await self.remote.blocks([between])
                if goals[-1].height != between:
                    raise ProofInvalid("another height than asked for") from None
            else:
                goals.pop()

    async def header(self, height: int) -> Header:
        """Return the header of any height: newer ones are verified, older ones reached by walking back.

        Walking back proves ancestry, header by header. Far below (`MAX_DESCENT`) a header is instead followed from the
        genesis, in a view of its own: lawful validators signed it. To put another one there, a third of them would
        have had to sign two chains.

        Raises:
            ChainRefused, NodeUnreachable
        """
        return await self._checked(lambda: self._header(height))

    async def _header(self, height: int) -> Header:
        known = self.view.header(height)
        if known is not None:
            return known
        if height > self.view.height:
            (block,) = await self._ask(lambda remote: remote.blocks([height]))
            await self._admit(block.signed_header)
            if block.height != height:
                raise ProofInvalid("another height than asked for")
            if height > self.view.height:
                return self.view.vouch(block)
            # The stream moved past it while we asked: there is another way to it now.
            return await self._header(height)
        return await self._descend(height)

    async def header_hash(self, height: int) -> HeaderHash:
        """Return the hash of the header of any height; see `header`."""
        return (await self.header(height)).hash()

    async def _descend(self, height: int) -> Header:
        lowest = height
        while self.view.header(lowest) is None:
            lowest += 1
            if lowest - height > MAX_DESCENT:
                return await self._beside(height)
        while lowest > height:
            chunk = list(range(lowest - 1, max(height, lowest - _DESCENT_CHUNK) - 1, -1))
            for block in await self._ask(lambda remote, chunk=chunk: remote.blocks(chunk)):  # type: ignore[misc] # a default argument's type
                self.view.descend(block)
            lowest = chunk[-1]
            if self.view.header(lowest) is None:
                raise ProofInvalid("other heights than asked for")
        found = self.view.header(height)
        if found is None:
            raise ProofInvalid(f"header {height} was not reached")
        return found

    async def _beside(self, height: int) -> Header:
        side = Follower([self.remote], VerifiedView(self.view.genesis), pause=self._pause)
        await side.sync(to=height)
        found = side.view.header(height)
        if found is None:
            raise ProofInvalid("another height than asked for")
        return found

    # --- state and transactions ---

    async def prove(self, paths: Iterable[bytes], at_least: int = 0) -> ProvenValues:
        """Return the values of these paths under the newest header that the node has, `at_least` this height.

        Raises:
            StaleAnswer: the node does not get that far.
            ChainRefused, NodeUnreachable
        """
        wanted = tuple(dict.fromkeys(paths))
        return await self._checked(lambda: self._prove(wanted, at_least))

    async def _prove(self, wanted: tuple[bytes, ...], at_least: int) -> ProvenValues:
        waited = 0.0
        floor = max(at_least, self.view.height)
        while True:
            answer = await self._ask(lambda remote: remote.prove(0, wanted))
            if answer.height >= floor:
                await self._header(answer.height)
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
        return await self._checked(lambda: self._locate(ids))

    async def _locate(self, ids: Sequence[bytes]) -> dict[bytes, LocatedTransaction]:
        located: dict[bytes, LocatedTransaction] = {}
        for item in await self._found(ids):
            await self._header(item.height + 1)
            await self._header(item.height)
            verified = self.view.check_found(item)
            located[verified.id] = verified
        return located

    async def _found(self, ids: Sequence[bytes]) -> list[FoundTransaction]:
        """Return what any node has of these, by the hash of its bytes; a node may need several answers for many."""
        missing = dict.fromkeys(ids)
        found: list[FoundTransaction] = []
        silent = 0
        while missing and silent < len(self._remotes):
            wanted = list(missing)
            answer = await self._ask(lambda remote, wanted=wanted: remote.transactions(wanted))  # type: ignore[misc] # a default argument's type
            fresh = [item for item in answer if sha256(item.raw) in missing]
            if not fresh:  # what one leaves out, another may have
                silent += 1
                self.mistrust()
                continue
            found += fresh
            for item in fresh:
                missing.pop(sha256(item.raw), None)
        return found

    async def submit(self, transactions: Sequence[bytes]) -> tuple[Verdict, ...]:
        """Offer signed transactions to the present node; verdicts are advice.

        Raises:
            NodeUnreachable
        """
        return await self.remote.submit(transactions)

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
            self._law = await self._checked(lambda: self._complete(record))
        return self._law

    async def _complete(self, record: GovernanceRecord) -> Law:
        law = await self._history()
        check_complete(law, record)
        return law

    async def _history(self) -> Law:
        history = await self._ask(lambda remote: remote.governance())
        try:
            law = verify_history(self.view.genesis, history.entries)
        except LedgerRefused as error:
            raise as_proof(error) from error
        for validators in law.validator_sets():
            self.view.admit(validators)
        return law

    async def _admit(self, signed_header: bytes) -> None:
        """Learn validator sets that governance signed since, before a header that needs them is judged."""
        if not self.view.is_lawful(signed_header):
            await self._history()

    # --- asking ---

    async def _ask(self, question: Callable[[Remote], Awaitable[T]]) -> T:
        """Ask the present node, then each other one once.

        Raises:
            NodeUnreachable: none answered.
        """
        for _ in self._remotes[1:]:
            try:
                return await question(self.remote)
            except NodeUnreachable:
                self.mistrust()
        return await question(self.remote)

    async def _checked(self, answered: Callable[[], Awaitable[T]]) -> T:
        """Ask the present node for what is checked on arrival; where the answer does not hold, each other one once.

        Else a node whose stream is honest, and nothing else, would keep its readers for ever.

        Raises:
            ChainRefused, StaleAnswer: of the last one.
            NodeUnreachable: it does not answer, nor do the others.
        """
        for _ in self._remotes[1:]:
            try:
                return await answered()
            except (ChainRefused, StaleAnswer):
                self.mistrust()
        return await answered()

    def mistrust(self) -> None:
        """Ask the next node from now on: what this one sent does not hold, or is missing. The stream goes on."""
        self._current = (self._current + 1) % len(self._remotes)

    async def _next(self, pause: float) -> None:
        self.mistrust()
        await self._pause(pause)


@final
class _Refusals:
    """Counts what went wrong in a row, and says how long to wait; a verified block clears it."""

    def __init__(self, nodes: int) -> None:
        self._nodes: Final = nodes
        self._failures = 0
        self._refused = 0

    def clear(self) -> None:
        self._failures = self._refused = 0

    def pause(self) -> float:
        """Return the pause after an unreachable node: the first round through all nodes is quick."""
        step = self._failures // self._nodes
        self._failures += 1
        return BACKOFF_SECONDS[min(step, len(BACKOFF_SECONDS) - 1)]

    def count(self, error: ChainRefused | RollbackDetected | NotKept) -> float:
        """Return the pause after a refused node, or raise the refusal once there were too many."""
        self._refused += 1
        if self._refused >= MAX_REFUSALS * self._nodes:
            raise error
        return self.pause()


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
