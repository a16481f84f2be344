"""What every transaction passes before its family looks at it."""

from __future__ import annotations

from typing import get_args

import pytest

from keephold.base.errors import LedgerRefused
from keephold.base.limits import ACCOUNT_QUOTA_PER_BLOCK, MAX_BLOCK_TRANSACTIONS, MAX_TRANSACTION
from keephold.ledger import rules
from keephold.ledger.engines.mempool import FULL
from keephold.ledger.overlay import Overlay
from keephold.ledger.pool import MAX_WAITING_PER_SENDER
from keephold.ledger.rules.context import BlockContext
from keephold.protocol.codec import decode, encode
from keephold.protocol.refusals import Refusal
from keephold.protocol.state import AccountRecord, RevokedPermit, account_path, revocation_path
from keephold.protocol.transactions import (
    Body,
    Echo,
    PublishAccountKey,
    RevokePermit,
    RevokePermits,
    SignedTransaction,
    Transaction,
    sign,
)

ECHO = Echo(bytes(32))


def only_code(desk, raw):
    (outcome,) = desk.block(raw)
    assert desk.application.check(raw).code == outcome.code
    return Refusal(outcome.code)


def test_every_body_has_a_rule():
    assert set(rules.RULES) == set(get_args(Body))


def test_the_engine_knows_the_number_of_quota():
    assert FULL == Refusal.QUOTA


@pytest.mark.parametrize("raw", [b"", b"\x00", b"not cbor at all", b"\xa0"])
def test_malformed_bytes(desk, raw):
    assert only_code(desk, raw) is Refusal.MALFORMED


def test_too_large(desk):
    assert only_code(desk, bytes(MAX_TRANSACTION + 1)) is Refusal.TOO_LARGE


def test_another_network(desk, new_key):
    raw = sign(b"x" * 32, new_key("alice"), 0, ECHO)
    assert only_code(desk, raw) is Refusal.WRONG_NETWORK


def test_a_signature_over_something_else(desk, new_key):
    signed = decode(desk.signed(new_key("alice"), ECHO)[0], SignedTransaction)
    other = Transaction(desk.network, new_key("alice").public, 0, Echo(b"e" * 32))
    assert only_code(desk, encode(SignedTransaction(other, signed.signature))) is Refusal.BAD_SIGNATURE


def test_a_sender_that_is_no_key(desk):
    transaction = Transaction(desk.network, bytes(32), 0, ECHO)
    assert only_code(desk, encode(SignedTransaction(transaction, bytes(64)))) is Refusal.BAD_SIGNATURE


@pytest.mark.parametrize("nonce", [0, 2, 7])
def test_nonces_count_once_and_in_order(desk, new_key, nonce):
    alice = new_key("alice")
    desk.send(alice, ECHO)
    raw = sign(desk.network, alice, nonce, Echo(b"n" * 32))
    assert only_code(desk, raw) is Refusal.BAD_NONCE
    assert desk.nonce(alice) == 1


def test_one_block_takes_a_senders_nonces_in_order(desk, new_key):
    alice = new_key("alice")
    first, second, third = desk.signed(alice, ECHO, ECHO, ECHO)
    assert [item.code for item in desk.block(first, third, second)] == [0, Refusal.BAD_NONCE, 0]
    assert desk.nonce(alice) == 2


def test_a_refused_transaction_changes_nothing_within_its_block(desk, new_key):
    """The sender of a refused transaction goes on as if it had never been sent."""
    alice = new_key("alice")
    wrong = sign(desk.network, alice, 0, desk_call())
    right = sign(desk.network, alice, 0, ECHO)
    assert [item.code for item in desk.block(wrong, right)] == [Refusal.UNKNOWN_CONTRACT, 0]


def desk_call():
    from keephold.protocol.transactions import Call

    return Call(b"c" * 32, 1, b"")


def test_a_sender_cannot_fill_a_block(desk, new_key):
    raws = desk.signed(new_key("alice"), *[ECHO] * (ACCOUNT_QUOTA_PER_BLOCK + 1))
    codes = [item.code for item in desk.block(*raws)]
    assert codes == [0] * ACCOUNT_QUOTA_PER_BLOCK + [Refusal.QUOTA]


def test_prepare_puts_off_what_exceeds_a_quota(desk, new_key):
    alice = desk.signed(new_key("alice"), *[ECHO] * (ACCOUNT_QUOTA_PER_BLOCK + 5))
    bob = desk.signed(new_key("bob"), ECHO)
    assert all(desk.application.check(raw).code == 0 for raw in alice + bob)
    prepared = desk.application.prepare(alice + bob, 1 << 20)
    assert list(prepared) == alice[:ACCOUNT_QUOTA_PER_BLOCK] + bob
    assert desk.application.process(prepared)
    desk.block(*prepared)
    left = alice[ACCOUNT_QUOTA_PER_BLOCK:]
    assert desk.application.recheck(left) == (True,) * len(left)


def test_prepare_respects_bytes_and_drops_what_does_not_open(desk, new_key):
    one, two = desk.signed(new_key("alice"), ECHO), desk.signed(new_key("bob"), ECHO)
    assert desk.application.prepare([b"junk", *one, *two], len(one[0])) == tuple(one)


def test_process_refuses_what_is_out_of_bounds(desk, new_key, monkeypatch):
    assert not desk.application.process([bytes(MAX_TRANSACTION + 1)])
    monkeypatch.setattr(desk.application, "_open", lambda raw, identity: None)  # their number and size alone
    many = [b"%d" % number for number in range(MAX_BLOCK_TRANSACTIONS + 1)]
    assert desk.application.process(many[1:])
    assert not desk.application.process(many)
    large = [number.ljust(MAX_TRANSACTION) for number in many[:5]]
    assert desk.application.process(large[1:])
    assert not desk.application.process(large)


def test_process_refuses_what_does_not_open(desk, new_key):
    """Whoever proposes it: else one validator could fill blocks with what nobody signed."""
    (raw,) = desk.signed(new_key("alice"), ECHO)
    assert desk.application.process([raw])
    assert not desk.application.process([raw, b"junk"])
    assert not desk.application.process([raw[:-1] + bytes([raw[-1] ^ 1])])


def test_process_refuses_a_transaction_that_stands_there_twice_and_prepare_does_not_propose_it(desk, new_key):
    (raw,) = desk.signed(new_key("alice"), ECHO)
    assert not desk.application.process([raw, raw])
    assert desk.application.prepare([raw, raw], 1 << 20) == (raw,)


def test_process_asks_nothing_of_the_state(desk, new_key):
    """Nonces torn apart cost their senders a block; a refusal that depends on state could cost the chain."""
    assert desk.application.process(desk.signed(new_key("alice"), ECHO, ECHO)[::-1])


def test_one_sender_cannot_fill_the_pool(desk, new_key):
    raws = desk.signed(new_key("alice"), *[ECHO] * (MAX_WAITING_PER_SENDER + 1))
    codes = [desk.application.check(raw).code for raw in raws]
    assert codes == [0] * MAX_WAITING_PER_SENDER + [Refusal.QUOTA]


def test_check_counts_what_waits(desk, new_key):
    first, second, third = desk.signed(new_key("alice"), ECHO, ECHO, ECHO)
    assert desk.application.check(second).code == Refusal.BAD_NONCE
    assert desk.application.check(first).code == 0
    assert desk.application.check(second).code == 0
    desk.block()
    assert desk.application.recheck([first, third]) == (True, False)


def test_any_other_failure_inside_a_rule_is_malformed_and_leaves_no_trace(desk, new_key, monkeypatch):
    from keephold.base.errors import BadShare

    def broken(state, *_):
        state.put(b"p" * 32, AccountRecord(5))
        raise BadShare("a point that is none")

    monkeypatch.setitem(rules.RULES, Echo, broken)
    assert desk.refused(new_key("alice"), ECHO) is Refusal.MALFORMED
    overlay = Overlay(desk.application.map.newest)
    block = BlockContext(desk.network, 99, desk.time_ns, desk.application.map.anchor)
    with pytest.raises(LedgerRefused, match="malformed"):
        rules.preview(overlay, block, Transaction(desk.network, new_key("alice").public, 0, ECHO), bytes(32))
    assert dict(overlay.changed()) == {}


def test_account_key_and_permits(desk, new_key, enclave):
    alice = new_key("alice")
    public = enclave("alice").keys.encryption.public
    desk.send(alice, PublishAccountKey(public), RevokePermits(), RevokePermits())
    assert desk.record(account_path(alice.public), AccountRecord) == AccountRecord(3, 2, public)
    assert desk.refused(alice, PublishAccountKey(b"\xff" * 1216)) is Refusal.MALFORMED


def test_a_permit_is_revoked_under_its_issuer_once(desk, new_key):
    alice, mallory = new_key("alice"), new_key("mallory")
    desk.send(mallory, RevokePermit(b"p" * 32))
    assert desk.record(revocation_path(alice.public, b"p" * 32), RevokedPermit) is None
    desk.send(alice, RevokePermit(b"p" * 32))
    first = desk.record(revocation_path(alice.public, b"p" * 32), RevokedPermit)
    assert first is not None
    desk.send(alice, RevokePermit(b"p" * 32))
    assert desk.record(revocation_path(alice.public, b"p" * 32), RevokedPermit) == first
    assert desk.record(account_path(alice.public), AccountRecord) == AccountRecord(2, 0)


def test_blocks_follow_one_another(desk):
    from keephold.ledger.engines.base import Block

    with pytest.raises(ValueError, match="does not follow"):
        desk.application.finalize(Block(2, desk.time_ns + 1, bytes(32), ()))
    with pytest.raises(ValueError, match="does not follow"):
        desk.application.finalize(Block(1, desk.time_ns, bytes(32), ()))
    with pytest.raises(ValueError, match="no block"):
        desk.application.commit()
