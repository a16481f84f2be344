"""G5. What a broken worker holds opens the contracts and epochs assigned to it, and nothing beside them."""

from __future__ import annotations

import itertools

import pytest
from worker_committee import Committee, inputs
from worker_scene import CONTRACT, NETWORK, PAD

from keephold.base.errors import SealBroken
from keephold.base.ids import ContractId, PublicKey, TransactionId
from keephold.crypto.secret import SecretBytes
from keephold.custody.secret.release import combine
from keephold.protocol.lines import ContractLine
from keephold.protocol.messages import CallPlain, Reply
from keephold.sealing.call import CallContext, open_call, seal_call
from keephold.sealing.contract_keys import ContractKeys
from keephold.sealing.receipt import open_receipt, seal_receipt

OTHER = ContractId(b"d" * 32)
LINES = [(CONTRACT, 1), (CONTRACT, 2), (OTHER, 1)]


@pytest.fixture(scope="module")
def held() -> dict[tuple[ContractId, int], ContractKeys]:
    """The keys of two contracts and of two epochs of one, as one committee releases them."""
    committee = Committee()
    items = [ContractLine(contract, epoch) for contract, epoch in LINES]
    seeds = combine([committee.batch(0, items), committee.batch(1, items)], committee.keys, inputs(items))
    return {line: ContractKeys(seed, NETWORK, *line) for line, seed in zip(LINES, seeds, strict=True)}


def test_no_two_lines_of_keys_share_anything(held) -> None:
    for one, other in itertools.combinations(held.values(), 2):
        assert one.signing.public != other.signing.public
        assert one.encryption.public != other.encryption.public
        assert one.slots.tag("k") != other.slots.tag("k")
        assert one.entropy(TransactionId(bytes(32))) != other.entropy(TransactionId(bytes(32)))
        assert one.event_key(PublicKey(b"a" * 32)) != other.event_key(PublicKey(b"a" * 32))
        assert one.filler(TransactionId(bytes(32)), 64) != other.filler(TransactionId(bytes(32)), 64)


def test_state_and_calls_of_another_contract_or_epoch_stay_closed(held) -> None:
    for mine, theirs in itertools.permutations(LINES, 2):
        tag, sealed = held[theirs].slots.seal("balances/alice", b"4711", b"x" * 32, PAD)
        with pytest.raises(SealBroken):
            held[mine].slots.open(tag, sealed)
        context = CallContext(NETWORK, *theirs, PublicKey(b"a" * 32), 0)
        call = seal_call(held[theirs].encryption.public, context, CallPlain("m", b"[]", b"r" * 32), PAD)
        for pretended in (context, CallContext(NETWORK, *mine, PublicKey(b"a" * 32), 0)):
            with pytest.raises(SealBroken):
                open_call(held[mine], pretended, call)


def test_a_broken_worker_cannot_answer_for_another_contract(held) -> None:
    """Even with a caller's reply key: the receipt is bound to the contract and epoch that the caller asked."""
    reply_key = SecretBytes(b"r" * 32)
    forged = seal_receipt(held[OTHER, 1], reply_key, TransactionId(bytes(32)), Reply("ok", b"1"), PAD)
    with pytest.raises(SealBroken):
        open_receipt(reply_key, NETWORK, CONTRACT, 1, TransactionId(bytes(32)), forged)
