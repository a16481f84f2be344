"""What all accounts and contracts of one program share: one verified stream, one outbox, one submission at a time.

One stream serves every account, so sixteen accounts cost little more than one. Submissions that arrive within
`COALESCE_SECONDS` travel together.

Nothing here believes a node. A receipt counts once the view has verified it; a verdict is advice that the outbox
takes with care; what a transaction came to is read from proven results.

**Several nodes.** One is followed at a time. It is left for the next when it dies, or its stream does not verify (the
follower sees to that), when it stands still or keeps something back (`watch`), and when an answer of it does not hold
(`follower.nodes`). Calls under way do not notice: the verified head stays, what a node accepted and no proof confirms
is offered to the next one with the same bytes, and receipts are looked for where they are.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Iterator, Sequence
from contextlib import aclosing, suppress
from typing import Any, Final, final

from keephold.base.clock import Clock, SystemClock
from keephold.base.errors import (
    ChainRefused,
    DeadlineExceeded,
    EnclaveError,
    HeaderInvalid,
    InputError,
    KeepholdError,
    LedgerRefused,
    NodeUnreachable,
    TrustExpired,
)
from keephold.base.ids import NetworkId, PublicKey
from keephold.client.account import Account
from keephold.client.nodes import TURN_SECONDS, Gateways, Node
from keephold.client.outbox import Failed, Flight, Ordered, Outbox, Outcome, Unclear, Waiting
from keephold.client.patience import asked
from keephold.client.watch import Concerns, Due, Watch
from keephold.crypto.signing import SigningKey
from keephold.follower.follow import Follower
from keephold.follower.trust import Registrations
from keephold.follower.view import VerifiedBlock, VerifiedView
from keephold.protocol.codec import decode
from keephold.protocol.genesis import Genesis
from keephold.protocol.refusals import Refusal
from keephold.protocol.state import AccountRecord, account_path
from keephold.protocol.transactions import Body
from keephold.protocol.wire import Interest, ProvenReceipt

COALESCE_SECONDS: Final = 0.001
"""How long a submission waits for company."""

MOST_TRANSACTIONS: Final = 512
MOST_BYTES: Final = 2 << 20
"""Of one submission."""

AHEAD_NS: Final = 60 * 10**9
"""How far a header's time may lie ahead of this machine's clock."""

_LONGEST_PAUSE: Final = 1.0


@final
class Connection:
    """A running, verified connection to one network. Make it with `open`, end it with `aclose`."""

    def __init__(self, nodes: Sequence[Node], genesis: Genesis, clock: Clock | None = None) -> None:
        """For `open`.

        Raises:
            ConfigurationError: the genesis cannot be lived under.
        """
        self.gateway: Final = Gateways([node.gateway for node in nodes])
        self.genesis: Final = genesis
        self.follower: Final = Follower(
            [node.remote for node in nodes],
            VerifiedView(genesis),
            Interest(sparse=True),
            patience=asked,
            turn_seconds=TURN_SECONDS,
        )
        self.registrations: Final = Registrations(self.follower)
        self.acknowledged = 0
        """Height after which this program has seen its own latest effect; queries ask for no less."""
        self._clock: Final = clock or SystemClock()
        self._outbox: Final = Outbox(self.network)
        self._ends: dict[bytes, asyncio.Future[ProvenReceipt | None]] = {}
        """By transaction id, of every flight until it ended and its caller knows."""
        self._flights: dict[bytes, Flight] = {}
        self._reactions: dict[bytes, Callable[[LedgerRefused], None]] = {}
        self._judges: dict[bytes, Callable[[ProvenReceipt], bool]] = {}
        self._ordered: dict[bytes, tuple[int, float]] = {}
        """By transaction id, of flights that are proven to be ordered: in which block, and known since when."""
        self._watchers: dict[bytes, set[asyncio.Queue[bytes | None]]] = {}
        self._proven_at: dict[bytes, int] = {}
        """By watched path: height of the header that proves the newest value, below which none is taken."""
        self._opening: Final = asyncio.Lock()
        self._wake: Final = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._examined: set[Flight] = set()
        self._broken: Exception | None = None
        self._failure: Final[asyncio.Future[ProvenReceipt | None]] = asyncio.get_running_loop().create_future()
        """Never has a value; fails when the connection breaks."""

    @classmethod
    async def open(cls, nodes: Sequence[Node], genesis: Genesis, clock: Clock | None = None) -> Connection:
        """Verify the chain from the genesis to the newest header, at the first node that has it, and follow it.

        Raises:
            ChainRefused: of the last node: its chain is not this genesis' chain, or is too old to be trusted.
            NodeUnreachable: the last node did not answer. Of several, the text names each with its reason.
        """
        reasons: list[str] = []
        for place, node in enumerate(nodes):
            # Each begins from the genesis: what one showed binds nobody to it.
            connection = cls((*nodes[place:], *nodes[:place]), genesis, clock)
            try:
                await connection.follower.sync()
                connection._check_time()
            except (ChainRefused, NodeUnreachable) as error:
                reasons.append(f"{node.remote}: {str(error).removeprefix(f'{node.remote}: ')}")
                if place == len(nodes) - 1:
                    await connection.follower.aclose()
                    raise error if len(nodes) == 1 else type(error)("; ".join(reasons)) from error
            except BaseException:
                await connection.follower.aclose()
                raise
            else:
                break
        connection.spawn(connection._follow())
        connection.spawn(connection._pump())
        if len(nodes) > 1:
            connection.spawn(Watch(connection.follower, connection._concerns()).run())
        return connection

    @property
    def network(self) -> NetworkId:
        """The network id."""
        return self.follower.view.network

    async def aclose(self) -> None:
        """End the stream and the submissions; whoever still waits gets DeadlineExceeded."""
        tasks = tuple(self._tasks)
        for task in tasks:
            task.cancel()
        try:
            # Not by awaiting each: that could not tell its cancellation from ours.
            if tasks:
                await asyncio.wait(tasks)
        finally:
            self._break(DeadlineExceeded("the connection was closed"))
            await self.follower.aclose()

    # --- sending ---

    async def admit(self, account: Account) -> None:
        """Make an account known: its nonce from its proven record, its receipts from the stream.

        Raises:
            ChainRefused, NodeUnreachable
        """
        public = account.key.public
        if self._outbox.knows(public):
            return
        async with self._opening:
            if self._outbox.knows(public):
                return
            nonce = await self._proven_nonce(public)
            self._watch(receipts=(*self.follower.interest.receipts, public))
            self._outbox.open(public, nonce)

    def send(self, key: SigningKey, build: Callable[[int], Body]) -> Flight:
        """Sign and queue a transaction of an admitted account; its end is awaited with `ended`.

        Raises:
            KeepholdError: the connection is broken.
        """
        if self._broken is not None:
            raise self._broken
        loop = asyncio.get_running_loop()
        flight = self._outbox.sign(key, build, loop.time())
        self._flights[flight.id] = flight
        self._ends[flight.id] = loop.create_future()
        self._wake.set()
        return flight

    def next_nonce(self, account: PublicKey) -> int:
        """Return the nonce that an admitted account's next transaction is signed under."""
        return self._outbox.next_nonce(account)

    async def ended(self, flight: Flight) -> ProvenReceipt | None:
        """Return the proven receipt of a call; None for what has none and was settled.

        Raises:
            LedgerRefused: the ledger refused the transaction.
            KeepholdError: the connection broke.
        """
        end = self._ends.get(flight.id)
        if end is None:
            raise InputError("the outcome of this transaction was taken before")
        try:
            return await asyncio.shield(end)
        finally:
            if end.done():
                self._ends.pop(flight.id, None)

    def when_refused(self, flight: Flight, react: Callable[[LedgerRefused], None]) -> None:
        """Call `react` should the ledger refuse this transaction, before its nonce is used for another."""
        self._reactions[flight.id] = react

    def expect(self, flight: Flight, is_answer: Callable[[ProvenReceipt], bool]) -> None:
        """Let a proven receipt end this call only if `is_answer`: a ledger that breaks its rules has more than one."""
        self._judges[flight.id] = is_answer

    def settle(self, flight: Flight) -> None:
        """A transaction without receipt is proven to have had its effect."""
        self._outbox.settle(flight)
        self._forget(flight)
        end = self._ends.pop(flight.id, None)
        if end is not None and not end.done():
            end.set_result(None)

    def _forget(self, flight: Flight) -> None:
        self._flights.pop(flight.id, None)
        self._ordered.pop(flight.id, None)
        self._reactions.pop(flight.id, None)
        self._judges.pop(flight.id, None)

    # --- reading ---

    async def values(self, path: bytes, unless: Flight | None = None) -> AsyncGenerator[bytes | None, None]:
        """Yield a path's proven value now and whenever it changes.

        Raises:
            LedgerRefused: the ledger refused the transaction `unless`.
            KeepholdError: the connection broke.
        """
        queue: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._watchers.setdefault(path, set()).add(queue)
        self._watch()
        failures: set[asyncio.Future[ProvenReceipt | None]] = {self._failure}
        if unless is not None:
            failures.add(self._ends[unless.id])
        try:
            # An idle chain may make no block for a while, and the stream speaks with blocks only.
            first = await self.follower.prove([path])
            last = first[path]
            self._proven_at[path] = max(self._proven_at.get(path, 0), first.height)
            yield last
            while True:
                following = asyncio.ensure_future(queue.get())
                awaited: set[asyncio.Future[Any]] = {following, *failures}
                try:
                    await asyncio.wait(awaited, return_when=asyncio.FIRST_COMPLETED)
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
            self._watchers[path].discard(queue)
            if not self._watchers[path]:
                del self._watchers[path]
                self._proven_at.pop(path, None)  # the stream goes on asking for it until its interest changes anyway

    def _watch(self, receipts: tuple[bytes, ...] | None = None) -> None:
        accounts = self.follower.interest.receipts if receipts is None else receipts
        self.follower.watch(Interest(paths=tuple(sorted(self._watchers)), receipts=accounts, sparse=True))

    # --- the stream ---

    async def _follow(self) -> None:
        try:
            async with aclosing(self.follower.blocks()) as blocks:
                async for block in blocks:
                    self._take(block)
        except (ChainRefused, EnclaveError) as error:
            # A node that was rolled back is, to a client, a node whose chain does not hold.
            self._break(error if isinstance(error, ChainRefused) else ChainRefused(str(error)))

    def _take(self, block: VerifiedBlock) -> None:
        for receipt in block.receipts:
            self._receive(receipt, block.height)
        for path, value in block.values.items():
            self._tell(path, value, block.height)

    def _receive(self, receipt: ProvenReceipt, height: int) -> bool:
        """Take a receipt, with the height of the header that proves it; say whether a call waited for it."""
        flight = self._flights.get(receipt.call)
        is_answer = self._judges.get(receipt.call)
        if flight is None or (is_answer is not None and not is_answer(receipt)):
            return False
        self._forget(flight)
        self.acknowledged = max(self.acknowledged, height - 1)
        self._outbox.settle(flight)
        end = self._ends.get(flight.id)
        if end is not None and not end.done():
            end.set_result(receipt)
        self._wake.set()  # an account's window may have moved
        return True

    def _tell(self, path: bytes, value: bytes | None, height: int) -> None:
        """Take a proven value, unless a newer one is known: nodes follow one another, and one may be behind."""
        if path in self._watchers and height >= self._proven_at.get(path, 0):
            self._proven_at[path] = height
            for queue in self._watchers[path]:
                queue.put_nowait(value)

    # --- several nodes ---

    def _concerns(self) -> Concerns:
        return Concerns(
            is_busy=lambda: bool(self._flights or self._watchers),
            paths=lambda: tuple(self._watchers),
            due=self._due,
            value=self._tell,
            receipt=self._receive,
        )

    def _due(self, before: float) -> Iterator[Due]:
        for call, (height, since) in tuple(self._ordered.items()):
            flight = self._flights.get(call)
            if flight is not None and since < before:
                yield Due(flight.account, call, height)

    def _check_time(self) -> None:
        """This machine's clock bounds what a node may present as the newest header."""
        view = self.follower.view
        now = self._clock.now_ns()
        if view.time_ns > now + AHEAD_NS:
            raise HeaderInvalid("the newest header is from the future: check this machine's clock")
        if view.height and view.time_ns + self.genesis.law.timing.trusting_period_ns < now:
            raise TrustExpired("the newest header is older than the trusting period")

    # --- submissions ---

    async def _pump(self) -> None:
        loop = asyncio.get_running_loop()
        failures = 0
        while True:
            self._wake.clear()
            batch = self._outbox.due(loop.time(), MOST_TRANSACTIONS, MOST_BYTES)
            if not batch:
                await self._sleep(loop.time())
                continue
            await asyncio.sleep(COALESCE_SECONDS)
            batch = self._outbox.due(loop.time(), MOST_TRANSACTIONS, MOST_BYTES)
            try:
                # What one node accepted, and no proof confirms, is offered to the next: that one kept it for itself.
                doubted = max(flight.offers if flight.accepted else 0 for flight in batch)
                verdicts = await self.follower.submit([flight.raw for flight in batch], doubted)
            except NodeUnreachable:
                failures += 1
                self._outbox.unanswered(batch, loop.time(), min(_LONGEST_PAUSE, 0.05 * 2.0 ** min(failures, 8)))
            except (InputError, LedgerRefused) as error:
                # The node refuses the submission as such: all of it, and what waits behind.
                for flight in batch:
                    if not flight.ended:
                        self._end(self._outbox.refused(flight, Refusal.MALFORMED, str(error)))
            else:
                for flight, verdict in zip(batch, verdicts, strict=True):
                    self._act(flight, self._outbox.answered(flight, verdict, loop.time()))
                if failures:
                    failures = 0
                    self._outbox.doubt(loop.time())

    async def _sleep(self, now: float) -> None:
        due = self._outbox.next_due()
        # Something due that was not offered waits behind another one: ask again shortly.
        pause = None if due is None else max(due - now, 0.02)
        with suppress(TimeoutError):
            async with asyncio.timeout(pause):
                await self._wake.wait()

    def _act(self, flight: Flight, outcome: Outcome) -> None:
        match outcome:
            case Waiting():
                pass
            case Ordered():
                if flight.offers > 1:
                    self._examine(flight, self._look)
            case Unclear():
                self._examine(flight, self._resynchronise)
            case Failed():
                self._end(outcome)

    def _end(self, failed: Failed) -> None:
        for flight, error in failed.flights:
            react = self._reactions.get(flight.id)
            self._forget(flight)
            end = self._ends.get(flight.id)
            if end is not None and not end.done():
                end.set_exception(error)
                end.exception()  # seen: nobody may be waiting any more
            if react is not None and isinstance(error, LedgerRefused):
                react(error)

    def _examine(self, flight: Flight, question: Callable[[Flight], Awaitable[object]]) -> None:
        if flight in self._examined:
            return
        self._examined.add(flight)

        async def ask() -> None:
            try:
                with suppress(NodeUnreachable):
                    await question(flight)
            except KeepholdError as error:
                self._break(error)
            finally:
                self._examined.discard(flight)

        self.spawn(ask())

    async def _look(self, flight: Flight) -> bool:
        """Read what came of a transaction that was ordered; say whether it was found."""
        located = (await self.follower.locate([flight.id])).get(flight.id)
        if located is None or flight.ended:
            return located is not None
        if located.result.code:
            self._end(self._outbox.refused(flight, located.result.code, f"in block {located.height}"))
        else:
            self._outbox.settle(flight)  # proven to be ordered: no more offers; the receipt is still to come
            self._ordered.setdefault(flight.id, (located.height, asyncio.get_running_loop().time()))
        return True

    async def _resynchronise(self, flight: Flight) -> None:
        # The nonce first: an honest node that proves it used also finds the transaction that used it.
        nonce = await self._proven_nonce(flight.account)
        if nonce > flight.nonce and await self._look(flight):
            return
        outcome = self._outbox.resynchronised(flight, nonce, asyncio.get_running_loop().time())
        if isinstance(outcome, Failed):
            self._end(outcome)

    async def _proven_nonce(self, account: PublicKey) -> int:
        path = account_path(account)
        raw = (await self.follower.prove([path]))[path]
        return 0 if raw is None else decode(raw, AccountRecord).nonce

    # --- life ---

    def spawn(self, work: Coroutine[None, None, None]) -> asyncio.Task[None]:
        """Run something beside, until the connection is closed."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ran)
        return task

    def _ran(self, task: asyncio.Task[None]) -> None:
        """What ends unforeseen ends the connection: whoever waits for its work would wait for ever."""
        self._tasks.discard(task)
        error = None if task.cancelled() else task.exception()
        if isinstance(error, Exception):
            self._break(error)

    def _break(self, error: Exception) -> None:
        self._broken = self._broken or error
        for end in (self._failure, *self._ends.values()):
            if not end.done():
                end.set_exception(error)
                end.exception()  # seen: nobody may be waiting any more
