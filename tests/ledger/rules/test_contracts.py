"""Deployment, assignment, keys and calls: the way of a contract from code to inbox."""

from __future__ import annotations

import pytest

from keephold.base.limits import MAX_CODE, MAX_SEALED_CALL
from keephold.chain.sparse import EMPTY_ROOT
from keephold.ledger.rules import assignments, calls, contracts, quotas, roll
from keephold.protocol.contracts import Code, ContractPolicy
from keephold.protocol.lines import ChannelLine, ContractLine, SigningLine
from keephold.protocol.refusals import Refusal
from keephold.protocol.state import Batch, Roster, Waiting, batch_path, inbox_head, roster_path, waiting_path
from keephold.protocol.transactions import Call, Deploy, KeyRelease, KeyRequest, RefuseCode


def waiting(desk):
    return (desk.record(waiting_path(), Waiting) or Waiting()).contracts


# --- deployment and assignment ---


def test_deployed_without_workers_it_waits(desk, new_key):
    contract = desk.deploy(new_key("alice"))
    record = desk.contract(contract)
    assert (record.phase, record.workers, record.state_root, record.epoch) == ("waiting", (), EMPTY_ROOT, 1)
    assert waiting(desk) == (contract,)
    (worker,) = desk.enrol("w")
    assert desk.contract(contract).workers == (worker.identity,)
    assert waiting(desk) == ()


@pytest.mark.parametrize("field", ["source", "abi"])
def test_code_too_large(desk, new_key, field):
    parts = {"source": b"", "abi": b"", field: bytes(MAX_CODE + 1)}
    code = Code("python", parts["source"], "C", parts["abi"])
    assert desk.refused(new_key("alice"), Deploy(code, ContractPolicy())) is Refusal.TOO_LARGE


@pytest.mark.parametrize("policy", [ContractPolicy(workers=1, quorum=2), ContractPolicy(workers=4, quorum=2)])
def test_a_policy_that_cannot_hold(desk, new_key, policy):
    assert desk.refused(new_key("alice"), Deploy(Code("python", b"", "C", b""), policy)) is Refusal.POLICY_INVALID


def test_the_worker_with_the_fewest_contracts_is_next(desk, new_key):
    workers = desk.enrol("a", "b", "c")
    contracts = [desk.deploy(new_key("alice"), source=str(n)) for n in range(6)]
    assert [len(desk.contract(contract).workers) for contract in contracts] == [1] * 6
    loads = [len(desk.record(roster_path(worker.identity), Roster).contracts) for worker in workers]
    assert loads == [2, 2, 2]
    by_identity = sorted(worker.identity for worker in workers)
    assert [desk.contract(contract).workers[0] for contract in contracts] == by_identity * 2


def test_only_workers_good_enough(desk, new_key, enclave):
    weak, strong = desk.enrol(enclave("weak", status="OutOfDate"), enclave("strong"))
    for _ in range(2):
        assert desk.contract(desk.deploy(new_key("alice"))).workers == (strong.identity,)
    assert desk.contract(desk.deploy(new_key("alice"), ContractPolicy(level=5))).workers == (weak.identity,)


@pytest.mark.parametrize("shared", ["operator", "machine"])
def test_a_quorum_is_of_independent_workers(desk, new_key, enclave, shared):
    one, two, three = enclave("1", **{shared: "same"}), enclave("2", **{shared: "same"}), enclave("3")
    desk.enrol(one, two, three)
    contract = desk.deploy(new_key("alice"), ContractPolicy(workers=3, quorum=2))
    chosen = set(desk.contract(contract).workers)
    assert three.identity in chosen
    assert len(chosen) == 2
    assert waiting(desk) == (contract,)
    # Without a quorum nobody casts a vote, and both may run.
    assert len(desk.contract(desk.deploy(new_key("alice"), ContractPolicy(workers=3))).workers) == 3


@pytest.mark.parametrize("shared", ["operator", "machine"])
def test_a_worker_that_moves_next_to_another_leaves_the_quorum(desk, new_key, enclave, shared):
    one, two = desk.enrol("one", "two")
    contract = desk.deploy(new_key("alice"), ContractPolicy(workers=2, quorum=2))
    assert set(desk.contract(contract).workers) == {one.identity, two.identity}
    moved = enclave("two", boot=1, **{shared: getattr(one, shared)})
    desk.send(moved, desk.registration(moved))
    assert desk.contract(contract).workers == (one.identity,)


def test_one_registration_takes_a_bounded_number_of_waiting_contracts(desk, new_key, monkeypatch):
    monkeypatch.setattr(assignments, "MAX_OFFERS", 2)
    contracts = [desk.deploy(new_key("alice"), source=str(n)) for n in range(3)]
    (worker,) = desk.enrol("w")
    assert waiting(desk) == (contracts[2],)
    worker.boot = 1
    desk.send(worker, desk.registration(worker))
    assert waiting(desk) == ()


def test_a_worker_takes_a_bounded_number_of_contracts_and_the_next_takes_the_rest(desk, new_key, monkeypatch):
    monkeypatch.setattr(assignments, "MAX_CONTRACTS_PER_WORKER", 2)
    (worker,) = desk.enrol("w")
    deployed = [desk.deploy(new_key(name)) for name in ("alice", "bob", "carol")]
    assert [desk.contract(contract).workers for contract in deployed] == [(worker.identity,), (worker.identity,), ()]
    assert waiting(desk) == (deployed[2],)
    (other,) = desk.enrol("x")
    assert desk.contract(deployed[2]).workers == (other.identity,)


def test_the_list_of_the_waiting_is_bounded(desk, new_key, monkeypatch):
    monkeypatch.setattr(contracts, "MAX_WAITING_CONTRACTS", 1)
    code = Code("python", b"", "C", b"")
    waits = desk.deploy(new_key("alice"), ContractPolicy(workers=2))
    assert desk.refused(new_key("alice"), Deploy(code, ContractPolicy())) is Refusal.QUOTA
    desk.enrol("w")
    assert waiting(desk) == (waits,)
    assert desk.contract(desk.deploy(new_key("alice"))).workers
    assert desk.refused(new_key("alice"), Deploy(code, ContractPolicy(workers=3))) is Refusal.QUOTA


def test_a_lease_that_ran_out_unnoted_is_assigned_nothing(desk, new_key, monkeypatch):
    desk.enrol("w")
    monkeypatch.setattr(roll, "MAX_LAPSES", 0)
    desk.block(after_s=3600)
    assert desk.contract(desk.deploy(new_key("alice"))).workers == ()


def test_a_gatekeeper_runs_no_contract(desk, new_key, enclave):
    desk.enrol(enclave("g", "gatekeeper"))
    assert desk.contract(desk.deploy(new_key("alice"))).workers == ()


# --- keys ---


@pytest.fixture
def keying(make_desk, new_key):
    """A committee in office, two workers, one contract for both, keys not yet published."""
    desk = make_desk(seats=1, threshold=1)
    (gatekeeper,) = desk.committee("g")
    workers = desk.enrol("one", "two")
    contract = desk.deploy(new_key("alice"), ContractPolicy(workers=2))
    return desk, gatekeeper, workers, contract


def test_keys_are_asked_for_by_assigned_workers_in_the_present_epoch(keying, new_key):
    desk, _, (one, _), contract = keying
    desk.send(one, KeyRequest(one.instance, (ContractLine(contract, 1),)))
    item = ContractLine(contract, 1)
    other = desk.deploy(new_key("alice"), ContractPolicy(level=1, workers=1), "other")
    (third,) = desk.enrol("three")
    for body, expected in [
        (KeyRequest(b"i" * 32, (item,)), Refusal.SUPERSEDED),
        (KeyRequest(one.instance, ()), Refusal.TOO_LARGE),
        (KeyRequest(one.instance, (item, item)), Refusal.TOO_LARGE),
        (KeyRequest(one.instance, tuple(ContractLine(contract, n + 1) for n in range(65))), Refusal.TOO_LARGE),
        (KeyRequest(one.instance, (ContractLine(b"u" * 32, 1),)), Refusal.UNKNOWN_CONTRACT),
        (KeyRequest(one.instance, (ContractLine(contract, 2),)), Refusal.WRONG_EPOCH),
    ]:
        assert desk.refused(one, body) is expected
    for line in (item, SigningLine(contract)):
        assert desk.refused(third, KeyRequest(third.instance, (line,))) is Refusal.NOT_ASSIGNED
    assert desk.contract(other).workers
    desk.send(one, KeyRequest(one.instance, (item, SigningLine(contract))))


def test_a_channel_is_asked_for_by_the_workers_of_either_end_in_present_epochs(make_desk, new_key):
    desk = make_desk(seats=1, threshold=1)
    desk.committee("g")
    one, two, three = desk.enrol("one", "two", "three")
    source, target = (desk.deploy(new_key("alice"), ContractPolicy(workers=1), name) for name in ("a", "b"))
    holders = {desk.contract(contract).workers[0] for contract in (source, target)}
    for line in (ChannelLine(source, 1, target, 1), ChannelLine(target, 1, source, 1)):
        for worker in (one, two, three):
            request = KeyRequest(worker.instance, (line,))
            if worker.identity in holders:
                desk.send(worker, request)
            else:
                assert desk.refused(worker, request) is Refusal.NOT_ASSIGNED
    (holder, *_) = (worker for worker in (one, two, three) if worker.identity in holders)
    for line in (ChannelLine(source, 2, target, 1), ChannelLine(source, 1, target, 2)):
        assert desk.refused(holder, KeyRequest(holder.instance, (line,))) is Refusal.WRONG_EPOCH
    unknown = ChannelLine(source, 1, b"u" * 32, 1)
    assert desk.refused(holder, KeyRequest(holder.instance, (unknown,))) is Refusal.UNKNOWN_CONTRACT


def test_without_a_committee_nobody_answers(token):
    desk, worker, contract = token
    assert desk.refused(worker, KeyRequest(worker.instance, (ContractLine(contract, 1),))) is Refusal.WRONG_PHASE


def test_keys_are_released_by_seats_to_the_instance_that_asked(keying, enclave):
    desk, gatekeeper, (one, _), _ = keying
    desk.send(gatekeeper, KeyRelease(one.identity, one.instance, bytes(32), b"sealed"))
    (unseated,) = desk.enrol(enclave("other", "gatekeeper"))
    for sender, body, expected in [
        (unseated, KeyRelease(one.identity, one.instance, bytes(32), b""), Refusal.NOT_SEATED),
        (one, KeyRelease(one.identity, one.instance, bytes(32), b""), Refusal.WRONG_ROLE),
        (gatekeeper, KeyRelease(one.identity, b"i" * 32, bytes(32), b""), Refusal.SUPERSEDED),
        (gatekeeper, KeyRelease(b"w" * 32, one.instance, bytes(32), b""), Refusal.NOT_REGISTERED),
        (gatekeeper, KeyRelease(one.identity, one.instance, bytes(32), bytes(70_000)), Refusal.TOO_LARGE),
    ]:
        assert desk.refused(sender, body) is expected
    desk.block(after_s=7200)
    assert desk.refused(gatekeeper, KeyRelease(one.identity, one.instance, bytes(32), b"")) is Refusal.LEASE_LAPSED


def test_two_workers_have_to_agree(keying):
    desk, _, (one, two), contract = keying
    desk.send(one, desk.publication(one, contract))
    assert desk.contract(contract).phase == "keying"
    assert desk.refused(one, desk.publication(one, contract)) is Refusal.ALREADY_PUBLISHED
    published = desk.publication(two, contract)
    desk.send(two, published)
    record = desk.contract(contract)
    assert (record.phase, record.signing_key, record.encryption_key) == (
        "active",
        published.signing_key,
        published.encryption_key,
    )


def test_a_dispute_opens_a_new_epoch_and_suspends_both(keying):
    desk, _, (one, two), contract = keying
    desk.send(one, desk.publication(one, contract))
    desk.send(two, desk.publication(two, contract, "mallory"))
    record = desk.contract(contract)
    assert (record.phase, record.epoch, record.workers, record.publications) == ("waiting", 2, (), ())
    assert record.encryption_key == b""
    assert set(record.suspended) == {one.identity, two.identity}
    assert waiting(desk) == (contract,)
    # A third is assigned, the disputants never again, not even re-attested.
    one.boot = 1
    desk.send(one, desk.registration(one))
    (third,) = desk.enrol("three")
    assert desk.contract(contract).workers == (third.identity,)
    desk.activate(contract, third)


def test_a_late_dissenter_cannot_strand_a_state(token, new_key):
    desk, worker, contract = token
    desk.send(new_key("alice"), desk.call(contract))
    desk.send(worker, desk.result(worker, contract))
    desk.block(after_s=3600)
    (late,) = desk.enrol("late")
    assert desk.contract(contract).workers == (late.identity,)
    before = desk.contract(contract)
    desk.send(late, desk.publication(late, contract, "mallory"))
    after = desk.contract(contract)
    assert (after.phase, after.epoch, after.encryption_key) == ("active", 1, before.encryption_key)
    assert after.suspended == (late.identity,)
    assert after.workers == ()


def test_a_dispute_names_those_who_left_only_while_their_word_counts(keying):
    """The publication of a worker whose lease ended is gone before the other one publishes: no dispute."""
    desk, _, (one, two), contract = keying
    desk.send(one, desk.publication(one, contract, "mallory"))
    desk.block(after_s=1800)
    two.boot = 1
    desk.send(two, desk.registration(two))
    desk.block(after_s=1801)
    assert desk.contract(contract).workers == (two.identity,)
    desk.activate(contract, two)
    assert desk.contract(contract).suspended == ()


def test_who_disagrees_with_one_who_left_opens_a_new_epoch(token):
    """The contract was active by one worker's word, which nobody has used yet: the newcomer's word weighs as much."""
    desk, worker, contract = token
    desk.block(after_s=3600)
    (late,) = desk.enrol("late")
    desk.send(late, desk.publication(late, contract, "other"))
    record = desk.contract(contract)
    assert (record.phase, record.epoch, record.workers) == ("waiting", 2, ())
    assert set(record.suspended) == {worker.identity, late.identity}


def test_publications_follow_the_assignment(token):
    desk, worker, contract = token
    desk.block(after_s=3600)
    (late,) = desk.enrol("late")
    desk.send(late, desk.publication(late, contract))
    record = desk.contract(contract)
    assert [item.worker for item in record.publications] == [late.identity]
    assert worker.identity not in record.workers


def test_the_one_who_stays_is_enough(keying):
    desk, _, (one, two), contract = keying
    desk.send(one, desk.publication(one, contract))
    desk.block(after_s=1800)
    one.boot = 1
    desk.send(one, desk.registration(one))
    desk.block(after_s=1801)
    assert desk.registered(two).status == "lapsed"
    record = desk.contract(contract)
    assert (record.phase, record.workers) == ("active", (one.identity,))
    assert len(record.encryption_key) == 1216


def test_publications_that_do_not_fit(keying):
    desk, _, (one, _), contract = keying
    good = desk.publication(one, contract)
    for changes, expected in [
        ({"instance": b"i" * 32}, Refusal.SUPERSEDED),
        ({"contract": b"u" * 32}, Refusal.UNKNOWN_CONTRACT),
        ({"epoch": 2}, Refusal.WRONG_EPOCH),
        ({"signing_key": bytes(32)}, Refusal.MALFORMED),
        ({"encryption_key": b"\xff" * 1216}, Refusal.MALFORMED),
    ]:
        fields = {name: getattr(good, name) for name in good.__struct_fields__} | changes
        assert desk.refused(one, type(good)(**fields)) is expected
    (third,) = desk.enrol("three")
    body = desk.publication(third, contract)
    assert desk.refused(third, body) is Refusal.NOT_ASSIGNED


def test_code_that_does_not_load(keying, new_key):
    desk, _, (one, two), contract = keying
    assert desk.refused(one, RefuseCode(contract, b"i" * 32, "x")) is Refusal.SUPERSEDED
    assert desk.refused(one, RefuseCode(b"u" * 32, one.instance, "x")) is Refusal.UNKNOWN_CONTRACT
    desk.send(one, RefuseCode(contract, one.instance, "invalid syntax", 3))
    record = desk.contract(contract)
    assert (record.phase, record.refusal, record.workers) == ("refused", "line 3: invalid syntax", ())
    assert desk.record(roster_path(one.identity), Roster) is None
    assert waiting(desk) == ()
    assert desk.refused(two, RefuseCode(contract, two.instance, "x")) is Refusal.NOT_ASSIGNED
    assert desk.refused(new_key("alice"), desk.call(contract)) is Refusal.CODE_REFUSED


def test_code_that_loaded_once_is_not_refused(keying):
    desk, _, (one, two), contract = keying
    desk.send(one, desk.publication(one, contract))
    assert desk.refused(two, RefuseCode(contract, two.instance, "x")) is Refusal.ALREADY_PUBLISHED


# --- calls ---


def test_calls_form_a_chain_and_one_batch_a_block(token, new_key):
    desk, _, contract = token
    raws = desk.signed(new_key("alice"), *[desk.call(contract, bytes([n])) for n in range(3)])
    desk.block(*raws)
    ids = desk.application.recent(desk.height).ids
    record = desk.contract(contract)
    assert record.inbox_count == 3
    batch = desk.record(batch_path(contract, 1), Batch)
    assert (batch.height, batch.before, batch.entries) == (desk.height, bytes(32), ids)
    head = bytes(32)
    for index, entry in enumerate(ids, 1):
        head = inbox_head(head, index, entry, desk.height)
    assert record.inbox_head == head
    desk.send(new_key("alice"), desk.call(contract))
    later = desk.record(batch_path(contract, 4), Batch)
    assert (later.before, len(later.entries)) == (head, 1)
    assert desk.record(batch_path(contract, 1), Batch) == batch


def test_calls_that_do_not_fit(token, new_key, monkeypatch):
    desk, _, contract = token
    alice = new_key("alice")
    assert desk.refused(alice, Call(b"u" * 32, 1, b"")) is Refusal.UNKNOWN_CONTRACT
    assert desk.refused(alice, Call(contract, 2, b"")) is Refusal.WRONG_EPOCH
    assert desk.refused(alice, Call(contract, 1, bytes(MAX_SEALED_CALL + 1))) is Refusal.TOO_LARGE
    monkeypatch.setattr(calls, "MAX_INBOX_BACKLOG", 2)
    desk.send(alice, desk.call(contract), desk.call(contract))
    assert desk.refused(alice, desk.call(contract)) is Refusal.INBOX_FULL


def test_calls_that_wait_count_as_the_inbox_that_they_will_fill(token, new_key, monkeypatch):
    desk, _, contract = token
    monkeypatch.setattr(calls, "MAX_INBOX_BACKLOG", 2)
    raws = [desk.signed(new_key(name), desk.call(contract))[0] for name in ("a", "b", "c")]
    assert [desk.application.check(raw).code for raw in raws] == [0, 0, Refusal.INBOX_FULL]
    # Waiting left no trace: the block appends both, in order, as if nobody had asked before.
    assert [item.code for item in desk.block(*raws)] == [0, 0, Refusal.INBOX_FULL]


def test_a_call_before_the_keys(keying, new_key):
    desk, _, _, contract = keying
    assert desk.refused(new_key("alice"), desk.call(contract)) is Refusal.CONTRACT_NOT_ACTIVE


def test_a_batch_is_bounded(token, new_key, monkeypatch):
    desk, _, contract = token
    monkeypatch.setattr(quotas, "MAX_BATCH", 2)
    raws = [desk.signed(new_key(name), desk.call(contract))[0] for name in ("a", "b", "c")]
    assert [item.code for item in desk.block(*raws)] == [0, 0, Refusal.QUOTA]
    monkeypatch.setattr("keephold.ledger.pool.MAX_BATCH", 2)
    raws = [desk.signed(new_key(name), desk.call(contract))[0] for name in ("a", "b", "c")]
    assert list(desk.application.prepare(raws, 1 << 20)) == raws[:2]
