"""G8. Whose result happens: an assigned worker's, with a live lease, in order, on the right state, agreed upon."""

from __future__ import annotations

import pytest
from hostile_desk import Desk, Enclave, key
from msgspec.structs import replace

from keephold.protocol.contracts import ContractPolicy
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
def test_one_liar_of_three_is_outvoted_whenever_he_speaks_and_his_vote_stands_beside_his_name(
    quorum, name: str, liar: int
) -> None:
    desk, workers, contract = quorum
    honest = {at: desk.result(worker, contract) for at, worker in enumerate(workers)}
    lie = desk.result(workers[liar], contract, **LIES[name])
    root = desk.contract(contract).state_root
    spoken = []
    for at, worker in enumerate(workers):
        if desk.contract(contract).done:
            break
        body = lie if at == liar else honest[at]
        desk.send(worker, body)
        spoken.append(at)
        votes = {vote.worker: vote.digest for vote in desk.contract(contract).votes}
        if at == liar and votes:
            assert votes[worker.identity] == result_digest(lie.result) != result_digest(honest[0].result)
    record = desk.contract(contract)
    assert (record.done, record.version, record.state_root) == (1, 1, root)
    assert len(spoken) == (2 if liar == 2 else 3)


def test_two_liars_that_differ_do_not_make_a_quorum(quorum) -> None:
    desk, (one, two, _), contract = quorum
    desk.send(one, desk.result(one, contract, receipts=(b"a lie",)))
    desk.send(two, desk.result(two, contract, receipts=(b"another",)))
    assert desk.contract(contract).done == 0


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
