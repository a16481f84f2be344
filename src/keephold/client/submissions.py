"""Transactions on their way: each is offered to a node, and again, until something proven says what it came to.

The outbox decides what is offered and when; this asks, in its name, and tells whoever waits. Submissions that arrive
within `COALESCE_SECONDS` travel together, those of all accounts of a program.

Nothing here believes a node. A verdict is advice that the outbox takes with care; a receipt was verified by the view;
whether a transaction was ordered, and refused, is read from a proven result, and the nonce from a proven record.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Coroutine, Iterator, Sequence
from contextlib import suppress
from typing import Final, final

from keephold.base.errors import InputError, LedgerRefused, NodeUnreachable
from keephold.base.ids import PublicKey
from keephold.client.outbox import Failed, Flight, Ordered, Outbox, Outcome, Unclear, Waiting
from keephold.client.watch import Due
from keephold.crypto.signing import SigningKey
from keephold.follower.follow import Follower
from keephold.protocol.codec import decode
from keephold.protocol.refusals import Refusal
from keephold.protocol.state import AccountRecord, account_path
from keephold.protocol.transactions import Body
from keephold.protocol.wire import Interest, ProvenReceipt

COALESCE_SECONDS: Final = 0.001
"""How long a submission waits for company."""

MOST_TRANSACTIONS: Final = 512
MOST_BYTES: Final = 2 << 20
"""Of one submission."""

_LONGEST_PAUSE: Final = 1.0

End = asyncio.Future[ProvenReceipt | None]
"""How a transaction ended: with a receipt, without one because its effect was proven, or with an error."""


@final
class Submissions:
    """What one program sends to one ledger. Run it beside the stream."""

    def __init__(self, follower: Follower, spawn: Callable[[Coroutine[None, None, None]], object]) -> None:
        """For `Connection`, which runs what is given to `spawn`, and ends should that fail."""
        self.acknowledged = 0
        """Height after which this program has seen its own latest effect; queries ask for no less."""
        self._follower: Final = follower
        self._spawn: Final = spawn
        self._outbox: Final = Outbox(follower.view.network)
        self._ends: dict[bytes, End] = {}
        """By transaction id, of every flight until it ended and its caller knows."""
        self._flights: dict[bytes, Flight] = {}
        self._reactions: dict[bytes, Callable[[LedgerRefused], None]] = {}
        self._judges: dict[bytes, Callable[[ProvenReceipt], bool]] = {}
        self._ordered: dict[bytes, tuple[int, float]] = {}
        """By transaction id, of flights that are proven to be ordered: in which block, and known since when."""
        self._examined: set[Flight] = set()
        self._opening: Final = asyncio.Lock()
        self._wake: Final = asyncio.Event()
        self._broken: Exception | None = None

    @property
    def is_busy(self) -> bool:
        """Whether the end of a transaction is waited for."""
        return bool(self._flights)

    def due(self, before: float) -> Iterator[Due]:
        """Yield the calls that are known since before this time of the event loop to be ordered, and not answered."""
        for call, (height, since) in tuple(self._ordered.items()):
            flight = self._flights.get(call)
            if flight is not None and since < before:
                yield Due(flight.account, call, height)

    # --- what the program sends ---

    async def admit(self, account: PublicKey) -> None:
        """Make an account known: its nonce from its proven record, its receipts from the stream.

        Raises:
            ChainRefused, NodeUnreachable
        """
        if self._outbox.knows(account):
            return
        async with self._opening:
            if self._outbox.knows(account):
                return
            nonce = await self._proven_nonce(account)
            interest = self._follower.interest
            self._follower.watch(
                Interest(paths=interest.paths, receipts=(*interest.receipts, account), sparse=interest.sparse)
            )
            self._outbox.open(account, nonce)

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

    def end(self, flight: Flight) -> End:
        """Return how the transaction will have ended.

        Raises:
            InputError: that was taken before, with `ended` or by `settle`.
        """
        end = self._ends.get(flight.id)
        if end is None:
            raise InputError("the outcome of this transaction was taken before")
        return end

    async def ended(self, flight: Flight) -> ProvenReceipt | None:
        """Return the proven receipt of a call; None for what has none and was settled.

        Raises:
            LedgerRefused: the ledger refused the transaction.
            InputError: as `end`.
            KeepholdError: the connection broke.
        """
        end = self.end(flight)
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

    def acknowledge(self, height: int) -> None:
        """Ask for nothing older from now on: an effect was seen in the state after the block at `height`."""
        self.acknowledged = max(self.acknowledged, height)

    # --- what comes of it ---

    def receive(self, receipt: ProvenReceipt, height: int) -> bool:
        """Take a receipt, with the height of the header that proves it; say whether a call waited for it."""
        flight = self._flights.get(receipt.call)
        is_answer = self._judges.get(receipt.call)
        if flight is None or (is_answer is not None and not is_answer(receipt)):
            return False
        self._forget(flight)
        self.acknowledge(height - 1)
        self._outbox.proven(flight, asyncio.get_running_loop().time())
        end = self._ends.get(flight.id)
        if end is not None and not end.done():
            end.set_result(receipt)
        self._wake.set()  # an account's window may have moved
        return True

    def fail(self, error: Exception) -> None:
        """Let whoever waits have the error, and whoever sends from now on the first of them."""
        self._broken = self._broken or error
        for end in self._ends.values():
            if not end.done():
                end.set_exception(error)
                end.exception()  # seen: nobody may be waiting any more

    def _forget(self, flight: Flight) -> None:
        self._flights.pop(flight.id, None)
        self._ordered.pop(flight.id, None)
        self._reactions.pop(flight.id, None)
        self._judges.pop(flight.id, None)

    # --- offering ---

    async def run(self) -> None:
        """Offer what is due, for ever."""
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
            if not batch:
                continue  # what was due in doubt has ended while it waited for company
            try:
                # What one node accepted, and no proof confirms, is offered to the next: that one kept it for itself.
                doubted = max(flight.offers if flight.accepted else 0 for flight in batch)
                verdicts = await self._follower.submit([flight.raw for flight in batch], doubted)
            except NodeUnreachable:
                failures += 1
                self._outbox.unanswered(batch, loop.time(), min(_LONGEST_PAUSE, 0.05 * 2.0 ** min(failures, 8)))
            except (InputError, LedgerRefused) as error:
                # The node refuses the submission as such: all of it, and what waits behind.
                for flight in batch:
                    if not flight.ended:
                        self._end(self._outbox.refused(flight, Refusal.MALFORMED, str(error)))
            else:
                now = loop.time()
                ordered = []
                for flight, verdict in zip(batch, verdicts, strict=True):
                    outcome = self._outbox.answered(flight, verdict, now)
                    if isinstance(outcome, Ordered) and flight.offers > 1:
                        ordered.append(flight)
                    self._act(flight, outcome)
                # One question for all: a network that is late is late with many.
                self._examine(ordered, self._look)
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
            case Waiting() | Ordered():
                pass
            case Unclear():
                self._examine([flight], self._resynchronise)
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

    # --- asking the chain what became of it ---

    def _examine(self, flights: Sequence[Flight], question: Callable[[Sequence[Flight]], Awaitable[object]]) -> None:
        """Ask a question about those of these flights about which none is asked yet."""
        asked = [flight for flight in flights if flight not in self._examined]
        if not asked:
            return
        self._examined.update(asked)

        async def ask() -> None:
            try:
                with suppress(NodeUnreachable):
                    await question(asked)
            finally:
                self._examined.difference_update(asked)

        self._spawn(ask())

    async def _look(self, flights: Sequence[Flight]) -> Collection[bytes]:
        """Read what came of transactions that were ordered; return the ids of those that were found."""
        found = await self._follower.locate([flight.id for flight in flights])
        for flight in flights:
            located = found.get(flight.id)
            if located is None or flight.ended:
                continue
            if located.result.code:
                self._end(self._outbox.refused(flight, located.result.code, f"in block {located.height}"))
            else:
                self._outbox.settle(flight)  # proven to be ordered: no more offers; the receipt is still to come
                self._ordered.setdefault(flight.id, (located.height, asyncio.get_running_loop().time()))
        return found.keys()

    async def _resynchronise(self, flights: Sequence[Flight]) -> None:
        for flight in flights:
            # The nonce first: an honest node that proves it used also finds the transaction that used it.
            nonce = await self._proven_nonce(flight.account)
            if nonce > flight.nonce and await self._look([flight]):
                continue
            outcome = self._outbox.resynchronised(flight, nonce, asyncio.get_running_loop().time())
            if isinstance(outcome, Failed):
                self._end(outcome)

    async def _proven_nonce(self, account: PublicKey) -> int:
        path = account_path(account)
        raw = (await self._follower.prove([path]))[path]
        return 0 if raw is None else decode(raw, AccountRecord).nonce
