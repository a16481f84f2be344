"""Questions: opened, judged and answered from proven state. They never touch the ledger.

A question is answered only if, in order:

1. This enclave is fresh: it saw its own nonce under a verified header within W. Else it is mute (the caller's step).
2. It opens under the contract's key, and its reader signed it.
3. It is for this network, contract, epoch and *this instance*: a recorded question cannot be asked of another worker,
   nor of this one after its next attestation.
4. The state is proven at the height that the reader asks for, or later.
5. Where another key asks in the reader's name, its permit holds (`permits`), by a proof as new as this enclave is.

From step 4 on whoever asked is told everything under the one-time key, in the contract's buckets: rejections, and what
is wrong with a permit.

Two views are every contract's: `$event_key` tells the key of the events sealed to the reader (scope `$events`);
`$released` gives him a signature that the contract asked for and lets him have (`releasing`; scope `$released`).
"""

from __future__ import annotations

from typing import Final, NamedTuple

from keephold.base.errors import EncodingError, PermitRefused, SealBroken
from keephold.base.ids import InstanceId, PublicKey
from keephold.base.limits import MAX_RECEIPT
from keephold.crypto.secret import SecretBytes
from keephold.protocol.messages import Answer, PermittedQuery, QueryBody, Reply
from keephold.protocol.permits import EVENTS_SCOPE, RELEASED_SCOPE, Permit
from keephold.protocol.wire import AnswerEnvelope, QueryEnvelope
from keephold.runtime.outcome import Outcome, QueryRequest
from keephold.sealing.query import open_query, request_digest, seal_answer, verify_query
from keephold.worker import permits
from keephold.worker.execution import account_text
from keephold.worker.permits import Standing
from keephold.worker.readable import Readable
from keephold.worker.releasing import RELEASED, released
from keephold.worker.results import reply_of

EVENT_KEY: Final = "$event_key"
"""Built-in view: the reader's event key, as 64 hexadecimal digits."""

_BUILT_IN: Final = {EVENT_KEY: EVENTS_SCOPE, RELEASED: RELEASED_SCOPE}
"""Scopes of the views that every contract has."""

_FAILED: Final = Outcome(status="failed", detail="the answer exceeds the limits")


class Question(NamedTuple):
    """A question that passed steps 2 and 3."""

    body: QueryBody
    permit: Permit | None
    """Under which another key asks in the reader's name, signed by him; None where he asks himself."""
    request: bytes
    """Names the sealed question; the answer repeats it."""


def open_question(readable: Readable, instance: InstanceId, envelope: QueryEnvelope) -> Question:
    """Return the question in an envelope.

    Raises:
        SealBroken, EncodingError: not for this contract's key, or not for us.
        BadKey, BadSignature: the reader it names did not ask, nor let this key ask.
    """
    # (2) It opens, and its reader signed it, or the bearer of his permit.
    query = open_query(readable.keys, envelope.sealed)
    body = verify_query(query)
    # (3) For us.
    keys = readable.keys
    if (body.network, body.contract, body.epoch) != (keys.network, keys.contract, keys.epoch):
        raise SealBroken("a question for another contract or epoch")
    if body.instance != instance or envelope.instance != instance:
        raise SealBroken("a question for another instance")
    permit = query.permit.permit if isinstance(query, PermittedQuery) else None
    return Question(body, permit, request_digest(envelope.sealed))


def is_recent(readable: Readable, question: Question) -> bool:
    """Say whether step 4 holds."""
    return state_height(readable) >= question.body.min_height


def state_height(readable: Readable) -> int:
    """Return the height of the block after which the state stood."""
    return max(1, readable.proven.height - 1)


def built_in(readable: Readable, question: Question) -> Reply | None:
    """Return the reply to a view that every contract has; None for the contract's own.

    Raises:
        EncodingError, SealBroken: see `releasing.released`.
    """
    if question.body.method == RELEASED:
        return released(readable, question.body.reader, question.body.arguments)
    if question.body.method != EVENT_KEY:
        return None
    key = readable.keys.event_key(PublicKey(question.body.reader))
    return Reply("ok", f'"{key.reveal().hex()}"'.encode())


def check_permit(readable: Readable, question: Question, permit: Permit, standing: Standing) -> None:
    """Hold the permit that a question comes under against it (5).

    Raises:
        PermitRefused
    """
    scope = permits.scope_of(question.body.method, {**readable.code.scopes, **_BUILT_IN})
    permits.check(permit, readable.keys.network, readable.keys.contract, scope, standing)


def refusal(error: PermitRefused) -> Reply:
    """Return what the bearer is told of a permit that does not hold."""
    return Reply("refused", code=error.reason, detail=error.detail)


def request_of(readable: Readable, question: Question) -> QueryRequest:
    """Return what the sandbox is asked.

    Raises:
        EncodingError: the arguments are no text.
    """
    try:
        arguments = question.body.arguments.decode()
    except UnicodeDecodeError as error:
        raise EncodingError("arguments that are no text") from error
    return QueryRequest(
        method=question.body.method,
        args_json=arguments,
        reader=account_text(question.body.reader),
        contract=readable.code.contract_text,
        height=state_height(readable),
        time_ns=readable.proven.time_ns,
    )


def reply_to(readable: Readable, outcome: Outcome) -> Reply:
    """Return what the reader is told."""
    too_large = len(outcome.value_json) > MAX_RECEIPT
    return reply_of(_FAILED if too_large else outcome, readable.code)


def seal(readable: Readable, question: Question, reply: Reply) -> AnswerEnvelope:
    """Return the sealed answer, bound to the question and to the state it was read from."""
    answer = Answer(
        request=question.request,
        version=readable.proven.record.version,
        height=state_height(readable),
        header_hash=readable.proven.header_hash,
        epoch=readable.keys.epoch,
        reply=reply,
    )
    key = SecretBytes(question.body.answer_key)
    return AnswerEnvelope(seal_answer(key, readable.keys, answer, readable.code.buckets))
