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

from keephold.base.errors import UnavailableError
from keephold.base.limits import MAX_TRANSACTION
from keephold.ledger.engines.base import Admission, Application, Block, StoredBlock
from keephold.ledger.engines.cometbft.adapter import Adapter, Founding
from keephold.ledger.engines.cometbft.collector import Collector
from keephold.ledger.engines.cometbft.messages import Message
from keephold.ledger.engines.cometbft.rpc import RpcClient, RpcError
from keephold.ledger.engines.cometbft.server import AbciServer
from keephold.ledger.engines.cometbft.verdicts import Verdicts
from keephold.ledger.engines.mempool import FULL
from keephold.ledger.engines.store import BlockStore

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
class CometEngine:
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
    ) -> None:
        """Open the block store and the socket.

        Args:
            application: The state machine.
            directory: Home of `blocks.db`.
            founding: Of the network.
            consensus: What dials `abci_socket` and answers at `rpc_socket`.
            abci_socket: Where we listen.
            rpc_socket: Where CometBFT listens.

        Raises:
            ConfigurationError: the socket cannot be.
        """
        self._application: Final = application
        self._consensus: Final = consensus
        self._verdicts: Final = Verdicts()
        self._adapter: Final = Adapter(application, founding, self)
        self._rpc: Final = RpcClient(rpc_socket)
        self._wake: Final = threading.Condition()
        self._listeners: Final[set[Callable[[int], None]]] = set()
        self._failure: BaseException | None = None
        self._stopping = False
        self._thread: threading.Thread | None = None
        self._store: Final = BlockStore(directory / "blocks.db")
        try:
            self._server: Final = AbciServer(abci_socket, self._answer, self._lost)
        except BaseException:
            self._store.close()
            raise
        self._collector: Final = Collector(self._rpc, self._store, founding)
        self._applied = application.info().height

    # --- base.Engine ---

    def submit(self, raws: Sequence[bytes]) -> tuple[Admission, ...]:
        """Offer signed transactions; one admission for each, in order.

        Raises:
            UnavailableError: CometBFT does not answer (yet), or the engine has stopped.
        """
        if self._failure is not None or self._stopping:
            raise UnavailableError("the engine has stopped") from self._failure
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

    def block(self, height: int) -> StoredBlock | None:
        """Return a final block, or None if there is none at this height."""
        return self._store.block(height) if 0 < height <= self.latest() else None

    def transactions(self, height: int) -> tuple[bytes, ...]:
        """Return a block's transactions in order."""
        return self._store.transactions(height)

    def transaction(self, height: int, position: int) -> bytes | None:
        """Return one transaction of a block."""
        return self._store.transaction(height, position)

    def subscribe(self, listener: Callable[[int], None]) -> Callable[[], None]:
        """Call `listener(height)` after each block, from the engine's thread."""
        with self._wake:
            self._listeners.add(listener)

        def unsubscribe() -> None:
            with self._wake:
                self._listeners.discard(listener)

        return unsubscribe

    # --- life ---

    @property
    def failure(self) -> BaseException | None:
        """What stopped the engine, if something did: the node should end and be started again."""
        return self._failure

    def start(self) -> None:
        """Answer CometBFT, and start it. It takes a moment until `submit` works."""
        self._thread = threading.Thread(target=self._run, name="keephold-collector", daemon=True)
        self._thread.start()
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
                    self._collector.advance(self._applied)
            except UnavailableError:  # it starts, or replays blocks before it listens
                with self._wake:
                    self._wake.wait_for(lambda: self._stopping, _AGAIN)
            except Exception as error:  # noqa: BLE001 - the thread's last word: reported through `failure`
                self._fail(f"blocks cannot be stored: {error}")
                return
            announced = self._announce(announced)

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
            with self._wake:
                listeners = tuple(self._listeners)
            for listener in listeners:
                listener(latest)
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
