"""A node in the same process: the same bytes, records and processors, without a network between.

`LocalRemote` implements `Remote` over a node's `MachineApi`. What a hostile node could do to answers is done to their
*bytes*, by `tamper`: a reader under test sees what the production encoder made, altered, and nothing that a mock made.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from pathlib import Path
from typing import Final, final

from keephold.api.machine import MachineApi
from keephold.base.clock import Clock, SystemClock
from keephold.base.errors import InputError, KeepholdError, NodeUnreachable
from keephold.chain.chain_id import chain_id
from keephold.crypto.ed25519 import ValidatorKey
from keephold.follower.follow import ended
from keephold.follower.remote import RecordRemote, decoded
from keephold.ledger.application import LedgerApplication
from keephold.ledger.engines.embedded import EmbeddedEngine
from keephold.ledger.reader import LedgerReader
from keephold.protocol.codec import encode
from keephold.protocol.genesis import Genesis
from keephold.protocol.wire import (
    Frame,
    StreamRequest,
)

Tamper = Callable[[str, bytes], bytes]
"""Takes the endpoint's name and an answer's bytes; returns what the reader gets. A frame made empty is not sent."""

Intercept = Callable[[str, bytes], bytes | None]
"""Takes the endpoint's name and a request's bytes; returns an answer that the node never gave, or None to ask it."""


_POLL_SECONDS: Final = 0.05
"""How soon a reader notices that its node is down: there is no connection that could break."""


def honest(_: str, answer: bytes) -> bytes:
    """Change nothing."""
    return answer


def passed_on(_: str, __: bytes) -> None:
    """Ask the node."""


@final
class LocalNode:
    """A whole node: ledger, embedded engine, machine endpoints. `start` it, or drive its engine by `engine.step`."""

    def __init__(
        self, genesis: Genesis, key: ValidatorKey, home: Path, clock: Clock | None = None, heartbeat: float = 0.2
    ) -> None:
        """Open the ledger in `home`, whatever stands there already."""
        home.mkdir(parents=True, exist_ok=True)
        self.application: Final = LedgerApplication(genesis, home)
        self.engine: Final = EmbeddedEngine(
            self.application,
            home,
            key,
            chain_id=chain_id(self.application.network),
            genesis_ns=genesis.time_ns,
            validators=self.application.validators(),
            clock=clock or SystemClock(),
            heartbeat=heartbeat,
        )
        self.reader: Final = LedgerReader(self.application, self.engine)
        self.api: Final = MachineApi(self.reader, self.engine)

    def start(self) -> None:
        """Make blocks."""
        self.engine.start()

    def stop(self) -> None:
        """End as a node does that is asked to."""
        self.engine.stop()
        self.application.close()


@final
class LocalRemote(RecordRemote):
    """`Remote` over an object. `node` may be replaced, or be None for a node that is down."""

    def __init__(self, node: LocalNode | None, tamper: Tamper = honest) -> None:
        self.node = node
        self.tamper = tamper
        self.intercept: Intercept = passed_on

    async def stream(self, request: StreamRequest) -> AsyncGenerator[Frame, None]:
        """See `Remote`."""
        node = self._up()
        async with aclosing(node.api.streams["stream"](encode(request))) as records:
            while True:
                record = asyncio.ensure_future(anext(records))
                try:
                    while not record.done():
                        await asyncio.wait({record}, timeout=_POLL_SECONDS)
                        if self.node is not node:
                            raise NodeUnreachable("the node is down")
                finally:
                    await ended(record)
                heard = record.result() and self.tamper("stream", record.result())
                if heard:
                    yield decoded(heard, Frame)

    async def aclose(self) -> None:
        """Nothing to release."""

    def __str__(self) -> str:
        return "the node of this process"

    async def _post(self, name: str, body: bytes) -> bytes:
        try:
            answer = self.intercept(name, body) or await self._up().api.endpoints[name](body)
        except (InputError, NodeUnreachable):
            raise
        except KeepholdError as error:
            raise NodeUnreachable(f"{error.code}: {error}") from error
        return self.tamper(name, answer)

    def _up(self) -> LocalNode:
        if self.node is None:
            raise NodeUnreachable("the node is down")
        return self.node
