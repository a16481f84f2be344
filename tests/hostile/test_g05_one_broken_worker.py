"""G5. What a broken worker holds opens the contracts and epochs assigned to it, and nothing beside them."""

from __future__ import annotations

import asyncio
import itertools

import pytest
from msgspec.structs import replace
from worker_cast import CONTRACT, NETWORK, PAD
from worker_committee import Committee, inputs

from keephold.base.errors import ProofInvalid, SealBroken
from keephold.base.ids import ContractId, PublicKey, TransactionId
from keephold.base.limits import MAX_HISTORY
from keephold.client.exposure import epochs_of, exposure_of
from keephold.contract.check import check_source
from keephold.contract.values import canonical
from keephold.crypto.entity import EntityKeys
from keephold.crypto.secret import SecretBytes
from keephold.custody.secret.release import combine
from keephold.follower.follow import Follower
from keephold.follower.view import VerifiedView
from keephold.protocol.codec import decode, encode
from keephold.protocol.contracts import Code, ContractPolicy, code_hash, contract_id
from keephold.protocol.governance import RevokeIdentity
from keephold.protocol.holders import EpochHolders, Holder, Tenure, Tenures, holders_path, tenures_path
from keephold.protocol.lines import ContractLine
from keephold.protocol.messages import CallPlain, Reply
from keephold.protocol.state import Batch, ContractRecord, batch_path, contract_path, inbox_head
from keephold.protocol.transactions import Deploy, Migration, PublishKey, Result, Rotate, SubmitMigration, SubmitResult
from keephold.protocol.wire import ProveAnswer, ProvenValue
from keephold.sealing.call import CallContext, open_call, seal_call
from keephold.sealing.contract_keys import ContractKeys
from keephold.sealing.receipt import open_receipt, seal_receipt
from keephold.testing.adversaries import Colluders, replacing

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


# --- what a broken worker held is not hidden ---


@pytest.fixture
def turned(chain):
    """A chain whose contract is in its second key epoch; its one worker held the first too."""
    contract, instance = chain.contract, chain.instance
    record = chain.net.node.reader.record(contract_path(contract), ContractRecord)
    batch = chain.net.node.reader.record(batch_path(contract, 2), Batch)
    head = inbox_head(batch.before, 2, batch.entries[0], batch.height)
    rest = Result(contract, 1, 2, 1, head, 1, record.state_root, record.state_root, (b"receipt",))
    chain.step((chain.worker, SubmitResult(instance, rest)))
    chain.step((chain.alice, Rotate(contract)))
    keys = EntityKeys.generate()
    chain.step((chain.worker, PublishKey(contract, 2, instance, keys.signing.public, keys.encryption.public)))
    page = Migration(contract, 1, 2, bytes(32), bytes(32), 2, record.state_root, record.state_root, (), is_last=True)
    chain.ended = chain.step((chain.worker, SubmitMigration(instance, page)))
    chain.step()
    return chain


async def followed(chain, tamper=None) -> Follower:
    async def no_pause(_: float) -> None:
        return

    remote = chain.net.remote()
    if tamper is not None:
        remote.tamper = tamper
    follower = Follower([remote], VerifiedView(chain.net.genesis), pause=no_pause)
    await follower.sync()
    return follower


async def exposed(chain, tamper=None):
    return await exposure_of(await followed(chain, tamper), chain.worker.public)


async def epochs(chain, tamper=None):
    return await epochs_of(await followed(chain, tamper), chain.contract)


def test_a_worker_of_an_ended_epoch_is_found_from_its_name_and_from_the_contracts(turned) -> None:
    found = asyncio.run(exposed(turned))
    here = [item for item in found.held if item.contract == turned.contract]
    assert [(item.epoch, item.why, item.ended) for item in here] == [
        (1, "ended", turned.ended),
        (2, "assigned", 0),
    ]
    listed = asyncio.run(epochs(turned)).epochs
    assert [(item.number, item.ended) for item in listed] == [(1, turned.ended), (2, 0)]
    assert all([holding.worker for holding in item.holders] == [turned.worker.public] for item in listed)


WALLET = """
from keephold import Contract, View, view

class Wallet(Contract):
    @view
    def public(self, ctx: View) -> bytes:
        return ctx.key("coins", "ed25519").public
"""


def test_a_worker_of_ended_epochs_alone_may_have_the_keys_that_a_contract_owns(chain) -> None:
    """They are on a line without epochs: whoever was assigned in any of them could ask for their seed."""
    abi = canonical(check_source(WALLET).abi).encode()
    code, policy = Code("python", WALLET.encode(), "Wallet", abi), ContractPolicy(level=2)
    nonce = 1 + len(chain.calls)
    chain.step((chain.alice, Deploy(code, policy)))
    wallet = contract_id(chain.net.network, chain.alice.public, nonce, code_hash(code), policy)
    chain.step()
    (before,) = asyncio.run(exposed(chain)).signing
    assert (before.contract, before.keys, before.why) == (wallet, ("coins (ed25519)",), "assigned")
    chain.net.govern(RevokeIdentity(chain.worker.public))
    chain.step()
    chain.step()
    found = asyncio.run(exposed(chain))
    assert [(item.epoch, item.why) for item in found.held if item.contract == wallet] == [(1, "ended")]
    assert [(item.contract, item.why) for item in found.signing] == [(wallet, "ended")]


def without(path: bytes, kind):
    """Leave out the entries of one list, in every answer, under the honest proof."""

    def alter(item: ProvenValue) -> ProvenValue:
        if item.path != path or not item.value:
            return item
        return replace(item, value=encode(replace(decode(item.value, kind), count=0, newest=())))

    def forge(answer: bytes) -> bytes:
        told = decode(answer, ProveAnswer)
        return encode(replace(told, values=tuple(alter(item) for item in told.values)))

    return replacing("prove", forge)


def absent(path: bytes):
    """Say of one list that there is none, under the honest proof."""

    def forge(answer: bytes) -> bytes:
        told = decode(answer, ProveAnswer)
        return encode(
            replace(told, values=tuple(replace(item, value=b"") if item.path == path else item for item in told.values))
        )

    return replacing("prove", forge)


def test_a_node_that_leaves_out_the_holder_of_an_ended_epoch_is_refused(turned) -> None:
    path = holders_path(turned.contract, 1)
    for lie in (without(path, EpochHolders), absent(path)):
        for asking in (exposed, epochs):
            with pytest.raises(ProofInvalid):
                asyncio.run(asking(turned, lie))


def test_a_node_that_leaves_out_a_workers_epochs_is_refused(turned) -> None:
    path = tenures_path(turned.worker.public)
    for lie in (without(path, Tenures), absent(path)):
        with pytest.raises(ProofInvalid):
            asyncio.run(exposed(turned, lie))


def test_validators_that_cut_a_list_off_have_to_cut_its_length_too(turned) -> None:
    """They can prove any map; what does not fit together in it is found out all the same."""
    contract, worker = turned.contract, turned.worker.public
    holder, tenure = Holder(worker, 4), Tenure(contract, 1)
    lies = {
        "a page that is not there": {holders_path(contract, 1): EpochHolders(MAX_HISTORY + 1, 9, (holder,))},
        "fewer than counted": {tenures_path(worker): Tenures(2, (tenure,))},
        "more than anybody reads": {tenures_path(worker): Tenures(1 << 40, (tenure,))},
        "a tenure in an epoch that does not list it": {holders_path(contract, 1): EpochHolders(0, 9)},
        "an epoch that never ended": {holders_path(contract, 1): EpochHolders(1, 0, (holder,))},
        "a contract without a record": {
            tenures_path(worker): Tenures(1, (Tenure(b"u" * 32, 1),)),
            holders_path(ContractId(b"u" * 32), 1): EpochHolders(1, 0, (holder,)),
        },
    }
    node = turned.net.node
    honest = {path: decode(node.application.map.newest.values.get(path), kind) for path, kind in (
        (holders_path(contract, 1), EpochHolders), (tenures_path(worker), Tenures))}  # fmt: skip
    for lie in lies.values():
        Colluders(node).prove({**honest, **lie})
        with pytest.raises(ProofInvalid):
            asyncio.run(exposed(turned))
    Colluders(node).prove(honest)
    assert len(asyncio.run(exposed(turned)).held) == 3
