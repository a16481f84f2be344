"""Each envelope opens under its own context and under no other."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keephold.base.errors import BadSignature, CryptoError, EncodingError, InputError, SealBroken
from keephold.crypto.aead import ContextSealer
from keephold.crypto.hpke import EncryptionKey
from keephold.crypto.labels import SEAL_ANSWER
from keephold.crypto.padding import pad
from keephold.crypto.secret import SecretBytes
from keephold.crypto.signing import SigningKey
from keephold.protocol.codec import encode
from keephold.protocol.custody import PartialBatch
from keephold.protocol.marks import Mark
from keephold.protocol.messages import Answer, CallPlain, EventPlain, QueryBody, ReleasePlain, Reply, SlotPlain
from keephold.sealing.call import CallContext, open_call, seal_call
from keephold.sealing.contract_keys import ContractKeys
from keephold.sealing.event import EventSealer, event_tag, open_event
from keephold.sealing.query import (
    open_answer,
    open_query,
    request_digest,
    seal_answer,
    seal_query,
    sign_query,
    verify_query,
)
from keephold.sealing.receipt import open_receipt, seal_receipt, unreadable_receipt
from keephold.sealing.release import ReleaseContext, open_partials, seal_partials
from keephold.sealing.slot import SlotContext

NETWORK, CONTRACT, CALL = b"n" * 32, b"c" * 32, b"t" * 32
PAD = (512, 4096)


def keys(seed: bytes = b"k" * 32, contract: bytes = CONTRACT, epoch: int = 1, network: bytes = NETWORK) -> ContractKeys:
    return ContractKeys(SecretBytes(seed), network, contract, epoch)


KEYS = keys()
REPLY_KEY = SecretBytes(b"r" * 32)
HERE = CallContext(NETWORK, CONTRACT, 1, b"a" * 32, 5)
PLAIN = CallPlain("transfer", b'["kh1x",5]', b"r" * 32)


def test_a_call_opens_for_its_contract():
    sealed = seal_call(KEYS.encryption.public, HERE, PLAIN, PAD)
    assert open_call(KEYS, HERE, sealed) == PLAIN


@pytest.mark.parametrize(
    "elsewhere",
    [
        HERE._replace(network=b"m" * 32),
        HERE._replace(contract=b"d" * 32),
        HERE._replace(epoch=2),
        HERE._replace(sender=b"b" * 32),
        HERE._replace(nonce=6),
    ],
)
def test_a_call_moved_to_another_context_does_not_open(elsewhere):
    sealed = seal_call(KEYS.encryption.public, HERE, PLAIN, PAD)
    with pytest.raises(SealBroken):
        open_call(KEYS, elsewhere, sealed)


@pytest.mark.parametrize("other", [keys(b"l" * 32), keys(contract=b"d" * 32), keys(epoch=2), keys(network=b"m" * 32)])
def test_a_call_does_not_open_under_other_keys(other):
    with pytest.raises(SealBroken):
        open_call(other, HERE, seal_call(KEYS.encryption.public, HERE, PLAIN, PAD))


def test_calls_of_one_bucket_have_one_size():
    short = seal_call(KEYS.encryption.public, HERE, CallPlain("a", b"[]", b"r" * 32), PAD)
    longer = seal_call(KEYS.encryption.public, HERE, CallPlain("transfer", b"[" + b"1" * 300 + b"]", b"r" * 32), PAD)
    assert len(short) == len(longer)


def test_a_call_beyond_the_limit_is_refused_before_it_is_sealed():
    with pytest.raises(InputError):
        seal_call(KEYS.encryption.public, HERE, CallPlain("m", bytes(200_000), b"r" * 32), PAD)


replies = st.builds(Reply, st.sampled_from(["ok", "rejected", "failed"]), st.binary(max_size=300))


@given(replies)
def test_a_receipt_opens_with_its_reply_key_and_is_deterministic(reply):
    receipt = seal_receipt(KEYS, REPLY_KEY, CALL, reply, PAD)
    assert receipt == seal_receipt(KEYS, REPLY_KEY, CALL, reply, PAD)
    assert open_receipt(REPLY_KEY, NETWORK, CONTRACT, 1, CALL, receipt) == reply


def test_a_receipt_answers_one_call_only():
    receipt = seal_receipt(KEYS, REPLY_KEY, CALL, Reply("ok"), PAD)
    for arguments in (
        (SecretBytes(b"s" * 32), NETWORK, CONTRACT, 1, CALL),
        (REPLY_KEY, b"m" * 32, CONTRACT, 1, CALL),
        (REPLY_KEY, NETWORK, b"d" * 32, 1, CALL),
        (REPLY_KEY, NETWORK, CONTRACT, 2, CALL),
        (REPLY_KEY, NETWORK, CONTRACT, 1, b"u" * 32),
    ):
        with pytest.raises(SealBroken):
            open_receipt(*arguments, receipt)


def test_success_rejection_and_unreadable_look_alike_outside():
    accepted = seal_receipt(KEYS, REPLY_KEY, CALL, Reply("ok", b"1"), PAD)
    rejected = seal_receipt(KEYS, REPLY_KEY, CALL, Reply("rejected", code="insufficient_balance"), PAD)
    unreadable = unreadable_receipt(KEYS, CALL, PAD)
    assert len(accepted) == len(rejected) == len(unreadable)
    assert unreadable == unreadable_receipt(KEYS, CALL, PAD)
    assert unreadable != unreadable_receipt(KEYS, b"u" * 32, PAD)
    with pytest.raises(SealBroken):
        open_receipt(REPLY_KEY, NETWORK, CONTRACT, 1, CALL, unreadable)


READER = SigningKey.generate()


def question(**changes) -> QueryBody:
    fields = {
        "network": NETWORK,
        "contract": CONTRACT,
        "epoch": 1,
        "instance": b"i" * 32,
        "reader": READER.public,
        "method": "balance",
        "arguments": b"[]",
        "answer_key": b"q" * 32,
        "min_height": 3,
    }
    return QueryBody(**{**fields, **changes})


def test_a_query_opens_and_names_its_reader():
    sealed = seal_query(KEYS.encryption.public, sign_query(READER, question()), PAD)
    assert verify_query(open_query(KEYS, sealed)) == question()


@pytest.mark.parametrize("field", ["network", "contract", "instance", "answer_key"])
def test_a_query_altered_after_signing_is_refused(field):
    signed = sign_query(READER, question())
    with pytest.raises(BadSignature):
        verify_query(type(signed)(question(**{field: b"x" * 32}), signed.signature))


def test_nobody_asks_in_anothers_name():
    signed = sign_query(SigningKey.generate(), question())
    with pytest.raises(BadSignature):
        verify_query(signed)


def test_an_answer_opens_for_its_question_only():
    request = request_digest(b"sealed question")
    answer = Answer(request, 3, 9, b"h" * 32, 1, Reply("ok", b"5"))
    key = SecretBytes(b"q" * 32)
    sealed = seal_answer(key, KEYS, answer, PAD)
    assert open_answer(key, NETWORK, CONTRACT, request, sealed) == answer
    with pytest.raises(SealBroken):
        open_answer(key, NETWORK, CONTRACT, request_digest(b"another"), sealed)
    with pytest.raises(SealBroken):
        open_answer(SecretBytes(b"p" * 32), NETWORK, CONTRACT, request, sealed)


def test_an_answer_that_names_another_question_than_it_is_bound_to():
    key, asked = SecretBytes(b"q" * 32), request_digest(b"asked")
    answer = Answer(request_digest(b"another"), 3, 9, b"h" * 32, 1, Reply("ok", b"5"))
    sealed = ContextSealer(key, SEAL_ANSWER).seal(pad(encode(answer), PAD), NETWORK, CONTRACT, asked)
    with pytest.raises(SealBroken, match="another question"):
        open_answer(key, NETWORK, CONTRACT, asked, sealed)


WHEN = SlotContext(4, b"p" * 32, b"h" * 32, b"b" * 32)


@given(st.text(max_size=60), st.binary(max_size=600))
def test_a_slot_opens_to_what_was_stored(key, value):
    tag, sealed = KEYS.slots.seal(key, value, WHEN.digest(), PAD)
    assert KEYS.slots.open(tag, sealed) == SlotPlain(key, value)
    assert (tag, sealed) == KEYS.slots.seal(key, value, WHEN.digest(), PAD)


@pytest.mark.parametrize(
    "otherwise",
    [
        WHEN._replace(version=5),
        WHEN._replace(pre_root=b"q" * 32),
        WHEN._replace(head=b"i" * 32),
        WHEN._replace(block=b"c" * 32),
    ],
)
def test_equal_values_do_not_show_across_versions_forks_and_epochs(otherwise):
    tag, sealed = KEYS.slots.seal("k", b"v", WHEN.digest(), PAD)
    again_tag, again = KEYS.slots.seal("k", b"v", otherwise.digest(), PAD)
    assert tag == again_tag
    assert sealed[-200:] != again[-200:]
    assert keys(epoch=2).slots.tag("k") != tag


def test_a_slot_moved_to_another_tag_or_epoch_does_not_open():
    tag, sealed = KEYS.slots.seal("k", b"v", WHEN.digest(), PAD)
    with pytest.raises(SealBroken):
        KEYS.slots.open(KEYS.slots.tag("l"), sealed)
    with pytest.raises(SealBroken):
        keys(epoch=2).slots.open(tag, sealed)
    with pytest.raises(SealBroken):
        keys(contract=b"d" * 32).slots.open(tag, sealed)


@settings(max_examples=50)
@given(st.data())
def test_an_altered_slot_never_opens(data):
    tag, sealed = KEYS.slots.seal("k", b"v", WHEN.digest(), PAD)
    raw = bytearray(sealed)
    raw[data.draw(st.integers(0, len(raw) - 1))] ^= data.draw(st.integers(1, 255))
    with pytest.raises((SealBroken, EncodingError)):
        KEYS.slots.open(tag, bytes(raw))


def test_events_open_for_their_recipient_only():
    alice, bob = KEYS.event_key(b"a" * 32), KEYS.event_key(b"b" * 32)
    plain = EventPlain("Moved", b"{}", 7)
    event = EventSealer(alice).seal(plain, 0, PAD)
    assert event.tag == event_tag(alice, 7, 0)
    assert open_event(alice, event) == plain
    with pytest.raises(SealBroken):
        open_event(bob, event)
    assert EventSealer(bob).seal(plain, 0, PAD).tag != event.tag


def test_entropy_is_per_call_and_the_same_on_replay():
    assert KEYS.entropy(CALL) == keys().entropy(CALL)
    assert KEYS.entropy(CALL) != KEYS.entropy(b"u" * 32)
    assert KEYS.entropy(CALL) != keys(epoch=2).entropy(CALL)


def test_partials_open_for_one_instance_and_request_only():
    instance_key = EncryptionKey.generate()
    plain = ReleasePlain(
        PartialBatch(1, 1, (b"z" * 32,), b"p" * 64, (b"m" * 32,)), 9, b"h" * 32, (Mark(CONTRACT, 1, 0, bytes(32)),)
    )
    context = ReleaseContext(NETWORK, b"g" * 32, b"w" * 32, b"i" * 32, b"q" * 32)
    sealed = seal_partials(instance_key.public, context, plain)
    assert open_partials(instance_key, context, sealed) == plain
    for field in context._fields:
        with pytest.raises(SealBroken):
            open_partials(instance_key, context._replace(**{field: b"x" * 32}), sealed)
    with pytest.raises(CryptoError):
        open_partials(EncryptionKey.generate(), context, sealed)
