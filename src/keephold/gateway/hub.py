"""Which worker instance answers over which line, and which query waits for which answer.

A worker never listens, so it dials the gateway and holds a line open; queries go down that line and answers come back
as requests of their own. The hub is trusted with nothing: a query is sealed to a contract and names the instance it is
for, an answer is sealed to its reader and names the query. What the hub could do is lose messages, so what it checks
serves availability alone:

1. Whoever attaches owns the identity: a signature over network, instance and a ticket that is used once.
2. The instance is the identity's live one, by the ledger that the node verified. Otherwise anybody with a key could
   take over another worker's queries and let them rot.
3. An answer is accepted under the query's random id only, which only that worker's line has seen.
"""

from __future__ import annotations

import asyncio
import secrets
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Final, final

from keephold.base.clock import Clock
from keephold.base.errors import DeadlineExceeded, InputError, NoLiveWorker
from keephold.base.ids import InstanceId, NetworkId, PublicKey
from keephold.crypto import signing
from keephold.crypto.labels import SIGN_ATTACHMENT
from keephold.protocol.wire import (
    AnswerBatch,
    AnswerEnvelope,
    Attachment,
    AttachTicket,
    QueryDelivery,
    QueryEnvelope,
)

TICKET_SECONDS: Final = 60.0
_MAX_TICKETS: Final = 1024
_LINE_DEPTH: Final = 256
"""Queries waiting for one worker; more are refused at once instead of answered late."""

LiveInstance = Callable[[PublicKey], Awaitable[InstanceId | None]]
"""Says which instance of an identity is registered and live, from state that the node verified."""


@final
class Line:
    """One attached worker's queries, in order."""

    def __init__(self, instance: InstanceId) -> None:
        self.instance: Final = instance
        self._queue: Final[asyncio.Queue[QueryDelivery | None]] = asyncio.Queue(_LINE_DEPTH)
        self._closed = False

    def put(self, delivery: QueryDelivery) -> None:
        """Queue a query.

        Raises:
            NoLiveWorker: the worker lags behind, or has gone.
        """
        if self._closed or self._queue.full():
            raise NoLiveWorker("the worker does not keep up with its queries")
        self._queue.put_nowait(delivery)

    async def next(self, seconds: float) -> QueryDelivery | None:
        """Return the next query, or nothing after `seconds` of silence.

        Raises:
            NoLiveWorker: the line was closed.
        """
        try:
            delivery = await asyncio.wait_for(self._queue.get(), seconds)
        except TimeoutError:
            return None
        if delivery is None:
            raise NoLiveWorker("line closed")
        return delivery

    def close(self) -> None:
        """End the line: a newer one took its place, or the worker hung up."""
        self._closed = True
        while not self._queue.empty():
            self._queue.get_nowait()
        self._queue.put_nowait(None)


@final
class Hub:
    """The lines of all attached instances, and the queries under way."""

    def __init__(self, network: NetworkId, live_instance: LiveInstance, clock: Clock) -> None:
        self._network: Final = network
        self._live_instance: Final = live_instance
        self._clock: Final = clock
        self._tickets: Final[OrderedDict[bytes, tuple[PublicKey, float]]] = OrderedDict()
        self._lines: Final[dict[InstanceId, Line]] = {}
        self._waiting: Final[dict[bytes, asyncio.Future[AnswerEnvelope]]] = {}

    def ticket(self, identity: PublicKey) -> AttachTicket:
        """Return a challenge for `identity`, good once and for `TICKET_SECONDS`."""
        while len(self._tickets) >= _MAX_TICKETS:
            self._tickets.popitem(last=False)
        ticket = secrets.token_bytes(32)
        self._tickets[ticket] = (identity, self._clock.monotonic())
        return AttachTicket(ticket)

    async def attach(self, attachment: Attachment) -> Line:
        """Return the line of a worker instance; an older line of that instance ends.

        Raises:
            InputError: no such ticket, too old, or another identity's.
            BadKey, BadSignature: the identity did not sign this attachment.
            NoLiveWorker: the ledger knows another live instance of this identity, or none.
        """
        # (1) The ticket is ours, fresh, for this identity, and spent now.
        identity, issued = self._tickets.pop(attachment.ticket, (PublicKey(b""), 0.0))
        if identity != attachment.identity or self._clock.monotonic() - issued > TICKET_SECONDS:
            raise InputError("unknown or expired ticket; ask for another")
        # (2) The identity signed exactly this.
        signing.verify(
            attachment.identity,
            attachment.signature,
            SIGN_ATTACHMENT,
            self._network,
            attachment.instance,
            attachment.ticket,
        )
        # (3) The instance is the live one.
        instance = InstanceId(attachment.instance)
        if await self._live_instance(identity) != instance:
            raise NoLiveWorker("not the live instance of this identity")
        previous = self._lines.get(instance)
        if previous is not None:
            previous.close()
        line = self._lines[instance] = Line(instance)
        return line

    def detach(self, line: Line) -> None:
        """Forget a line whose worker hung up."""
        if self._lines.get(line.instance) is line:
            del self._lines[line.instance]
        line.close()

    async def ask(self, envelope: QueryEnvelope, seconds: float) -> AnswerEnvelope:
        """Deliver a sealed query and return its sealed answer.

        Raises:
            NoLiveWorker: the instance asked for holds no line here.
            DeadlineExceeded: it did not answer within `seconds`.
        """
        line = self._lines.get(InstanceId(envelope.instance))
        if line is None:
            raise NoLiveWorker("the worker instance asked for is not attached to this gateway")
        identifier = secrets.token_bytes(16)
        future: asyncio.Future[AnswerEnvelope] = asyncio.get_running_loop().create_future()
        self._waiting[identifier] = future
        try:
            line.put(QueryDelivery(identifier, envelope))
            return await asyncio.wait_for(future, seconds)
        except TimeoutError:
            raise DeadlineExceeded(f"no answer within {seconds:g} s") from None
        finally:
            del self._waiting[identifier]

    def answer(self, batch: AnswerBatch) -> None:
        """Hand answers to whoever waits for them; answers nobody waits for any more are dropped."""
        for delivery in batch.answers:
            future = self._waiting.get(delivery.id)
            if future is not None and not future.done():
                future.set_result(delivery.envelope)
