"""A permit holds for its network, contracts, scopes and time, until its issuer revokes it; else it is refused."""

from __future__ import annotations

import pytest
from msgspec.structs import replace
from worker_cast import CONTRACT, INSTANCE, KEYS, NETWORK, PAD, Caller
from worker_scene import Worker, settle, started

from keephold.base.errors import BadKey, BadSignature, EncodingError, PermitRefused, SealBroken
from keephold.crypto.bearer import BearerKey
from keephold.crypto.secret import SecretBytes
from keephold.protocol.codec import decode, encode
from keephold.protocol.messages import PermittedQuery, QueryBody
from keephold.protocol.permits import EVENTS_SCOPE, LONGEST_NS, Permit
from keephold.protocol.wire import QueryEnvelope
from keephold.sealing.query import issue_permit, seal_query, sign_permitted, sign_query
from keephold.worker import queries
from keephold.worker.permits import Standing

ALICE, MALLORY = Caller(b"a"), Caller(b"m")
AUDITOR = BearerKey(SecretBytes(b"u" * 32))
THIEF = BearerKey(SecretBytes(b"t" * 32))
NOW = 1_000_000
PERMIT = Permit(
    network=NETWORK,
    issuer=ALICE.key.public,
    contracts=(CONTRACT,),
    scopes=("balance",),
    bearer=AUDITOR.public,
    origin="",
    not_before_ns=NOW - 10,
    expires_ns=NOW + 10,
    generation=3,
    salt=b"s" * 16,
)
BODY = QueryBody(NETWORK, CONTRACT, 1, INSTANCE, ALICE.key.public, "balance", b"[]", b"a" * 32, 0)
STANDING = Standing(generation=3, is_revoked=False, time_ns=NOW)


@pytest.fixture(scope="module")
def worker() -> Worker:
    made = started()
    settle(made, Caller(b"o").call("inc"))
    return made


def opened(worker: Worker, query: PermittedQuery, instance: bytes = INSTANCE) -> queries.Question:
    sealed = seal_query(KEYS.encryption.public, query, PAD)
    return queries.open_question(worker.core.readable(), INSTANCE, QueryEnvelope(CONTRACT, instance, sealed))


def judged(worker: Worker, permit: Permit = PERMIT, body: QueryBody = BODY, standing: Standing = STANDING) -> None:
    question = opened(worker, sign_permitted(AUDITOR, issue_permit(ALICE.key, permit), body))
    assert question.permit == permit
    queries.check_permit(worker.core.readable(), question, question.permit, standing)


def test_the_bearer_asks_in_the_issuers_name(worker):
    judged(worker)
    question = opened(worker, sign_permitted(AUDITOR, issue_permit(ALICE.key, PERMIT), BODY))
    assert queries.request_of(worker.core.readable(), question).reader.startswith("kh1")
    assert question.body.reader == ALICE.key.public
    assert opened(worker, sign_query(ALICE.key, BODY)).permit is None


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"network": b"x" * 32}, "permit_network"),
        ({"contracts": (b"x" * 32,)}, "permit_contract"),
        ({"expires_ns": NOW - 9 + LONGEST_NS}, "permit_lifetime"),
        ({"not_before_ns": NOW + 1}, "permit_not_yet"),
        ({"expires_ns": NOW}, "permit_expired"),
        ({"generation": 2}, "permit_generation"),
        ({"generation": 4}, "permit_generation"),
        ({"scopes": ("history",)}, "permit_scope"),
        ({"scopes": ("Balance", "balance ", "*", "$events", "$none")}, "permit_scope"),
    ],
    ids=str,
)
def test_a_permit_for_something_else_is_refused(worker, changed, reason):
    with pytest.raises(PermitRefused) as refused:
        judged(worker, replace(PERMIT, **changed))
    assert refused.value.reason == reason
    reply = queries.refusal(refused.value)
    assert (reply.outcome, reply.code) == ("refused", reason)


def test_a_permit_ends_to_the_nanosecond(worker):
    judged(worker, standing=Standing(3, is_revoked=False, time_ns=NOW - 10))
    judged(worker, standing=Standing(3, is_revoked=False, time_ns=NOW + 9))
    judged(worker, replace(PERMIT, expires_ns=NOW - 10 + LONGEST_NS))
    with pytest.raises(PermitRefused, match="permit_not_yet"):
        judged(worker, standing=Standing(3, is_revoked=False, time_ns=NOW - 11))
    with pytest.raises(PermitRefused, match="permit_expired"):
        judged(worker, standing=Standing(3, is_revoked=False, time_ns=NOW + 10))


def test_a_revoked_permit_is_refused(worker):
    with pytest.raises(PermitRefused, match="permit_revoked"):
        judged(worker, standing=Standing(3, is_revoked=True, time_ns=NOW))


def test_every_contract_and_public_views_and_events(worker):
    judged(worker, replace(PERMIT, contracts="*"))
    judged(worker, replace(PERMIT, contracts=(b"a" * 32, CONTRACT)))
    judged(worker, body=replace(BODY, method="title"))
    judged(worker, replace(PERMIT, scopes=(EVENTS_SCOPE,)), replace(BODY, method=queries.EVENT_KEY))
    with pytest.raises(PermitRefused, match="permit_scope"):
        judged(worker, body=replace(BODY, method=queries.EVENT_KEY))
    for nothing in ("nothing", "", "$none"):
        with pytest.raises(PermitRefused, match="permit_scope"):
            judged(worker, body=replace(BODY, method=nothing))


def test_a_stolen_permit_is_worth_nothing_without_its_key(worker):
    permit = issue_permit(ALICE.key, PERMIT)
    with pytest.raises(BadSignature):
        opened(worker, sign_permitted(THIEF, permit, BODY))
    # With the thief's key put in the place of the bearer's, the issuer's signature is not for it.
    with pytest.raises(BadSignature):
        opened(worker, sign_permitted(THIEF, replace(permit, permit=replace(PERMIT, bearer=THIEF.public)), BODY))


def test_a_permit_that_its_issuer_did_not_sign_is_refused(worker):
    with pytest.raises(BadSignature):
        opened(worker, sign_permitted(AUDITOR, issue_permit(MALLORY.key, PERMIT), BODY))
    # Mallory's own permit opens nothing of Alice's.
    own = issue_permit(MALLORY.key, replace(PERMIT, issuer=MALLORY.key.public))
    with pytest.raises(BadSignature, match="another account"):
        opened(worker, sign_permitted(AUDITOR, own, BODY))


@pytest.mark.parametrize(
    "changed",
    [
        {"contracts": "*"},
        {"scopes": ("all", "balance")},
        {"expires_ns": NOW + 11},
        {"generation": 4},
        {"salt": b"z" * 16},
    ],
    ids=str,
)
def test_a_permit_that_was_widened_is_not_the_one_signed(worker, changed):
    signed = issue_permit(ALICE.key, PERMIT)
    with pytest.raises(BadSignature):
        opened(worker, sign_permitted(AUDITOR, replace(signed, permit=replace(PERMIT, **changed)), BODY))


def test_a_question_under_one_permit_is_not_one_under_another(worker):
    asked = sign_permitted(AUDITOR, issue_permit(ALICE.key, PERMIT), BODY)
    wider = issue_permit(ALICE.key, replace(PERMIT, contracts="*"))
    with pytest.raises(BadSignature):
        opened(worker, replace(asked, permit=wider))
    with pytest.raises(BadSignature):
        opened(worker, replace(asked, body=replace(BODY, method="title")))


@pytest.mark.parametrize(
    "elsewhere", [{"network": b"m" * 32}, {"contract": b"d" * 32}, {"epoch": 2}, {"instance": b"j" * 32}], ids=str
)
def test_a_question_under_a_permit_is_for_one_epoch_and_instance(worker, elsewhere):
    asked = sign_permitted(AUDITOR, issue_permit(ALICE.key, PERMIT), replace(BODY, **elsewhere))
    with pytest.raises(SealBroken):
        opened(worker, asked)


def test_a_bearer_of_small_order_is_no_bearer(worker):
    weak = replace(PERMIT, bearer=bytes([1]) + bytes(31))
    asked = PermittedQuery(BODY, issue_permit(ALICE.key, weak), bytes([1]) + bytes(63))
    with pytest.raises(BadKey):
        opened(worker, asked)


@pytest.mark.parametrize(
    "changed",
    [
        {"contracts": ()},
        {"contracts": "all"},
        {"scopes": ()},
        {"scopes": ("a",) * 65},
        {"salt": b""},
        {"origin": "x" * 257},
    ],
    ids=lambda changed: next(iter(changed)),
)
def test_a_permit_that_names_nothing_or_too_much_is_no_permit(changed):
    with pytest.raises(EncodingError):
        decode(encode(replace(PERMIT, **changed)), Permit)
