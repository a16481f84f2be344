"""The bench that contracts are attacked on: one network in this process, on a thread of its own, and clients of it.

    bench = Bench(accounts)
    with bench.connect() as network: ...         # the client library, over objects instead of sockets
    bench.end("w0")                              # a worker dies; `heal` starts it again
    bench.close()

Node, three gatekeepers of which two make a key, two workers and a gateway, all of them the production's own code, over
the production's own bytes. What differs from a devnet: no processes, no sockets, no seals by a machine of its own; the
validator's key, the clock and everybody's disk are the test's. That is what lets a test attack.
"""

from __future__ import annotations

import asyncio
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any, Final, TypeVar, final

from keephold.base.errors import DeadlineExceeded, KeepholdError
from keephold.client.aio import AsyncNetwork
from keephold.client.connection import Connection
from keephold.client.network import Network
from keephold.client.nodes import Node
from keephold.crypto.secret import SecretBytes
from keephold.enclave.session import Session
from keephold.protocol.custody import CommitteeKeys
from keephold.protocol.state import CommitteeRecord, committee_path
from keephold.runtime.artefact import cache_directory, guest_artefact
from keephold.runtime.cache import CompiledCache, CompiledGuest
from keephold.testing.clock import ManualClock
from keephold.testing.gateway import LocalGateway
from keephold.testing.local import SECOND, LocalNetwork
from keephold.testing.remote import LocalNode, LocalRemote, Tamper, honest
from keephold.worker.service import Worker

T = TypeVar("T")

GATEKEEPERS: Final = ("g0", "g1", "g2")
THRESHOLD: Final = 2
WORKERS: Final = ("w0", "w1")
LEASE_DAYS: Final = 365
"""How far a test may turn the clock, all in all, before enclaves have to attest anew."""

_DAY_S: Final = 86_400
_COLLATERAL_DAYS: Final = 10
"""Of thirty for which it is valid."""
_START_SECONDS: Final = 180.0
_POLL_SECONDS: Final = 0.01
_CACHE_KEY: Final = b"keephold bench".ljust(32, b"\0")
"""Of a cache that the same user writes and reads, for a guest that runs nothing confidential."""


@final
class Bench:
    """One network. Its methods are for the test's thread; what they run, runs on the network's."""

    def __init__(self) -> None:
        """Start everything and return once keys can be asked for.

        Raises:
            DeadlineExceeded: it does not come up.
        """
        self.clock: Final = ManualClock(time.time_ns())
        self._held: Final = ExitStack()
        self._loop: Final = asyncio.new_event_loop()
        self._thread: Final = threading.Thread(target=self._loop.run_forever, name="keephold-bench", daemon=True)
        self._tasks: Final[dict[str, asyncio.Task[None]]] = {}
        self._brought_ns = self.clock.now_ns()
        self._copies = 0
        self._sessions: Final[dict[str, Session]] = {}
        with ExitStack() as undo:
            directory = Path(undo.enter_context(tempfile.TemporaryDirectory(prefix="keephold-bench-")))
            cache = CompiledCache(cache_directory() / "bench", SecretBytes(_CACHE_KEY))
            self._guest: Final[CompiledGuest] = undo.enter_context(cache.guest(guest_artefact()))
            self.net: Final = LocalNetwork(
                directory,
                seats=len(GATEKEEPERS),
                threshold=THRESHOLD,
                lease_s=LEASE_DAYS * _DAY_S,
                trusting_s=10 * LEASE_DAYS * _DAY_S,
                clock=self.clock,
            )
            self.workers: Final = {name: self.net.remote() for name in WORKERS}
            """The connection of each worker."""
            self._thread.start()
            undo.callback(self._end_thread)
            self.gateway: Final = self.run(self._gateway())
            undo.callback(lambda: self.run(self._end_all()))
            self.run(self._start())
            self._held.push(undo.pop_all())

    # --- the network's thread ---

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Return what a coroutine returns that runs beside the network."""
        return self.begin(work).result()

    def begin(self, work: Coroutine[Any, Any, T]) -> Future[T]:
        """Begin a coroutine beside the network."""
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    async def until(self, condition: Callable[[], bool], what: str, seconds: float = _START_SECONDS) -> None:
        """Return once the condition holds; for coroutines beside the network.

        Raises:
            DeadlineExceeded: it never did.
        """
        ends = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > ends:
                raise DeadlineExceeded(f"waited {seconds:g} s for {what}")
            await asyncio.sleep(_POLL_SECONDS)

    async def _gateway(self) -> LocalGateway:
        return LocalGateway(self.net)

    async def _start(self) -> None:
        self.net.start()
        await self.until(lambda: self.net.node.application.map.newest.time_ns > 0, "the first block")
        self.net.bring_collateral()
        for name in GATEKEEPERS:
            self._tasks[name] = asyncio.ensure_future(self.net.gatekeeper(name).run())
        for name in WORKERS:
            self._begin(name)
        await self.until(lambda: self.committee() is not None, "the gatekeepers' key")
        await self._registered()

    def _begin(self, name: str) -> None:
        session = self.net.session(name, "worker", remote=self.workers[name])
        self._sessions[name] = session
        self._tasks[name] = asyncio.ensure_future(Worker(session, [self.gateway], self._guest).run())

    def committee(self) -> CommitteeKeys | None:
        """Return the public half of the gatekeepers' key; None before there is one."""
        record = self.net.node.reader.record(committee_path(), CommitteeRecord)
        return record.keys[0] if record is not None and record.keys else None

    async def _registered(self) -> None:
        for session in self._sessions.values():
            await asyncio.wait_for(session.registrar.wait_registered(), _START_SECONDS)

    # --- clients ---

    def remote(self, tamper: Tamper = honest) -> LocalRemote:
        """Return a connection to the node, whose answers go through `tamper`."""
        remote = self.net.remote()
        remote.tamper = tamper
        return remote

    def connect(self, remote: LocalRemote) -> Network:
        """Return a client that follows the chain from the genesis over a connection.

        Raises:
            ChainRefused: what the connection shows is no such chain.
        """
        return Network.over(self._connecting(remote))

    async def _connecting(self, remote: LocalRemote) -> AsyncNetwork:
        return AsyncNetwork(await Connection.open([Node(remote, self.gateway)], self.net.genesis, self.clock))

    # --- time and disks ---

    def turn(self, seconds: float) -> None:
        """Turn the clock; collateral is brought anew before it is too old for anyone to register by."""
        # A clock that stands still is behind the blocks, whose times rise all the same.
        ahead_ns = max(0, self.net.node.application.map.newest.time_ns - self.clock.now_ns())
        self.clock.turn(seconds + ahead_ns / SECOND)
        if self.clock.now_ns() - self._brought_ns > _COLLATERAL_DAYS * _DAY_S * SECOND:
            self.run(self._bring())

    async def _bring(self) -> None:
        height = self.net.node.application.map.newest.height
        await self.until(lambda: self.net.node.application.map.newest.height > height, "a block of the new time")
        self.net.bring_collateral()
        self._brought_ns = self.clock.now_ns()

    def copy_node(self) -> LocalNode:
        """Return a node on a copy of the ledger as it is now, not started; the node itself goes on."""
        return self.run(self._copy_node())

    async def _copy_node(self) -> LocalNode:
        # In one go on this thread: what dials meanwhile finds the node down, and dials again.
        self._copies += 1
        self.net.kill_node()
        shutil.copytree(self.net.directory / "node", self.net.directory / f"copy {self._copies}")
        self.net.start()
        return self.net.another_node(f"copy {self._copies}")

    # --- workers come and go ---

    def end(self, name: str) -> None:
        """End a worker, with everything in its memory."""
        self.run(self._end(name))

    def heal(self) -> None:
        """Start every worker again that ended or was ended, and return once all are registered."""
        self.run(self._heal())

    async def _heal(self) -> None:
        for name in WORKERS:
            if name in self._tasks and self._tasks[name].done():
                await self._end(name)
            if name not in self._tasks:
                self._begin(name)
        await self._registered()

    def close(self) -> None:
        """End everything; may be called twice."""
        self._held.close()

    async def _end_all(self) -> None:
        for name in tuple(self._tasks):
            await self._end(name)
        await self.net.close()

    async def _end(self, name: str) -> None:
        task = self._tasks.pop(name)
        task.cancel()
        # What an attack made it end with was its business; a cancelled one ends with nothing.
        with suppress(asyncio.CancelledError, KeepholdError):
            await task

    def _end_thread(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.run_until_complete(self._loop.shutdown_asyncgens())
        self._loop.close()
