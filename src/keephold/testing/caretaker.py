"""What somebody has to do for a network to live, done by the devnet for itself: bring collateral, and bring it anew.

Collateral is what evidence is judged by; without it no enclave is admitted, and it expires. On a real network anyone
fetches it from the vendor and submits it; here the development vendor issues it on the spot.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Final, final

from keephold.base.errors import DeadlineExceeded, KeepholdError, NodeUnreachable
from keephold.client.account import Account
from keephold.client.connection import Connection
from keephold.client.nodes import Node
from keephold.client.pinned import PinnedNetwork
from keephold.follower.http_remote import HttpRemote
from keephold.protocol.codec import decode
from keephold.protocol.evidence import CollateralSubject, collateral_key
from keephold.protocol.state import CollateralRecord, collateral_path
from keephold.protocol.transactions import UpdateCollateral
from keephold.testing.vendor import DevelopmentVendor
from keephold.testing.vendor.vendor import FMSPC

REFRESH_SECONDS: Final = 12 * 3600.0
"""Of collateral that is valid for thirty days."""

_POLL_SECONDS: Final = 0.02
_SOON_SECONDS: Final = 0.5
"""Until the next attempt while the network starts: somebody waits for it."""

_AGAIN_SECONDS: Final = 5.0
_TOLD_SECONDS: Final = 5.0
"""Between two words to somebody who waits."""


@final
class Caretaker:
    """Brings collateral to a network, in a thread of its own, until `stop`."""

    def __init__(self, pinned: PinnedNetwork, vendor: DevelopmentVendor) -> None:
        """Start at once; the node need not run yet."""
        self._pinned: Final = pinned
        self._vendor: Final = vendor
        self._reason = "it starts"
        self._answers: Final = threading.Event()
        self._brought: Final = threading.Event()
        self._loop: Final = asyncio.new_event_loop()
        self._task = self._loop.create_task(self._live())
        self._thread: Final = threading.Thread(target=self._run, name="caretaker", daemon=True)
        self._thread.start()

    def wait_node(self, seconds: float, tell: Callable[[str], None] = lambda _: None) -> None:
        """Return once the node answers and admits enclaves; meanwhile `tell` now and then what is still missing.

        Raises:
            DeadlineExceeded
        """
        begun = time.monotonic()
        while not self._brought.wait(max(0.0, min(_TOLD_SECONDS, begun + seconds - time.monotonic()))):
            spent = time.monotonic() - begun
            what = "takes no transactions" if self._answers.is_set() else "does not answer"
            tell(f"the node {what} yet, after {spent:.0f} s: {self._reason}")
            if spent >= seconds:
                raise DeadlineExceeded(f"the node {what} after {seconds:g} s: {self._reason}")

    def stop(self) -> None:
        """End; may be called twice."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._task.cancel)
            self._thread.join()

    def _run(self) -> None:
        with suppress(asyncio.CancelledError):
            self._loop.run_until_complete(self._task)
        self._loop.run_until_complete(self._loop.shutdown_asyncgens())
        self._loop.close()

    async def _live(self) -> None:
        while True:
            try:
                await self._bring()
            except KeepholdError as error:  # the node is down for the moment: its supervisor starts it again
                self._reason = str(error)
                await asyncio.sleep(_AGAIN_SECONDS if self._brought.is_set() else _SOON_SECONDS)
            else:
                await asyncio.sleep(REFRESH_SECONDS)

    async def _bring(self) -> None:
        remote = HttpRemote(self._pinned.url)
        try:
            await self._until_answered(remote)
            connection = await Connection.open([Node(remote, remote)], self._pinned.genesis)
        finally:
            if not self._answers.is_set():
                await remote.aclose()
        try:
            account = Account.generate("caretaker")
            # The rules judge by block time, which lags behind this clock: by that, now is the future.
            collateral = self._vendor.collateral(now_ns=connection.follower.view.time_ns)
            flight = await connection.transact(account, UpdateCollateral(collateral))
            await connection.effect(
                flight,
                collateral_path(collateral_key(CollateralSubject(self._vendor.name, "sgx", "processor", FMSPC))),
                lambda raw: raw is not None and decode(raw, CollateralRecord).transaction == flight.id,
            )
        finally:
            await connection.aclose()
        self._brought.set()

    async def _until_answered(self, remote: HttpRemote) -> None:
        while not self._answers.is_set():
            try:
                await remote.blocks([0])
                self._answers.set()
            except NodeUnreachable:
                await asyncio.sleep(_POLL_SECONDS)
