"""G7. A recorded ciphertext, sent again, sent by another, sent elsewhere: it reaches no contract a second time."""

from __future__ import annotations

import pytest
from msgspec.structs import replace
from worker_cast import CODE, CONTRACT, KEYS, NETWORK, PAD, REPLY_KEY, Caller, keys
from worker_scene import Sandbox, settle, started

from keephold.base.errors import BadKey, BadSignature, EncodingError, LedgerRefused, SealBroken
from keephold.base.ids import Height
from keephold.crypto.secret import SecretBytes
from keephold.protocol.codec import decode, encode
from keephold.protocol.messages import CallPlain
from keephold.protocol.transactions import Call, SignedTransaction, sign, transaction_id
from keephold.sealing.call import CallContext, seal_call
from keephold.sealing.receipt import is_repeated, open_receipt
from keephold.worker.execution import open_entry
from keephold.worker.inbox import Entry, Ordering

ALICE, MALLORY = Caller(b"a"), Caller(b"m")
HERE = Ordering(Height(9), b"h" * 32, 1)


def entry(raw: bytes) -> Entry:
    return Entry(1, transaction_id(raw), raw, HERE, b"i" * 32)


def sealed_in(raw: bytes) -> bytes:
    return decode(raw, SignedTransaction).transaction.body.sealed


def opened(raw: bytes):
    return open_entry(KEYS, CODE, entry(raw))


def test_the_honest_call_opens() -> None:
    assert opened(ALICE.call("inc", nonce=0)).sender == ALICE.key.public


def test_alices_ciphertext_in_mallorys_transaction_does_not_open() -> None:
    stolen = sealed_in(ALICE.call("inc", nonce=0))
    with pytest.raises(SealBroken):
        opened(MALLORY.signed(stolen, 0))


def test_her_ciphertext_under_another_nonce_of_hers_does_not_open() -> None:
    with pytest.raises(SealBroken):
        opened(ALICE.signed(sealed_in(ALICE.call("inc", nonce=0)), 1))


def test_a_call_that_validators_wrote_in_alices_name_does_not_open() -> None:
    """They know her public key and the contract's: all but her signature."""
    context = CallContext(NETWORK, CONTRACT, 1, ALICE.key.public, 0)
    sealed = seal_call(KEYS.encryption.public, context, CallPlain("inc", b"[]", b"r" * 32), PAD)
    honest = decode(ALICE.signed(sealed, 0), SignedTransaction)
    by_mallory = decode(MALLORY.signed(sealed, 0), SignedTransaction)
    forged = encode(SignedTransaction(honest.transaction, by_mallory.signature))
    with pytest.raises(BadSignature):
        opened(forged)
    flipped = honest.signature[:-1] + bytes([honest.signature[-1] ^ 1])
    with pytest.raises((BadSignature, EncodingError)):
        opened(encode(SignedTransaction(honest.transaction, flipped)))


def test_a_call_of_another_network_contract_or_epoch_is_not_executed_here() -> None:
    sealed = sealed_in(ALICE.call("inc", nonce=0))
    with pytest.raises(LedgerRefused, match="wrong_network"):
        opened(sign(b"m" * 32, ALICE.key, 0, Call(CONTRACT, 1, sealed)))
    for body in (Call(b"d" * 32, 1, sealed), Call(CONTRACT, 2, sealed)):
        with pytest.raises(EncodingError, match="not a call to this contract"):
            opened(sign(NETWORK, ALICE.key, 0, body))


def test_all_of_them_in_one_batch_are_consumed_unexecuted_and_the_honest_ones_are_not_disturbed() -> None:
    sandbox = Sandbox()
    worker, alice = started(sandbox=sandbox), Caller(b"a")
    honest = [alice.call("inc"), alice.call("inc")]
    stolen = MALLORY.signed(sealed_in(honest[0]), 0)
    forged = honest[1][:-1] + bytes([honest[1][-1] ^ 1])
    settle(worker, honest[0], stolen, honest[0], forged, honest[1], honest[1])
    (result,) = worker.ledger.results
    assert (worker.ledger.record.done, sandbox.ran) == (6, ["inc", "inc"])
    # The replies are there, once each; all the others are of the same size, and no replies.
    assert len({len(receipt) for receipt in result.receipts}) == 1
    for raw, at, value in ((honest[0], 0, b"1"), (honest[1], 4, b"2")):
        name = transaction_id(raw)
        assert open_receipt(SecretBytes(REPLY_KEY), NETWORK, CONTRACT, 1, name, result.receipts[at]).value == value
        for other in set(range(6)) - {at}:
            with pytest.raises(SealBroken):
                open_receipt(SecretBytes(REPLY_KEY), NETWORK, CONTRACT, 1, name, result.receipts[other])
    # Who sent a call that was appended twice is told, and nobody else.
    for raw, again in ((honest[0], 2), (honest[1], 5)):
        where = NETWORK, CONTRACT, 1, transaction_id(raw)
        told = [is_repeated(SecretBytes(REPLY_KEY), *where, receipt) for receipt in result.receipts]
        assert [at for at, is_told in enumerate(told) if is_told] == [again]
        assert not is_repeated(SecretBytes(b"x" * 32), *where, result.receipts[again])


def test_what_was_sealed_to_the_next_epoch_is_nothing_to_this_one() -> None:
    context = CallContext(NETWORK, CONTRACT, 1, ALICE.key.public, 0)
    sealed = seal_call(keys(epoch=2).encryption.public, context, CallPlain("inc", b"[]", b"r" * 32), PAD)
    with pytest.raises(SealBroken):
        opened(ALICE.signed(sealed, 0))


def test_a_transaction_signed_by_a_key_that_verifies_anything_is_refused() -> None:
    """The identity of the group as a public key: a library that takes it accepts forgeries."""
    raw = ALICE.call("inc", nonce=0)
    honest = decode(raw, SignedTransaction)
    forged = SignedTransaction(replace(honest.transaction, sender=bytes(32)), bytes(63) + b"\x80")
    with pytest.raises((BadKey, BadSignature)):
        opened(encode(forged))
