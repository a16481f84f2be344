"""What the reader serves, a follower verifies: nothing here is compared with the ledger's own idea alone."""

from __future__ import annotations

import pytest

from keephold.base.errors import InputError
from keephold.chain.sparse import SparseMap
from keephold.chain.validators import decode_validator_set
from keephold.crypto.ed25519 import ValidatorKey
from keephold.crypto.secret import SecretBytes
from keephold.follower.view import VerifiedView
from keephold.ledger.map import KEPT_VERSIONS
from keephold.protocol.codec import decode
from keephold.protocol.contracts import ContractPolicy
from keephold.protocol.governance import SetValidators, ValidatorEntry
from keephold.protocol.state import AccountRecord, ContractRecord, account_path, contract_path
from keephold.protocol.transactions import Echo, SlotWrite, transaction_id
from keephold.protocol.wire import (
    BlocksRequest,
    InboxRequest,
    Interest,
    ProveRequest,
    SlotsRequest,
    TransactionsRequest,
)


@pytest.fixture
def busy(node, new_key):
    """A node with an active contract, two calls and their result, and the proof of it."""
    (worker,) = node.enrol("worker")
    contract = node.deploy(new_key("alice"))
    node.activate(contract, worker)
    node.block(
        *node.signed(new_key("alice"), node.call(contract, b"one"), node.call(contract, b"two")),
        *node.signed(new_key("bob"), node.call(contract, b"three")),
    )
    writes = (SlotWrite(b"a" * 32, b"A"), SlotWrite(b"b" * 32, b"B"))
    node.send(worker, node.result(worker, contract, 3, writes=writes))
    node.block()
    return node, worker, contract


def frames(node, interest, first=1):
    watch = node.reader.watch(interest)
    return [frame for height in range(first, node.reader.latest() + 1) if (frame := watch.frame(height)) is not None]


def verified(node, interest):
    view = VerifiedView(node.genesis)
    return [view.accept(frame) for frame in frames(node, interest)]


def test_a_stream_of_heads_is_a_light_clients(busy):
    node, _, _ = busy
    blocks = verified(node, Interest())
    assert [block.height for block in blocks] == list(range(1, node.reader.latest() + 1))
    assert all(not block.transactions and not block.values for block in blocks)


def test_validators_are_sent_once_and_when_they_change(node, new_key):
    node.block()
    entries = (*node.genesis.law.validators, ValidatorEntry(ValidatorKey(SecretBytes(b"o" * 32)).public, 1))
    node.send(new_key("anyone"), node.govern(SetValidators(entries)))
    for _ in range(3):
        node.block()
    watched = frames(node, Interest())
    shown = [(bool(frame.validators), bool(frame.next_validators)) for frame in watched]
    assert shown == [(True, True), (False, False), (True, True), (True, True), (False, False)]
    sizes = [len(decode_validator_set(frame.validators).validators) for frame in watched if frame.validators]
    assert sizes == [1, 1, 2]


def test_values_come_at_the_start_and_whenever_they_change(busy, new_key):
    node, _, contract = busy
    path = contract_path(contract)
    blocks = verified(node, Interest(paths=(path,)))
    seen = [decode(value, ContractRecord).version if value else None for b in blocks for value in b.values.values()]
    assert seen[0] is None
    assert seen[-1] == 1
    assert seen.count(1) == 1
    # Every change was sent: the inbox count never jumps unseen.
    counts = [decode(value, ContractRecord).inbox_count for b in blocks for value in b.values.values() if value]
    assert counts == sorted(counts)
    assert counts[-1] == 3


def test_a_stream_that_starts_late_starts_with_the_values(busy):
    node, _, contract = busy
    frame = frames(node, Interest(paths=(contract_path(contract), b"x" * 32)), first=node.reader.latest())[0]
    assert [bool(value.value) for value in sorted(frame.values, key=lambda v: not v.value)] == [True, False]


def test_receipts_reach_their_senders_with_proof(busy, new_key):
    node, _, _ = busy
    blocks = verified(node, Interest(receipts=(new_key("alice").public,)))
    receipts = [receipt for block in blocks for receipt in block.receipts]
    assert [(item.entry, item.receipt) for item in receipts] == [(1, b"receipt 0"), (2, b"receipt 1")]
    height, found = node.reader.receipt(receipts[0].call)
    assert found == receipts[0]
    assert node.reader.receipt(b"z" * 32) is None
    assert height == node.reader.latest() - 1


def test_transactions_by_contract_identity_and_custody(busy, new_key):
    node, worker, contract = busy
    node.send(worker, Echo(b"e" * 32))
    by_contract = [t for b in verified(node, Interest(contracts=(contract,))) for t in b.transactions]
    assert len(by_contract) == 4
    by_identity = [t for b in verified(node, Interest(identities=(worker.identity,))) for t in b.transactions]
    assert len(by_identity) == 4
    custody = [t for b in verified(node, Interest(custody=True)) for t in b.transactions]
    assert len(custody) == 1


def test_a_sparse_stream_leaves_out_what_is_of_no_interest(busy, new_key):
    node, _, contract = busy
    for _ in range(5):
        node.block(after_s=0.001)
    every = frames(node, Interest(contracts=(contract,)))
    sparse = frames(node, Interest(contracts=(contract,), sparse=True))
    assert len(sparse) < len(every) == node.reader.latest()
    assert sum(len(frame.transactions) for frame in sparse) == sum(len(frame.transactions) for frame in every)


def test_frames_are_the_same_from_memory_and_from_the_disk(busy, new_key):
    node, worker, contract = busy
    interest = Interest(
        contracts=(contract,), receipts=(new_key("alice").public,), identities=(worker.identity,), custody=True
    )
    hot = frames(node, interest)
    node.reopen()
    assert frames(node, interest) == hot


def test_values_from_before_the_kept_versions_are_made_up_for(busy, new_key):
    node, _, contract = busy
    node.block(*node.signed(new_key("alice"), node.call(contract, b"more")))
    node.reopen()
    path = contract_path(contract)
    blocks = verified(node, Interest(paths=(path,)))
    assert not any(block.values for block in blocks)
    node.block()
    assert path in verified(node, Interest(paths=(path,)))[-1].values


def test_proofs_verify_under_the_header_asked_for(busy, new_key):
    node, _, _ = busy
    view = VerifiedView(node.genesis)
    for frame in frames(node, Interest()):
        view.accept(frame)
    path = account_path(new_key("alice").public)
    answer = node.reader.prove(ProveRequest(0, (path, b"x" * 32)))
    values = view.check_values(answer, (path, b"x" * 32))
    assert decode(values[path], AccountRecord).nonce == 3
    assert values[b"x" * 32] is None
    with pytest.raises(InputError, match="yet"):
        node.reader.prove(ProveRequest(node.reader.latest() + 1, (path,)))


def test_old_versions_are_not_provable(busy, new_key):
    node, _, _ = busy
    for _ in range(KEPT_VERSIONS):
        node.block()
    with pytest.raises(InputError, match="any more"):
        node.reader.prove(ProveRequest(2, (bytes(32),)))


def test_transactions_are_found_with_place_and_result(busy, new_key):
    node, _, _ = busy
    view = VerifiedView(node.genesis)
    for frame in frames(node, Interest()):
        view.accept(frame)
    raws = node.engine.transactions(node.reader.latest() - 2)
    assert len(raws) == 3
    ids = tuple(transaction_id(raw) for raw in raws)
    found = node.reader.transactions(TransactionsRequest((b"?" * 32, *ids))).found
    assert [item.raw for item in found] == list(raws)
    assert [view.check_found(item).result.code for item in found] == [0, 0, 0]


def test_a_transaction_without_a_proven_result_is_not_found_yet(node, new_key):
    (raw,) = node.signed(new_key("alice"), Echo(bytes(32)))
    node.block(raw)
    request = TransactionsRequest((transaction_id(raw),))
    assert node.reader.transactions(request).found == ()
    node.block()
    assert len(node.reader.transactions(request).found) == 1


def test_light_blocks(busy):
    node, _, _ = busy
    blocks = node.reader.blocks(BlocksRequest((1, 0))).blocks
    assert [block.height for block in blocks] == [1, node.reader.latest()]
    with pytest.raises(InputError):
        node.reader.blocks(BlocksRequest((10_000,)))


def test_inbox_pages(busy):
    node, _, contract = busy
    page = node.reader.inbox(InboxRequest(contract, 2))
    assert len(page.entries) == 2
    assert page.entries[0].raw == node.engine.transactions(page.entries[0].height)[1]


def test_slot_pages_hash_to_the_root(busy, monkeypatch):
    node, _, contract = busy
    root = node.contract(contract).state_root
    monkeypatch.setattr("keephold.ledger.reader.PAGE_ITEMS", 1)
    slots, after, last = [], bytes(32), False
    while not last:
        page = node.reader.slots(SlotsRequest(contract, root, after))
        slots += page.slots
        after, last = page.slots[-1].tag, page.last
    assert SparseMap.of((slot.tag, slot.value) for slot in slots).root == root
    assert node.reader.slots(SlotsRequest(contract, SparseMap.empty().root, bytes(32))).last
    with pytest.raises(InputError, match="state root"):
        node.reader.slots(SlotsRequest(contract, b"r" * 32, bytes(32)))


def test_an_interest_is_bounded(node):
    with pytest.raises(InputError):
        node.reader.watch(Interest(paths=tuple(n.to_bytes(32, "big") for n in range(4097))))


def test_people_see_listings(busy, new_key):
    node, worker, contract = busy
    people = node.reader.people
    second = node.deploy(new_key("alice"), ContractPolicy(level=3))
    assert [item for item, _ in people.contracts()] == [second, contract]
    assert [item.registration.identity for item in people.workers()] == [worker.identity]
    assert set(people.workers()[0].contracts) == {contract, second}
    assert people.committee().phase == "forming"
    assert people.status().height == node.reader.latest()
    summary = people.block(node.reader.latest())
    assert [(item.kind, item.sender) for item in summary.transactions] == [("deploy", new_key("alice").public)]
    assert people.transaction(summary.transactions[0].id).code == 0
    assert people.account(new_key("nobody").public).nonce == 0


def test_one_frame_by_itself(busy, new_key):
    node, _, contract = busy
    frame = node.reader.frame(node.reader.latest(), Interest(paths=(contract_path(contract),)))
    view = VerifiedView(node.genesis)
    for before in frames(node, Interest())[:-1]:
        view.accept(before)
    assert decode(view.accept(frame).values[contract_path(contract)], ContractRecord).version == 1
    with pytest.raises(InputError):
        node.reader.frame(node.reader.latest() + 1, Interest())
    assert node.reader.receipt(transaction_id(node.signed(new_key("alice"), Echo(bytes(32)))[0])) is None


def test_a_call_without_a_result_has_no_receipt_yet(busy, new_key):
    node, _, contract = busy
    assert node.reader.receipt(node.send(new_key("alice"), node.call(contract))) is None


def test_answers_are_bounded_in_bytes(busy, monkeypatch):
    node, _, contract = busy
    monkeypatch.setattr("keephold.ledger.reader.PAGE_BYTES", 1)
    assert len(node.reader.inbox(InboxRequest(contract, 1)).entries) == 1
    page = node.reader.slots(SlotsRequest(contract, node.contract(contract).state_root, bytes(32)))
    assert (len(page.slots), page.last) == (1, False)
    ids = tuple(transaction_id(raw) for raw in node.engine.transactions(node.reader.latest() - 2))
    assert len(node.reader.transactions(TransactionsRequest(ids)).found) == 1


def test_too_much_at_once_is_refused(node, monkeypatch):
    node.block()
    monkeypatch.setattr("keephold.ledger.reader.PAGE_ITEMS", 1)
    monkeypatch.setattr("keephold.ledger.reader.MAX_INTEREST", 1)
    with pytest.raises(InputError):
        node.reader.blocks(BlocksRequest((1, 1)))
    with pytest.raises(InputError):
        node.reader.prove(ProveRequest(0, (bytes(32), bytes(32))))


def test_listings_of_slots_are_kept_for_a_while(busy, monkeypatch):
    node, worker, contract = busy
    monkeypatch.setattr("keephold.ledger.reader._LISTINGS", 1)
    old = node.contract(contract).state_root
    assert len(node.reader.slots(SlotsRequest(contract, old, bytes(32))).slots) == 2
    node.block(*node.signed(worker.keys.signing, Echo(bytes(32))))
    for _ in range(KEPT_VERSIONS + 1):
        node.block(after_s=0.001)
    assert len(node.reader.slots(SlotsRequest(contract, old, b"a" * 32)).slots) == 1


def test_bytes_that_spell_nothing_are_served_as_they_are(node, monkeypatch):
    """A block may hold junk that two thirds of the validators let in; streams go on."""
    with monkeypatch.context() as colluding:
        colluding.setattr(node.application, "process", lambda _: True)
        node.engine._make((b"junk",))
    node.block()
    hot = frames(node, Interest(custody=True))
    node.reopen()
    assert frames(node, Interest(custody=True)) == hot
    summary = node.reader.people.block(1)
    assert [(item.kind, item.sender) for item in summary.transactions] == [("", b"")]
    assert node.reader.people.block(99) is None
    assert node.reader.governance().entries == ()
    assert node.reader.people.law() == node.genesis.law


def test_a_chain_that_rests_is_proven_at_once_after_a_restart(busy, new_key):
    """Not a heartbeat later: the newest header proves the state that the file holds."""
    node, _, contract = busy
    node.block()
    before = node.reader.prove(ProveRequest(0, (contract_path(contract),)))
    node.reopen()
    assert node.reader.prove(ProveRequest(0, (contract_path(contract),))) == before
    view = VerifiedView(node.genesis)
    blocks = [view.accept(frame) for frame in frames(node, Interest(paths=(contract_path(contract),)), first=1)]
    assert blocks[-1].height == node.reader.latest()


def test_what_the_newest_block_changed_is_proven_by_the_next_header_alone(busy, new_key):
    node, _, contract = busy
    node.block(*node.signed(new_key("alice"), node.call(contract, b"more")))
    node.reopen()
    with pytest.raises(InputError, match="is not kept any more"):
        node.reader.prove(ProveRequest(0, (contract_path(contract),)))
    node.block()
    assert node.reader.prove(ProveRequest(0, (contract_path(contract),))).height == node.reader.latest()
