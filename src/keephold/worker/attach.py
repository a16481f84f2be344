"""Lines to gateways: dialled from here, held open, and dialled again. Over them come questions; answers go back.

The gateway is believed nothing: whatever it delivers opens under the contract's key or does not. It learns no reader,
method or outcome, only which instance is asked and how large the envelopes are.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from typing import Final, final

from keephold.base.errors import DeadlineExceeded, KeepholdError, NoLiveWorker, StaleAnswer
from keephold.base.ids import InstanceId
from keephold.crypto.labels import SIGN_ATTACHMENT
from keephold.enclave.session import Session
from keephold.follower.remote import Gateway
from keephold.protocol.wire import AnswerBatch, AnswerDelivery, AnswerEnvelope, Attachment, QueryDelivery, QueryEnvelope

MAX_AT_ONCE: Final = 64
"""Questions under way over one line; more wait in the connection."""

_PAUSE_SECONDS: Final = 0.5
_LOOK_SECONDS: Final = 0.5
_LOG: Final = logging.getLogger("keephold.worker")

Answerer = Callable[[QueryEnvelope, InstanceId], Awaitable[AnswerEnvelope]]


@final
class Line:
    """One gateway's line. `run` keeps it up for ever."""

    def __init__(self, session: Session, gateway: Gateway, answer: Answerer) -> None:
        self._session: Final = session
        self._gateway: Final = gateway
        self._answer: Final = answer
        self._ready: Final[list[AnswerDelivery]] = []
        self._wake: Final = asyncio.Event()
        self._room: Final = asyncio.Semaphore(MAX_AT_ONCE)

    async def run(self) -> None:
        """Attach, answer, and attach again: after a lost connection, and for each new instance."""
        while True:
            await self._session.registrar.wait_registered()
            instance = self._session.instance.id
            try:
                async with asyncio.TaskGroup() as group:
                    group.create_task(self._listen(group, instance))
                    group.create_task(self._send())
                    group.create_task(self._watch(instance))
            except* _RenewedError:
                _LOG.info("attaching as a new instance")
            except* KeepholdError as errors:
                _LOG.info("gateway line ended: %s", errors.exceptions[0])
            await asyncio.sleep(_PAUSE_SECONDS)

    async def _watch(self, instance: InstanceId) -> None:
        while self._session.instance.id == instance:  # noqa: ASYNC110 - nothing signals a renewal
            await asyncio.sleep(_LOOK_SECONDS)
        raise _RenewedError

    async def _listen(self, group: asyncio.TaskGroup, instance: InstanceId) -> None:
        session = self._session
        ticket = (await self._gateway.attach(session.identity)).ticket
        signature = session.keys.signing.sign(SIGN_ATTACHMENT, session.network, instance, ticket)
        attachment = Attachment(session.identity, instance, ticket, signature)
        async with aclosing(self._gateway.queries(attachment)) as deliveries:
            async for delivery in deliveries:
                await self._room.acquire()
                group.create_task(self._serve(delivery, instance))

    async def _serve(self, delivery: QueryDelivery, instance: InstanceId) -> None:
        try:
            envelope = await self._answer(delivery.envelope, instance)
        except (StaleAnswer, DeadlineExceeded):
            envelope = AnswerEnvelope(unavailable=DeadlineExceeded.code)
        except KeepholdError:
            # Not fresh, not ours, not a question: the gateway learns one word for all.
            envelope = AnswerEnvelope(unavailable=NoLiveWorker.code)
        finally:
            self._room.release()
        self._ready.append(AnswerDelivery(delivery.id, envelope))
        self._wake.set()

    async def _send(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            ready = tuple(self._ready)
            self._ready.clear()
            if ready:
                await self._gateway.answers(AnswerBatch(ready))


class _RenewedError(Exception):
    """The instance changed: another attachment is due."""
