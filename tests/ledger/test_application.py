from __future__ import annotations

from keephold.chain import merkle
from keephold.protocol.lines import ContractLine
from keephold.protocol.state import CommitteeRecord, committee_path, receipt_leaf
from keephold.protocol.transactions import Echo, KeyRelease, KeyRequest


def test_a_contract_from_deployment_to_receipt(make_desk, new_key):
    desk = make_desk(seats=3, threshold=2)
    gatekeepers = desk.committee("g1", "g2", "g3")
    assert desk.record(committee_path(), CommitteeRecord).phase == "ready"
    alice = new_key("alice")
    contract = desk.deploy(alice)
    assert desk.contract(contract).phase == "waiting"
    (worker,) = desk.enrol("worker")
    assert desk.contract(contract).workers == (worker.identity,)
    assert desk.contract(contract).phase == "keying"
    request = desk.send(worker, KeyRequest(worker.instance, (ContractLine(contract, 1),)))
    for gatekeeper in gatekeepers:
        desk.send(gatekeeper, KeyRelease(worker.identity, worker.instance, request, b"partials"))
    desk.activate(contract, worker)
    calls = desk.signed(alice, desk.call(contract, b"one"), desk.call(contract, b"two"))
    assert [item.code for item in desk.block(*calls)] == [0, 0]
    submission = desk.result(worker, contract, 2)
    (outcome,) = desk.block(*desk.signed(worker.keys.signing, submission))
    assert outcome.code == 0
    ids = [desk.application.recent(desk.height - 1).ids[at] for at in (0, 1)]
    leaves = [receipt_leaf(contract, at + 1, ids[at], submission.result.receipts[at]) for at in (0, 1)]
    assert outcome.data == merkle.root(leaves)
    assert desk.contract(contract).done == 2


def test_what_is_deleted_is_not_remembered(make_desk, new_key):
    desk = make_desk(seats=3, threshold=2)
    desk.committee("g1", "g2", "g3")
    (worker,) = desk.enrol("worker")
    alice = new_key("alice")
    contract = desk.deploy(alice)
    desk.activate(contract, worker)
    remembered = set()
    for _ in range(4):
        desk.send(alice, desk.call(contract))
        desk.send(worker, desk.result(worker, contract, 1))
        remembered.add(len(desk.application.map.newest.cache._entries))
    assert len(remembered) == 1


def test_an_idle_chain_rests(desk):
    before = desk.root
    for _ in range(5):
        desk.block()
    assert desk.root == before


def test_the_same_bytes_again_say_where_they_stand(desk, new_key):
    (raw,) = desk.signed(new_key("alice"), Echo(bytes(32)))
    assert desk.application.check(raw).code == 0
    desk.block(raw)
    desk.application.recheck(())
    again = desk.application.check(raw)
    assert (again.code, again.height) == (0, desk.height)
