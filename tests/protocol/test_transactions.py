"""A transaction is its sender's, for one network, once."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keephold.base.errors import BadKey, BadSignature, EncodingError, LedgerRefused
from keephold.crypto.signing import SigningKey
from keephold.protocol.codec import decode, encode
from keephold.protocol.contracts import Code, ContractPolicy, check_deployable, code_hash, contract_id
from keephold.protocol.transactions import Call, Echo, SignedTransaction, Transaction, open_signed, sign

NETWORK = b"n" * 32
ALICE = SigningKey.generate()
BOB = SigningKey.generate()
RAW = sign(NETWORK, ALICE, 4, Call(b"c" * 32, 1, b"sealed"))


def test_a_signed_transaction_opens_to_what_was_signed():
    opened = open_signed(RAW, NETWORK)
    assert (opened.sender, opened.nonce, opened.body) == (ALICE.public, 4, Call(b"c" * 32, 1, b"sealed"))


def test_another_network_is_refused():
    with pytest.raises(LedgerRefused) as caught:
        open_signed(RAW, b"m" * 32)
    assert caught.value.reason == "wrong_network"


@pytest.mark.parametrize(
    "change",
    [
        {"sender": BOB.public},
        {"nonce": 5},
        {"body": Call(b"c" * 32, 1, b"sealex")},
        {"body": Call(b"d" * 32, 1, b"sealed")},
        {"body": Call(b"c" * 32, 2, b"sealed")},
    ],
)
def test_nobody_resubmits_anothers_call_as_his_own_or_alters_it(change):
    signed = decode(RAW, SignedTransaction)
    fields = {name: getattr(signed.transaction, name) for name in ("network", "sender", "nonce", "body")}
    altered = encode(SignedTransaction(Transaction(**{**fields, **change}), signed.signature))
    with pytest.raises(BadSignature):
        open_signed(altered, NETWORK)


@given(st.integers(0, 2**63 - 1), st.binary(max_size=70_000))
def test_what_is_signed_is_the_tail_of_the_bytes(nonce, sealed):
    raw = sign(NETWORK, ALICE, nonce, Call(b"c" * 32, 1, sealed))
    assert raw.endswith(encode(decode(raw, SignedTransaction).transaction))
    assert open_signed(raw, NETWORK).nonce == nonce


@given(st.data())
def test_altered_bytes_never_open(data):
    raw = bytearray(RAW)
    raw[data.draw(st.integers(0, len(raw) - 1))] ^= data.draw(st.integers(1, 255))
    with pytest.raises((EncodingError, BadSignature, BadKey, LedgerRefused)):
        open_signed(bytes(raw), NETWORK)


def test_a_body_of_no_known_type_is_refused():
    raw = encode(SignedTransaction(Transaction(NETWORK, ALICE.public, 0, Echo(b"e" * 32)), bytes(64)))
    with pytest.raises(EncodingError):
        open_signed(raw.replace(b"decho", b"decha"), NETWORK)


CODE = Code("python", b"class C: ...", "C", b"{}")
HASH = code_hash(CODE)
POLICY = ContractPolicy()


def test_a_contract_id_binds_network_creator_nonce_code_and_policy():
    base = contract_id(NETWORK, ALICE.public, 1, HASH, POLICY)
    others = {
        contract_id(b"m" * 32, ALICE.public, 1, HASH, POLICY),
        contract_id(NETWORK, BOB.public, 1, HASH, POLICY),
        contract_id(NETWORK, ALICE.public, 2, HASH, POLICY),
        contract_id(NETWORK, ALICE.public, 1, code_hash(Code("python", b"class C: pass", "C", b"{}")), POLICY),
        contract_id(NETWORK, ALICE.public, 1, HASH, ContractPolicy(level=3)),
    }
    assert base not in others
    assert len(others) == 5


@pytest.mark.parametrize(
    ("policy", "reason"),
    [
        (ContractPolicy(workers=1, quorum=2), "policy_invalid"),
        (ContractPolicy(workers=4, quorum=2), "policy_invalid"),
        (ContractPolicy(workers=3, quorum=2), None),
        (ContractPolicy(workers=4, quorum=1), None),
    ],
)
def test_two_disjoint_quorums_are_never_allowed(policy, reason):
    if reason is None:
        check_deployable(CODE, policy)
        return
    with pytest.raises(LedgerRefused) as caught:
        check_deployable(CODE, policy)
    assert caught.value.reason == reason


def test_oversized_code_is_refused():
    with pytest.raises(LedgerRefused) as caught:
        check_deployable(Code("python", bytes(300_000), "C", b"{}"), POLICY)
    assert caught.value.reason == "too_large"
