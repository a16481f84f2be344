"""The engine behind `engines.base.Engine`, on real CometBFT.

**In**: a transaction is offered over RPC; CometBFT asks our own `CheckTx` about it, and what that said is the
admission. Bytes that CometBFT has already are no offence.

**Out**: `FinalizeBlock` brings a block's transactions, but neither header nor commit. After each `Commit` a collector
fetches them, checks that they are of the block that was applied, and appends all to the same block store that the
embedded engine keeps; then the height is announced. What was missed while we were down, or lost, is fetched the same
way. So `latest` may be a moment behind the application, and never ahead of it.

When CometBFT ends, or ends one of its connections, or the application fails, the engine has failed: the node ends with
the reason and both are started again together.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Final, Protocol, final

from keephold.base.errors import InputError, UnavailableError
from keephold.base.limits import MAX_TRANSACTION
from keephold.ledger.engines.base import Admission, Application, Block, Load
from keephold.ledger.engines.cometbft.adapter import Adapter, Founding
from keephold.ledger.engines.cometbft.backfill import Backfill
from keephold.ledger.engines.cometbft.collector import Collector
from keephold.ledger.engines.cometbft.home import EVIDENCE_BLOCKS
from keephold.ledger.engines.cometbft.messages import Message
from keephold.ledger.engines.cometbft.rpc import RpcClient, RpcError
from keephold.ledger.engines.cometbft.server import AbciServer
from keephold.ledger.engines.cometbft.verdicts import Verdicts
from keephold.ledger.engines.mempool import FULL
from keephold.ledger.engines.statesync import Origin, Snapshots
from keephold.ledger.engines.store import BlockStore
from keephold.ledger.engines.stored import StoredEngine

_AGAIN: Final = 0.05
"""Seconds until CometBFT is asked again that did not answer."""

_LAST_WORDS: Final = 1.0
"""Seconds that CometBFT gets to say why it ended, after it ended a connection."""

_VERDICT: Final = 20.0
"""Seconds that the verdict on a transaction may take: longer than any block."""


class Consensus(Protocol):
    """Whatever orders blocks over our socket: a CometBFT process, or one that plays it."""

    def start(self, ended: Callable[[str], None]) -> None:
        """Begin; call `ended` with the reason when it ends unasked."""
        ...

    def stop(self) -> None:
        """End, and return when it has ended."""
        ...


@final
class CometEngine(StoredEngine):
    """Orders transactions through CometBFT. Implements `base.Engine`. Build, `start`, `stop`."""

    def __init__(
        self,
        application: Application,
        directory: Path,
        founding: Founding,
        consensus: Consensus,
        *,
        abci_socket: Path,
        rpc_socket: Path,
        snapshots: Snapshots,
        origin: Origin,
    ) -> None:
        """Open the block store and the socket.

        Args:
            application: The state machine.
            directory: Home of `blocks.db`.
            founding: Of the network.
            consensus: What dials `abci_socket` and answers at `rpc_socket`.
            abci_socket: Where we listen.
            rpc_socket: Where CometBFT listens.
            snapshots: The application's.
            origin: Where the block is found whose state a snapshot restores.

        Raises:
            ConfigurationError: the socket cannot be.
        """
        super().__init__(BlockStore(directory / "blocks.db"))
        self._application: Final = application
        self._consensus: Final = consensus
        self._verdicts: Final = Verdicts()
        self._adapter: Final = Adapter(application, founding, self, snapshots)
        self._rpc: Final = RpcClient(rpc_socket)
        self._wake: Final = threading.Condition()
        self._thread: threading.Thread | None = None
        try:
            self._server: Final = AbciServer(abci_socket, self._answer, self._lost)
        except BaseException:
            self._store.close()
            raise
        self._collector: Final = Collector(self._rpc, self._store, founding)
        self._origin: Final = origin
        self._backfill: Final = Backfill(self._store, origin)
        self._applied = application.info().height

    # --- base.Engine ---

    def submit(self, raws: Sequence[bytes]) -> tuple[Admission, ...]:
        """Offer signed transactions; one admission for each, in order.

        Raises:
            UnavailableError: CometBFT does not answer (yet), or the engine has stopped.
        """
        self._require_running()
        offered = [raw for raw in raws if len(raw) <= MAX_TRANSACTION]
        for raw in offered:
            self._application.inspect(raw)  # here, in the submitter's thread, rather than on the mempool's connection
        with self._verdicts.of(offered) as verdicts:
            refusals = iter(zip(self._rpc.offer(offered), verdicts, strict=True))
            return tuple(
                _admission(*next(refusals)) if len(raw) <= MAX_TRANSACTION else self._adapter.check(raw) for raw in raws
            )

    def latest(self) -> int:
        """Return the height of the newest block whose effects are durable; 0 before the first."""
        return min(self._collector.stored, self._applied)

    def priorities(self, height: int) -> tuple[int, ...]:
        """Return the proposer priorities of a block's validators, as CometBFT has them.

        Raises:
            InputError: there is no such block (any more).
            UnavailableError: CometBFT does not answer.
        """
        block = self.block(height)
        if block is None:
            raise InputError(f"no block {height}")
        priorities = self._rpc.priorities(height)
        return tuple(priorities.get(item.public_key, 0) for item in block.validators.validators)

    def load(self) -> Load:
        """Return CometBFT's mempool and peers.

        Raises:
            UnavailableError: CometBFT does not answer (yet).
        """
        return Load(*self._rpc.load())

    # --- life ---

    def start(self) -> None:
        """Answer CometBFT, and start it. It takes a moment until `submit` works."""
        self._thread = threading.Thread(target=self._run, name="keephold-collector", daemon=True)
        self._thread.start()
        self._backfill.start()
        self._server.start()
        self._consensus.start(self._fail)

    def stop(self) -> None:
        """End CometBFT, then everything that served it."""
        with self._wake:
            self._stopping = True
            self._wake.notify_all()
        self._verdicts.give_up()
        if self._thread is not None:
            self._consensus.stop()
            self._thread.join()
        self._server.stop()
        self._backfill.stop()
        self._rpc.close()
        self._store.close()

    # --- adapter.Observer: on the connections' threads ---

    def checked(self, raw: bytes, admission: Admission) -> None:
        """Hand a verdict to whoever submitted the transaction here."""
        self._verdicts.settle(raw, admission)

    def finalized(self, block: Block) -> None:
        """Keep the transactions for the collector."""
        self._collector.remember(block)

    def committed(self, height: int) -> None:
        """Wake the collector."""
        with self._wake:
            self._applied = height
            self._wake.notify_all()

    def restored(self) -> None:
        """Wake the collector: blocks go on from where the application's state came from."""
        self.committed(self._application.info().height)

    def retained(self) -> int:
        """Return the lowest of CometBFT's blocks that anybody still needs: our own store, or evidence; 0: all of them.

        CometBFT forgets blocks once. Of one that evidence may be about it then keeps header, commit and validators, and
        never comes back for them: a little of each block for ever. So it keeps such a block whole, until all can go.
        (That the block is old enough for it by the clock too, `programs.history` sees to.)
        """
        needed = min(self._store.first, self._collector.stored - EVIDENCE_BLOCKS)
        return needed if needed > 1 else 0

    # --- inside ---

    def _answer(self, request: Message) -> Message:
        try:
            return self._adapter.answer(request)
        except Exception as error:
            self._fail(f"the application failed: {error}")  # before CometBFT says that we did
            raise

    def _lost(self, reason: str) -> None:
        """A connection ended. As a rule CometBFT ends too, and says why: that reason is the better one."""
        with self._wake:
            self._wake.wait_for(lambda: self._failure is not None or self._stopping, _LAST_WORDS)
        self._fail(reason)

    def _fail(self, reason: str) -> None:
        with self._wake:
            if self._failure is None and not self._stopping:
                self._failure = UnavailableError(reason)
            self._wake.notify_all()
        self._verdicts.give_up()

    def _run(self) -> None:
        announced = self.latest()
        while self._wait_for_blocks(announced):
            try:
                if self._collector.stored < self._applied:
                    self._collect()
            except UnavailableError:  # it starts, or replays blocks before it listens
                with self._wake:
                    self._wake.wait_for(lambda: self._stopping, _AGAIN)
            except Exception as error:  # noqa: BLE001 - the thread's last word: reported through `failure`
                self._fail(f"blocks cannot be stored: {error}")
                return
            announced = self._announce(announced)

    def _collect(self) -> None:
        first = self._application.info().first
        if self._collector.stored + 1 < first:
            # The state was restored: the blocks that led to it are not here, and CometBFT does not have them either.
            self._collector.adopt(self._origin.block(first - 1))
            self._backfill.start()
        self._collector.advance(self._applied)

    def _wait_for_blocks(self, announced: int) -> bool:
        """Return when there is something to collect or announce; False: to end instead."""
        with self._wake:
            self._wake.wait_for(
                lambda: self._stopping or self._collector.stored < self._applied or announced < self.latest()
            )
            return not self._stopping

    def _announce(self, announced: int) -> int:
        latest = self.latest()
        if latest > announced:
            self._announcer.announce(latest)
        return latest


def _admission(refusal: RpcError | None, verdict: Future[Admission]) -> Admission:
    if refusal is None:
        try:
            return verdict.result(_VERDICT)
        except TimeoutError as error:
            raise UnavailableError("cometbft: no verdict on a transaction") from error
    if refusal.is_known:
        return Admission()
    if refusal.is_full:
        return Admission(FULL, "too many transactions wait")
    raise UnavailableError(f"cometbft: {refusal.text}")
