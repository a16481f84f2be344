"""A question is answered for who signed it, for this contract and instance, from state as new as asked."""

from __future__ import annotations

import pytest
from msgspec.structs import replace
from worker_cast import CONTRACT, INSTANCE, KEYS, NETWORK, PAD, Caller
from worker_scene import Worker, settle, started

from keephold.base.errors import BadSignature, EncodingError, SealBroken
from keephold.crypto import hpke
from keephold.crypto.hashing import number
from keephold.crypto.labels import SEAL_QUERY
from keephold.crypto.padding import pad
from keephold.crypto.secret import SecretBytes
from keephold.protocol.codec import encode
from keephold.protocol.messages import Asked, QueryBody, SignedQuery
from keephold.protocol.wire import QueryEnvelope
from keephold.runtime.outcome import Outcome
from keephold.sealing.query import open_answer, request_digest, sign_query
from keephold.worker import queries

BOB = Caller(b"b")
BODY = QueryBody(NETWORK, CONTRACT, 1, INSTANCE, BOB.key.public, "balance", b"[]", b"a" * 32, 0)


@pytest.fixture
def worker() -> Worker:
    made = started()
    settle(made, Caller(b"a").call("inc"))
    return made


def envelope(signed: SignedQuery) -> QueryEnvelope:
    """Seal as anybody can: to this contract, whatever the signed body says."""
    plain = pad(encode(Asked(signed)), PAD)
    sealed = hpke.seal(KEYS.encryption.public, plain, SEAL_QUERY, NETWORK, CONTRACT, number(1))
    return QueryEnvelope(CONTRACT, INSTANCE, sealed)


def opened(worker: Worker, body: QueryBody) -> queries.Question:
    return queries.open_question(worker.core.readable(), INSTANCE, envelope(sign_query(BOB.key, body)))


@pytest.mark.parametrize(
    "elsewhere", [{"network": b"m" * 32}, {"contract": b"d" * 32}, {"epoch": 2}, {"instance": b"j" * 32}]
)
def test_a_question_signed_for_elsewhere_is_not_answered_here(worker, elsewhere):
    assert opened(worker, BODY).body == BODY
    with pytest.raises(SealBroken):
        opened(worker, replace(BODY, **elsewhere))


def test_a_question_in_somebody_elses_name_is_refused(worker):
    signed = sign_query(BOB.key, BODY)
    forged = SignedQuery(replace(BODY, reader=Caller(b"m").key.public), signed.signature)
    with pytest.raises(BadSignature):
        queries.open_question(worker.core.readable(), INSTANCE, envelope(forged))


def test_state_older_than_asked_for_is_not_recent(worker):
    readable = worker.core.readable()
    height = queries.state_height(readable)
    assert queries.is_recent(readable, opened(worker, replace(BODY, min_height=height)))
    assert not queries.is_recent(readable, opened(worker, replace(BODY, min_height=height + 1)))


def test_arguments_that_are_no_text_are_refused(worker):
    with pytest.raises(EncodingError):
        queries.request_of(worker.core.readable(), opened(worker, replace(BODY, arguments=b"\xff")))


def test_an_answer_names_question_and_state_and_opens_for_its_reader_only(worker):
    readable = worker.core.readable()
    sent = envelope(sign_query(BOB.key, BODY))
    question = queries.open_question(readable, INSTANCE, sent)
    request = queries.request_of(readable, question)
    assert request.height == readable.proven.height - 1
    told = queries.seal(readable, question, queries.reply_to(readable, Outcome(status="ok", value_json="7")))
    digest = request_digest(sent.sealed)
    answer = open_answer(SecretBytes(b"a" * 32), NETWORK, CONTRACT, digest, told.sealed)
    assert (answer.request, answer.version, answer.reply.value) == (digest, 1, b"7")
    assert answer.header_hash == readable.proven.header_hash
    with pytest.raises(SealBroken):
        open_answer(SecretBytes(b"b" * 32), NETWORK, CONTRACT, digest, told.sealed)


def test_rejections_and_large_answers_take_the_same_sizes(worker):
    readable, question = worker.core.readable(), opened(worker, BODY)
    sizes = {
        len(queries.seal(readable, question, queries.reply_to(readable, outcome)).sealed)
        for outcome in (
            Outcome(status="ok", value_json="1"),
            Outcome(status="rejected", code="no", detail="not today"),
            Outcome(status="failed", detail="secret"),
            Outcome(status="ok", value_json='"' + "x" * 70_000 + '"'),
        )
    }
    assert len(sizes) == 1


def test_the_event_key_is_the_readers_own(worker):
    readable = worker.core.readable()
    reply = queries.built_in(readable, opened(worker, replace(BODY, method=queries.EVENT_KEY)))
    assert reply.value.decode().strip('"') == KEYS.event_key(BOB.key.public).reveal().hex()
    assert queries.built_in(readable, opened(worker, BODY)) is None


def test_an_envelope_for_another_instance_is_not_opened_here(worker):
    sent = envelope(sign_query(BOB.key, BODY))
    with pytest.raises(SealBroken, match="another instance"):
        queries.open_question(worker.core.readable(), INSTANCE, replace(sent, instance=b"j" * 32))
