from __future__ import annotations

import pytest
from msgspec.structs import replace

from keephold.base.limits import MAX_BATCH, MAX_EVENTS, MAX_SEALED_RECEIPT, MAX_SEALED_VALUE, MAX_WRITES
from keephold.chain.sparse import EMPTY_ROOT, SparseMap
from keephold.protocol.contracts import ContractPolicy
from keephold.protocol.refusals import Refusal
from keephold.protocol.state import Backing, Batch, Registration, batch_path, inbox_head, registration_path
from keephold.protocol.transactions import SealedEvent, SlotWrite, transaction_id


@pytest.fixture
def called(token, new_key):
    """Three entries of one block wait, then one of another."""
    desk, worker, contract = token
    desk.block(*desk.signed(new_key("alice"), *[desk.call(contract)] * 3))
    desk.send(new_key("alice"), desk.call(contract))
    return desk, worker, contract


def test_accepted(called):
    desk, worker, contract = called
    writes = (SlotWrite(b"a" * 32, b"A"), SlotWrite(b"b" * 32, b"B"))
    desk.send(worker, desk.result(worker, contract, 3, writes=writes))
    record = desk.contract(contract)
    assert (record.done, record.version) == (3, 1)
    assert record.state_root == SparseMap.of((write.tag, write.value) for write in writes).root
    assert desk.record(batch_path(contract, 1), Batch) is None
    desk.send(worker, desk.result(worker, contract, 1, writes=(SlotWrite(b"a" * 32, b""), SlotWrite(b"b" * 32, b""))))
    record = desk.contract(contract)
    assert (record.done, record.version, record.state_root) == (4, 2, EMPTY_ROOT)


def test_a_prefix_leaves_the_rest_under_its_own_first_entry(called):
    desk, worker, contract = called
    before = desk.record(batch_path(contract, 1), Batch)
    desk.send(worker, desk.result(worker, contract, 2))
    assert desk.record(batch_path(contract, 1), Batch) is None
    rest = desk.record(batch_path(contract, 3), Batch)
    assert (rest.height, rest.entries) == (before.height, before.entries[2:])
    desk.send(worker, desk.result(worker, contract, 1))
    assert desk.contract(contract).done == 3


def test_only_assigned_workers(called, new_key):
    desk, worker, contract = called
    (other,) = desk.enrol("other")
    assert desk.refused(other, desk.result(other, contract)) is Refusal.NOT_ASSIGNED
    assert desk.refused(new_key("alice"), desk.result(worker, contract)) is Refusal.NOT_REGISTERED
    assert desk.refused(worker, desk.result(worker, contract, instance=b"i" * 32)) is Refusal.SUPERSEDED
    good = desk.result(worker, contract)
    desk.block(after_s=7200)
    assert desk.refused(worker, good) is Refusal.LEASE_LAPSED


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"epoch": 2}, Refusal.WRONG_EPOCH),
        ({"receipts": ()}, Refusal.RESULT_MALFORMED),
        ({"receipts": (bytes(MAX_SEALED_RECEIPT + 1),)}, Refusal.RESULT_MALFORMED),
        ({"count": MAX_BATCH + 1, "receipts": (b"",) * (MAX_BATCH + 1)}, Refusal.RESULT_MALFORMED),
        ({"writes": (SlotWrite(b"b" * 32, b""), SlotWrite(b"a" * 32, b""))}, Refusal.RESULT_MALFORMED),
        ({"writes": (SlotWrite(b"a" * 32, b""), SlotWrite(b"a" * 32, b""))}, Refusal.RESULT_MALFORMED),
        ({"writes": (SlotWrite(b"a" * 32, bytes(MAX_SEALED_VALUE + 1)),)}, Refusal.RESULT_MALFORMED),
        (
            {"writes": tuple(SlotWrite(n.to_bytes(32, "big"), b"") for n in range(MAX_WRITES + 1))},
            Refusal.RESULT_MALFORMED,
        ),
        ({"events": (SealedEvent(bytes(16), b""),) * (MAX_EVENTS + 1)}, Refusal.RESULT_MALFORMED),
        ({"first": 2}, Refusal.OUT_OF_ORDER),
        ({"head": b"h" * 32}, Refusal.OUT_OF_ORDER),
        ({"version": 1}, Refusal.WRONG_PRE_STATE),
        ({"pre_root": b"r" * 32}, Refusal.WRONG_PRE_STATE),
        ({"root": b"r" * 32}, Refusal.RESULT_MALFORMED),
    ],
)
def test_one_field_altered(called, changes, expected):
    desk, worker, contract = called
    assert desk.refused(worker, desk.result(worker, contract, **changes)) is expected


def test_no_such_contract(called):
    desk, worker, contract = called
    body = desk.result(worker, contract)
    elsewhere = replace(body, result=replace(body.result, contract=b"u" * 32))
    assert desk.refused(worker, elsewhere) is Refusal.UNKNOWN_CONTRACT


def test_entries_of_two_blocks_are_two_results(called):
    desk, worker, contract = called
    assert desk.refused(worker, desk.result(worker, contract, 4)) is Refusal.OUT_OF_ORDER


def test_a_whole_batch_cannot_be_skipped(called):
    """The second block's entry, rightly chained, before the first block's are consumed."""
    desk, worker, contract = called
    later = desk.record(batch_path(contract, 4), Batch)
    assert later is not None
    head = inbox_head(later.before, 4, later.entries[0], later.height)
    assert desk.refused(worker, desk.result(worker, contract, 1, first=4, head=head)) is Refusal.OUT_OF_ORDER
    assert desk.contract(contract).done == 0


def test_entries_that_do_not_exist(token):
    desk, worker, contract = token
    assert desk.refused(worker, desk.result(worker, contract)) is Refusal.OUT_OF_ORDER


def test_a_result_twice(called):
    desk, worker, contract = called
    body = desk.result(worker, contract)
    desk.send(worker, body)
    assert desk.refused(worker, body) is Refusal.OUT_OF_ORDER


def test_a_batch_that_this_block_still_appends_to(token, new_key):
    """A result cannot consume entries of its own block: the batch is not closed."""
    desk, worker, contract = token
    (call,) = desk.signed(new_key("alice"), desk.call(contract))
    desk.block(call)
    ahead = desk.result(worker, contract)
    assert [item.code for item in desk.block(*desk.signed(worker.keys.signing, ahead))] == [0]
    (call,) = desk.signed(new_key("alice"), desk.call(contract))
    # The same bytes in a state where the entry is of the very block that carries the result.
    record = desk.contract(contract)
    from keephold.protocol.transactions import transaction_id

    head = inbox_head(record.inbox_head, 2, transaction_id(call), desk.height + 1)
    body = desk.result(worker, contract, head=head)
    codes = [item.code for item in desk.block(call, *desk.signed(worker.keys.signing, body))]
    assert codes == [0, Refusal.OUT_OF_ORDER]


def test_results_of_one_worker_build_on_one_another_in_one_block(called):
    desk, worker, contract = called
    first = desk.result(worker, contract, 3, writes=(SlotWrite(b"a" * 32, b"A"),))
    root = SparseMap.empty().put(b"a" * 32, b"A").root
    batch = desk.record(batch_path(contract, 4), Batch)
    assert batch is not None
    head = desk.contract(contract).inbox_head
    second = desk.result(worker, contract, 1, first=4, head=head, version=1, pre_root=root, root=root)
    raws = desk.signed(worker.keys.signing, first, second)
    assert [desk.application.check(raw).code for raw in raws] == [0, 0]
    assert [item.code for item in desk.block(*raws)] == [0, 0]


# --- quorum ---


@pytest.fixture
def quorum(desk, new_key):
    workers = desk.enrol("one", "two", "three")
    contract = desk.deploy(new_key("alice"), ContractPolicy(workers=3, quorum=2))
    desk.activate(contract, *workers)
    desk.send(new_key("alice"), desk.call(contract))
    return desk, workers, contract


def test_identical_results_of_a_quorum_happen(quorum):
    desk, (one, two, three), contract = quorum
    desk.send(one, desk.result(one, contract, receipts=(b"r",)))
    assert desk.contract(contract).done == 0
    assert len(desk.contract(contract).votes) == 1
    assert desk.refused(one, desk.result(one, contract, receipts=(b"r",))) is Refusal.ALREADY_VOTED
    assert desk.refused(one, desk.result(one, contract, receipts=(b"other",))) is Refusal.ALREADY_VOTED
    late = desk.result(three, contract, receipts=(b"r",))
    desk.send(two, desk.result(two, contract, receipts=(b"r",)))
    record = desk.contract(contract)
    assert (record.done, record.votes) == (1, ())
    assert desk.refused(three, late) is Refusal.OUT_OF_ORDER


def test_the_record_names_the_votes_behind_the_last_result(quorum):
    """Who takes up the state later fetches them: the wrong vote is not among them."""
    desk, (one, two, three), contract = quorum
    assert desk.contract(contract).settled == ()
    bodies = [desk.result(worker, contract, receipts=(said,)) for worker, said in ((one, b"w"), (two, b"r"))]
    bodies.append(desk.result(three, contract, receipts=(b"r",)))
    raws = [
        raw
        for worker, body in zip((one, two, three), bodies, strict=True)
        for raw in desk.signed(worker.keys.signing, body)
    ]
    desk.block(*raws)
    registrations = [desk.record(registration_path(worker.identity), Registration) for worker in (two, three)]
    assert desk.contract(contract).settled == tuple(
        Backing(transaction_id(raw), registration.transaction, registration.judged_by)
        for raw, registration in zip(raws[1:], registrations, strict=True)
    )


def test_differing_results_do_not_add_up(quorum):
    desk, (one, two, three), contract = quorum
    desk.send(one, desk.result(one, contract, receipts=(b"wrong",)))
    desk.send(two, desk.result(two, contract, receipts=(b"right",)))
    assert desk.contract(contract).done == 0
    desk.send(three, desk.result(three, contract, receipts=(b"right",)))
    assert desk.contract(contract).done == 1


def test_the_vote_of_who_left_does_not_count(quorum, new_key):
    from keephold.protocol.governance import RevokeIdentity

    desk, (one, two, three), contract = quorum
    desk.send(one, desk.result(one, contract, receipts=(b"r",)))
    desk.send(new_key("anyone"), desk.govern(RevokeIdentity(one.identity)))
    assert desk.contract(contract).votes == ()
    desk.send(two, desk.result(two, contract, receipts=(b"r",)))
    assert desk.contract(contract).done == 0
    desk.send(three, desk.result(three, contract, receipts=(b"r",)))
    assert desk.contract(contract).done == 1


def test_a_new_epoch_forgets_the_votes_of_the_old_one(desk, new_key):
    one, two = desk.enrol("one", "two")
    contract = desk.deploy(new_key("alice"), ContractPolicy(workers=4, quorum=3))
    desk.activate(contract, one, two)
    desk.send(new_key("alice"), desk.call(contract))
    three, four = desk.enrol("three", "four")
    desk.send(four, desk.result(four, contract))
    assert len(desk.contract(contract).votes) == 1
    desk.send(three, desk.publication(three, contract, "mallory"))
    record = desk.contract(contract)
    assert (record.epoch, record.votes, record.workers) == (2, (), (four.identity,))


def test_no_result_before_the_keys(desk, new_key):
    (worker,) = desk.enrol("w")
    contract = desk.deploy(new_key("alice"))
    assert desk.refused(worker, desk.result(worker, contract)) is Refusal.CONTRACT_NOT_ACTIVE


def test_check_looks_at_standing_only(called):
    desk, worker, contract = called
    (raw,) = desk.signed(worker.keys.signing, desk.result(worker, contract, epoch=2))
    assert desk.application.check(raw).code == Refusal.WRONG_EPOCH
    (raw,) = desk.signed(worker.keys.signing, desk.result(worker, contract, version=9))
    assert desk.application.check(raw).code == 0
