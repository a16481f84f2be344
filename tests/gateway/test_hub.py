"""The hub delivers sealed queries to the instance they name, and answers to whoever asked."""

from __future__ import annotations

import asyncio

import pytest

from keephold.base.errors import BadSignature, DeadlineExceeded, InputError, NoLiveWorker
from keephold.crypto.labels import SIGN_ATTACHMENT
from keephold.crypto.signing import SigningKey
from keephold.gateway.hub import TICKET_SECONDS, Hub
from keephold.gateway.service import GatewayService
from keephold.protocol.codec import decode, encode
from keephold.protocol.wire import (
    AnswerBatch,
    AnswerDelivery,
    AnswerEnvelope,
    Attachment,
    AttachRequest,
    AttachTicket,
    QueryDelivery,
    QueryEnvelope,
)

NETWORK, INSTANCE, CONTRACT = b"n" * 32, b"i" * 32, b"c" * 32
WORKER = SigningKey.generate()


class ManualClock:
    seconds = 0.0

    def now_ns(self):
        return 0

    def monotonic(self):
        return self.seconds


def make_hub(live=INSTANCE):
    clock = ManualClock()

    async def live_instance(identity):
        return live if identity == WORKER.public else None

    return Hub(NETWORK, live_instance, clock), clock


def attachment(ticket, key=WORKER, instance=INSTANCE, network=NETWORK) -> Attachment:
    return Attachment(key.public, instance, ticket, key.sign(SIGN_ATTACHMENT, network, instance, ticket))


def run(scenario):
    return asyncio.run(asyncio.wait_for(scenario, 120))


def test_a_query_reaches_its_instance_and_the_answer_its_asker():
    async def scenario():
        hub, _ = make_hub()
        line = await hub.attach(attachment(hub.ticket(WORKER.public).ticket))
        asking = asyncio.create_task(hub.ask(QueryEnvelope(CONTRACT, INSTANCE, b"question"), 5))
        delivery = await line.next(5)
        assert delivery.envelope.sealed == b"question"
        hub.answer(AnswerBatch((AnswerDelivery(delivery.id, AnswerEnvelope(b"answer")),)))
        assert (await asking).sealed == b"answer"

    run(scenario())


def test_a_ticket_is_good_once_for_its_identity_and_for_a_minute():
    async def scenario():
        hub, clock = make_hub()
        spent = attachment(hub.ticket(WORKER.public).ticket)
        await hub.attach(spent)
        with pytest.raises(InputError):
            await hub.attach(spent)
        with pytest.raises(InputError):
            await hub.attach(attachment(bytes(32)))
        stranger = SigningKey.generate()
        with pytest.raises(InputError):
            await hub.attach(attachment(hub.ticket(WORKER.public).ticket, key=stranger))
        old = hub.ticket(WORKER.public).ticket
        clock.seconds += TICKET_SECONDS + 1
        with pytest.raises(InputError):
            await hub.attach(attachment(old))

    run(scenario())


def test_nobody_attaches_in_anothers_name_or_as_a_superseded_instance():
    async def scenario():
        hub, _ = make_hub()
        ticket = hub.ticket(WORKER.public).ticket
        forged = Attachment(WORKER.public, INSTANCE, ticket, bytes(64))
        with pytest.raises(BadSignature):
            await hub.attach(forged)
        with pytest.raises(NoLiveWorker):
            await hub.attach(attachment(hub.ticket(WORKER.public).ticket, instance=b"j" * 32))
        with pytest.raises(BadSignature):
            await hub.attach(attachment(hub.ticket(WORKER.public).ticket, network=b"m" * 32))

    run(scenario())


def test_a_newer_line_of_an_instance_ends_the_older():
    async def scenario():
        hub, _ = make_hub()
        older = await hub.attach(attachment(hub.ticket(WORKER.public).ticket))
        newer = await hub.attach(attachment(hub.ticket(WORKER.public).ticket))
        with pytest.raises(NoLiveWorker):
            await older.next(1)
        hub.detach(older)
        asking = asyncio.create_task(hub.ask(QueryEnvelope(CONTRACT, INSTANCE, b"q"), 0.5))
        assert (await newer.next(1)).envelope.sealed == b"q"
        with pytest.raises(DeadlineExceeded):
            await asking

    run(scenario())


def test_without_a_worker_the_error_says_so_at_once():
    async def scenario():
        hub, _ = make_hub()
        with pytest.raises(NoLiveWorker):
            await hub.ask(QueryEnvelope(CONTRACT, INSTANCE, b"q"), 5)
        line = await hub.attach(attachment(hub.ticket(WORKER.public).ticket))
        hub.detach(line)
        with pytest.raises(NoLiveWorker):
            await hub.ask(QueryEnvelope(CONTRACT, INSTANCE, b"q"), 5)

    run(scenario())


def test_late_and_invented_answers_are_dropped():
    async def scenario():
        hub, _ = make_hub()
        line = await hub.attach(attachment(hub.ticket(WORKER.public).ticket))
        with pytest.raises(DeadlineExceeded):
            await hub.ask(QueryEnvelope(CONTRACT, INSTANCE, b"q"), 0.01)
        late = await line.next(1)
        hub.answer(AnswerBatch((AnswerDelivery(late.id, AnswerEnvelope(b"late")),)))
        hub.answer(AnswerBatch((AnswerDelivery(bytes(16), AnswerEnvelope(b"invented")),)))

    run(scenario())


def test_a_worker_that_lags_is_refused_more_queries_instead_of_answering_late():
    async def scenario():
        hub, _ = make_hub()
        await hub.attach(attachment(hub.ticket(WORKER.public).ticket))
        asked = [asyncio.create_task(hub.ask(QueryEnvelope(CONTRACT, INSTANCE, b"q"), 1)) for _ in range(300)]
        outcomes = await asyncio.gather(*asked, return_exceptions=True)
        assert {type(outcome) for outcome in outcomes} == {NoLiveWorker, DeadlineExceeded}

    run(scenario())


def test_the_endpoints_speak_records():
    async def scenario():
        hub, _ = make_hub()
        service = GatewayService(hub)
        ticket = decode(await service.attach(encode(AttachRequest(WORKER.public))), AttachTicket).ticket
        stream = service.queries(encode(attachment(ticket)))
        assert await anext(stream) == b""
        asking = asyncio.create_task(service.query(encode(QueryEnvelope(CONTRACT, INSTANCE, b"q"))))
        delivery = decode(await anext(stream), QueryDelivery)
        await service.answers(encode(AnswerBatch((AnswerDelivery(delivery.id, AnswerEnvelope(b"a")),))))
        assert decode(await asking, AnswerEnvelope).sealed == b"a"
        await stream.aclose()
        with pytest.raises(NoLiveWorker):
            await service.query(encode(QueryEnvelope(CONTRACT, INSTANCE, b"q")))

    run(scenario())
