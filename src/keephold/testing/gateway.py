"""A gateway in the same process: the production hub, which takes and hands out records instead of requests.

A hub lives on the event loop of the network that it serves; whoever asks from another loop is carried there.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Final, final

from keephold.base.ids import InstanceId, PublicKey
from keephold.gateway.hub import Hub
from keephold.gateway.service import ANSWER_SECONDS
from keephold.protocol.state import Registration, registration_path
from keephold.protocol.wire import (
    AnswerBatch,
    AnswerEnvelope,
    Attachment,
    AttachTicket,
    QueryDelivery,
    QueryEnvelope,
)
from keephold.testing.local import LocalNetwork

_LOOK_SECONDS: Final = 1.0


@final
class LocalGateway:
    """Implements `Gateway`. Made on the loop that the network's enclaves run on."""

    def __init__(self, net: LocalNetwork) -> None:
        self._net: Final = net
        self._loop: Final = asyncio.get_running_loop()
        self.hub: Final = Hub(net.network, self._live, net.clock)

    async def _live(self, identity: PublicKey) -> InstanceId | None:
        record = self._net.node.reader.record(registration_path(identity), Registration)
        return InstanceId(record.instance) if record is not None else None

    async def query(self, envelope: QueryEnvelope) -> AnswerEnvelope:
        """See `Gateway`."""
        asking = asyncio.run_coroutine_threadsafe(self.hub.ask(envelope, ANSWER_SECONDS), self._loop)
        return await asyncio.wrap_future(asking)

    async def attach(self, identity: bytes) -> AttachTicket:
        """See `Gateway`."""
        return self.hub.ticket(PublicKey(identity))

    async def queries(self, attachment: Attachment) -> AsyncGenerator[QueryDelivery, None]:
        """See `Gateway`."""
        line = await self.hub.attach(attachment)
        try:
            while True:
                delivery = await line.next(_LOOK_SECONDS)
                if delivery is not None:
                    yield delivery
        finally:
            self.hub.detach(line)

    async def answers(self, batch: AnswerBatch) -> None:
        """See `Gateway`."""
        self.hub.answer(batch)

    async def aclose(self) -> None:
        """Nothing to release."""
