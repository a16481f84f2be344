"""What all accounts and contracts of one program share: one verified stream, and all that comes and goes over it.

One stream serves every account, so sixteen accounts cost little more than one. `submissions` carries transactions to
their ends, `watched` tells values as they change; here is their common life: where the stream comes from, who is told
of what it brings, and that whatever ends it ends all that wait.

Nothing here believes a node. A receipt counts once the view has verified it.

**Several nodes.** One is followed at a time. It is left for the next when it dies, or its stream does not verify (the
follower sees to that), when it stands still or keeps something back (`watch`), and when an answer of it does not hold
(`follower.nodes`). Calls under way do not notice: the verified head stays, what a node accepted and no proof confirms
is offered to the next one with the same bytes, and receipts are looked for where they are.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Coroutine, Sequence
from contextlib import aclosing
from typing import Final, final

from keephold.base.clock import Clock, SystemClock
from keephold.base.errors import (
    ChainRefused,
    DeadlineExceeded,
    EnclaveError,
    HeaderInvalid,
    NodeUnreachable,
    TrustExpired,
)
from keephold.base.ids import NetworkId
from keephold.client.account import Account
from keephold.client.nodes import TURN_SECONDS, Gateways, Node
from keephold.client.outbox import Flight
from keephold.client.patience import asked
from keephold.client.submissions import Submissions
from keephold.client.watch import Concerns, Watch
from keephold.client.watched import WatchedValues
from keephold.follower.follow import Follower
from keephold.follower.trust import Registrations
from keephold.follower.view import VerifiedView
from keephold.protocol.genesis import Genesis
from keephold.protocol.transactions import Body
from keephold.protocol.wire import Interest

AHEAD_NS: Final = 60 * 10**9
"""How far a header's time may lie ahead of this machine's clock."""


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
        self.submissions: Final = Submissions(self.follower, self.spawn)
        self._watched: Final = WatchedValues(self.follower)
        self._clock: Final = clock or SystemClock()
        self._tasks: set[asyncio.Task[None]] = set()

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
        connection.spawn(connection.submissions.run())
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

    # --- transactions without a receipt: what they came to is seen in the state ---

    async def transact(self, account: Account, body: Body) -> Flight:
        """Send a transaction; `effect` or `values` shows what comes of it.

        Raises:
            ChainRefused, NodeUnreachable: the account's nonce cannot be proven now.
            KeepholdError: the connection is broken.
        """
        await self.submissions.admit(account.key.public)
        return self.submissions.send(account.key, lambda _: body)

    async def effect(self, flight: Flight, path: bytes, is_effect: Callable[[bytes | None], bool]) -> bytes | None:
        """Return a path's first proven value that is the transaction's effect, which is settled by it.

        Raises:
            LedgerRefused: the ledger refused the transaction.
            KeepholdError: the connection broke.
        """
        async with aclosing(self.values(path, unless=flight)) as values:
            async for raw in values:
                if is_effect(raw):
                    self.submissions.settle(flight)
                    self.submissions.acknowledge(self._watched.proven_at(path) - 1)
                    return raw
        raise DeadlineExceeded("the connection ended before the ledger's answer")

    def values(self, path: bytes, unless: Flight | None = None) -> AsyncGenerator[bytes | None, None]:
        """Yield a path's proven value now and whenever it changes.

        Raises:
            LedgerRefused: the ledger refused the transaction `unless`.
            KeepholdError: the connection broke.
        """
        return self._watched.values(path, *(() if unless is None else (self.submissions.end(unless),)))

    # --- the stream ---

    async def _follow(self) -> None:
        try:
            async with aclosing(self.follower.blocks()) as blocks:
                async for block in blocks:
                    for receipt in block.receipts:
                        self.submissions.receive(receipt, block.height)
                    for path, value in block.values.items():
                        self._watched.tell(path, value, block.height)
        except EnclaveError as error:
            # A node that was rolled back is, to a client, a node whose chain does not hold.
            raise ChainRefused(str(error)) from error

    def _concerns(self) -> Concerns:
        return Concerns(
            is_busy=lambda: self.submissions.is_busy or bool(self._watched.paths),
            paths=lambda: self._watched.paths,
            due=self.submissions.due,
            value=self._watched.tell,
            receipt=self.submissions.receive,
        )

    def _check_time(self) -> None:
        """This machine's clock bounds what a node may present as the newest header."""
        view = self.follower.view
        now = self._clock.now_ns()
        if view.time_ns > now + AHEAD_NS:
            raise HeaderInvalid("the newest header is from the future: check this machine's clock")
        if view.height and view.time_ns + self.genesis.law.timing.trusting_period_ns < now:
            raise TrustExpired("the newest header is older than the trusting period")

    # --- life ---

    def spawn(self, work: Coroutine[None, None, None]) -> asyncio.Task[None]:
        """Run something beside, until the connection is closed; what it fails with breaks the connection."""
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
        self.submissions.fail(error)
        self._watched.fail(error)
