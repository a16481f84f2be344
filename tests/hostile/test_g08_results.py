"""G8. Whose result happens: an assigned worker's, with a live lease, in order, on the right state, agreed upon."""

from __future__ import annotations

import pytest
from ledger_desk import Desk, Enclave, key
from msgspec.structs import replace

from keephold.base.ids import PublicKey
from keephold.protocol.contracts import ContractPolicy
from keephold.protocol.offences import Dissents, dissents_path
from keephold.protocol.refusals import Refusal
from keephold.protocol.state import result_digest
from keephold.protocol.transactions import Migration, SlotWrite, SubmitMigration, SubmitResult

ALICE = key("alice")


@pytest.fixture
def quorum(desk: Desk):
    workers = desk.enrol("one", "two", "three")
    contract = desk.deploy(ALICE, ContractPolicy(workers=3, quorum=2))
    desk.activate(contract, *workers)
    desk.send(ALICE, desk.call(contract))
    return desk, workers, contract


@pytest.fixture
def called(desk: Desk):
    (worker,) = desk.enrol("worker")
    contract = desk.deploy(ALICE)
    desk.activate(contract, worker)
    desk.send(ALICE, desk.call(contract), desk.call(contract))
    return desk, worker, contract


LIES = {
    "a receipt": {"receipts": (b"a lie",)},
    "a slot": {"writes": (SlotWrite(b"a" * 32, b"a lie"),)},
    "a deleted slot": {"writes": (SlotWrite(b"a" * 32, b""),)},
}


@pytest.mark.parametrize("name", LIES)
@pytest.mark.parametrize("liar", [0, 1, 2])
def test_one_liar_of_three_is_outvoted_whenever_he_speaks_and_named_if_he_speaks_in_time(
    quorum, name: str, liar: int
) -> None:
    desk, workers, contract = quorum
    honest = {at: desk.result(worker, contract) for at, worker in enumerate(workers)}
    lie = desk.result(workers[liar], contract, **LIES[name])
    root, said = desk.contract(contract).state_root, {}
    for at, worker in enumerate(workers):
        body = lie if at == liar else honest[at]
        if desk.contract(contract).done:
            assert desk.refused(worker, body) is Refusal.OUT_OF_ORDER  # too late to count, and to do any harm
            continue
        said[at] = desk.send(worker, body)
        votes = {vote.worker: vote.digest for vote in desk.contract(contract).votes}
        if at == liar and votes:
            assert votes[worker.identity] == result_digest(lie.result) != result_digest(honest[0].result)
    # (1) Outvoted.
    record = desk.contract(contract)
    assert (record.done, record.version, record.state_root) == (1, 1, root)
    # (2) Named: what he said and what the others said can be fetched and compared by anybody, (3) and sent away.
    honest_ones = {worker.identity for at, worker in enumerate(workers) if at != liar}
    assert all(not dissents(desk, identity).count for identity in honest_ones)
    if liar == 2:
        assert (record.suspended, dissents(desk, workers[2].identity).count) == ((), 0)
        return
    (named,) = dissents(desk, workers[liar].identity).newest
    assert (named.contract, named.kind, named.version) == (contract, "result", 0)
    assert (named.vote, named.accepted) == (said[liar], said[2])
    assert (named.registration, named.height) == (desk.registered(workers[liar]).transaction, desk.height)
    assert record.suspended == (workers[liar].identity,)
    assert set(record.workers) == honest_ones
    assert workers[liar].identity in record.departed


def dissents(desk: Desk, identity: bytes) -> Dissents:
    return desk.record(dissents_path(PublicKey(identity)), Dissents) or Dissents()


def test_who_was_outvoted_votes_on_this_contract_no_more_and_another_takes_his_place(quorum) -> None:
    desk, (one, two, three), contract = quorum
    elsewhere = desk.deploy(ALICE, ContractPolicy(workers=3, quorum=2))
    desk.send(one, desk.result(one, contract, receipts=(b"a lie",)))
    desk.send(two, desk.result(two, contract))
    desk.send(three, desk.result(three, contract))
    desk.send(ALICE, desk.call(contract))
    assert desk.refused(one, desk.result(one, contract)) is Refusal.NOT_ASSIGNED
    # A new boot of the same identity is the same liar; (1) of other contracts he was not dismissed.
    renewed = Enclave("one", boot=1)
    desk.send(renewed, desk.registration(renewed))
    assert one.identity not in desk.contract(contract).workers
    assert one.identity in desk.contract(elsewhere).workers
    # (2) The two that are left are a quorum; (3) the next one that comes completes it.
    desk.send(two, desk.result(two, contract))
    desk.send(three, desk.result(three, contract))
    assert desk.contract(contract).done == 2
    (four,) = desk.enrol("four")
    assert set(desk.contract(contract).workers) == {two.identity, three.identity, four.identity}


def test_two_outvoted_in_one_vote_are_both_named(desk: Desk) -> None:
    workers = desk.enrol(*(f"w{n}" for n in range(5)))
    contract = desk.deploy(ALICE, ContractPolicy(workers=5, quorum=3))
    desk.activate(contract, *workers)
    desk.send(ALICE, desk.call(contract))
    for at in (0, 1):
        desk.send(workers[at], desk.result(workers[at], contract, receipts=(b"lie %d" % at,)))
    bodies = {at: desk.result(workers[at], contract) for at in (2, 3, 4)}
    for at, body in bodies.items():
        desk.send(workers[at], body)
    record = desk.contract(contract)
    assert record.suspended == (workers[0].identity, workers[1].identity)
    assert [dissents(desk, worker.identity).count for worker in workers] == [1, 1, 0, 0, 0]
    assert len(record.workers) == 3


def test_nobody_gets_an_honest_worker_named_without_a_quorum(quorum) -> None:
    """One liar's vote beside one honest vote says nothing about either."""
    desk, (one, two, _), contract = quorum
    desk.send(one, desk.result(one, contract, receipts=(b"a lie",)))
    desk.send(two, desk.result(two, contract))
    assert [dissents(desk, worker.identity).count for worker in (one, two)] == [0, 0]
    assert desk.contract(contract).suspended == ()


def test_two_liars_that_differ_do_not_make_a_quorum(quorum) -> None:
    desk, (one, two, _), contract = quorum
    desk.send(one, desk.result(one, contract, receipts=(b"a lie",)))
    desk.send(two, desk.result(two, contract, receipts=(b"another",)))
    assert desk.contract(contract).done == 0


def test_a_result_happens_once_and_a_worker_votes_once(quorum, called) -> None:
    desk, worker, contract = called
    body = desk.result(worker, contract)
    desk.send(worker, body)
    assert desk.refused(worker, body) is Refusal.OUT_OF_ORDER
    desk, (one, two, _), contract = quorum
    honest = desk.result(one, contract)
    desk.send(one, honest)
    for again in (honest, desk.result(one, contract, receipts=(b"another",))):
        assert desk.refused(one, again) is Refusal.ALREADY_VOTED
    assert desk.contract(contract).done == 0
    desk.send(two, replace(honest, instance=two.instance))
    assert desk.contract(contract).done == 1


def test_nobody_but_the_assigned_worker_is_heard(called) -> None:
    """Another enclave of the same build, attested as well, says exactly the same, in its own name or the worker's."""
    desk, worker, contract = called
    (other,) = desk.enrol("other")
    body = desk.result(worker, contract)
    assert desk.refused(other, replace(body, instance=other.instance)) is Refusal.NOT_ASSIGNED
    assert desk.refused(other, body) is Refusal.SUPERSEDED
    assert desk.refused(ALICE, body) is Refusal.NOT_REGISTERED
    assert desk.contract(contract).done == 0


def test_a_result_on_another_state_is_refused_whatever_it_would_lead_to(called) -> None:
    desk, worker, contract = called
    desk.send(worker, desk.result(worker, contract, writes=(SlotWrite(b"a" * 32, b"one"),)))
    record = desk.contract(contract)
    for version, root in ((0, bytes(32)), (0, record.state_root), (1, bytes(32)), (2, record.state_root)):
        wrong = desk.result(worker, contract, version=version, pre_root=root, root=record.state_root)
        assert desk.refused(worker, wrong) is Refusal.WRONG_PRE_STATE
    desk.send(worker, desk.result(worker, contract))
    assert desk.contract(contract).done == 2


def test_a_lapsed_worker_has_no_vote(called) -> None:
    desk, worker, contract = called
    body = desk.result(worker, contract)
    (outcome,) = desk.block(*desk.signed(worker.keys.signing, body), after_s=3601)
    assert (Refusal(outcome.code), desk.contract(contract).done) == (Refusal.LEASE_LAPSED, 0)


def test_an_older_instance_has_no_vote_and_lends_its_name_to_none(called) -> None:
    desk, worker, contract = called
    old = desk.result(worker, contract)
    renewed = Enclave("worker", boot=1)
    desk.send(renewed, desk.registration(renewed))
    assert desk.refused(worker, old) is Refusal.SUPERSEDED
    assert desk.refused(key("eve"), SubmitResult(renewed.instance, old.result)) is Refusal.NOT_REGISTERED


def test_a_result_of_a_gatekeeper_is_nobodys(called) -> None:
    desk, worker, contract = called
    (gatekeeper,) = desk.enrol(Enclave("g", "gatekeeper"))
    desk.block()  # a ceremony opens
    body = replace(desk.result(worker, contract), instance=gatekeeper.instance)
    assert desk.refused(gatekeeper, body) is Refusal.WRONG_ROLE


def test_a_later_result_does_not_happen_before_an_earlier_one(called) -> None:
    desk, worker, contract = called
    first = desk.result(worker, contract)
    record = desk.contract(contract)
    second = desk.result(worker, contract, first=2, version=1, head=record.inbox_head)
    codes = [item.code for item in desk.block(*desk.signed(worker.keys.signing, second, first))]
    assert (codes, desk.contract(contract).done) == ([Refusal.OUT_OF_ORDER, Refusal.BAD_NONCE], 0)
    assert desk.refused(worker, second) is Refusal.OUT_OF_ORDER
    desk.send(worker, first, second)
    assert desk.contract(contract).done == 2


def test_a_batch_is_not_passed_over(called) -> None:
    """On the present state, under the right head, of a batch that is there: only not the next one."""
    desk, worker, contract = called
    desk.send(ALICE, desk.call(contract))
    ahead = desk.result(worker, contract, first=3, head=desk.contract(contract).inbox_head)
    assert desk.refused(worker, ahead) is Refusal.OUT_OF_ORDER
    assert desk.contract(contract).done == 0


def test_a_migration_nobody_announced_is_refused(called) -> None:
    desk, worker, contract = called
    record = desk.contract(contract)
    page = Migration(
        contract=contract,
        from_epoch=1,
        to_epoch=2,
        version=record.version,
        pre_root=record.state_root,
        root=record.state_root,
        after=bytes(32),
        until=bytes(32),
        is_last=True,
        writes=(),
    )
    assert desk.refused(worker, SubmitMigration(worker.instance, page)) is Refusal.NOT_ROTATING
