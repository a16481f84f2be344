"""The gateway's endpoints: bytes in, bytes out. Transport is `programs`' business."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Final, final

from keephold.base.errors import NoLiveWorker
from keephold.base.ids import PublicKey
from keephold.base.limits import MAX_TRANSACTION
from keephold.gateway.hub import Hub
from keephold.protocol.codec import decode, encode
from keephold.protocol.wire import AnswerBatch, Attachment, AttachRequest, QueryEnvelope

ANSWER_SECONDS: Final = 10.0
KEEPALIVE_SECONDS: Final = 10.0
"""An idle line says so this often, by an empty record: a worker that hears nothing for longer dials again."""


@final
class GatewayService:
    """Endpoints `query`, `attach`, `answers`, and the stream `queries`."""

    def __init__(self, hub: Hub) -> None:
        self._hub: Final = hub

    async def query(self, body: bytes) -> bytes:
        """`QueryEnvelope` to `AnswerEnvelope`."""
        envelope = decode(body, QueryEnvelope, limit=MAX_TRANSACTION)
        return encode(await self._hub.ask(envelope, ANSWER_SECONDS))

    async def attach(self, body: bytes) -> bytes:
        """`AttachRequest` to `AttachTicket`."""
        request = decode(body, AttachRequest, limit=MAX_TRANSACTION)
        return encode(self._hub.ticket(PublicKey(request.identity)))

    async def answers(self, body: bytes) -> bytes:
        """`AnswerBatch` to nothing."""
        self._hub.answer(decode(body, AnswerBatch))
        return b""

    async def queries(self, body: bytes) -> AsyncGenerator[bytes, None]:
        """`Attachment` to a stream of `QueryDelivery`, with empty records as signs of life."""
        line = await self._hub.attach(decode(body, Attachment, limit=MAX_TRANSACTION))
        try:
            yield b""
            while True:
                try:
                    delivery = await line.next(KEEPALIVE_SECONDS)
                except NoLiveWorker:
                    return
                yield encode(delivery) if delivery is not None else b""
        finally:
            self._hub.detach(line)
