"""Who may hold keys and is excluded ends the key epoch: at once, later, or as soon as the next one begins."""

from __future__ import annotations

import pytest
from msgspec.structs import replace
from rotation_scene import page, publish

from keephold.ledger.rules import assignments, rotation
from keephold.protocol.contracts import ContractPolicy
from keephold.protocol.governance import RevokeIdentity, SetAttestation
from keephold.protocol.refusals import Refusal
from keephold.protocol.state import Departures, Due, Roster, departed_path, departures_path, due_path
from keephold.protocol.transactions import RefuseCode, Rotate


def revoke(desk, new_key, worker):
    desk.send(new_key("anyone"), desk.govern(RevokeIdentity(worker.identity)))


def departed(desk, worker):
    return (desk.record(departed_path(worker.identity), Roster) or Roster()).contracts


def test_revoked_shut_out_at_once(stateful, new_key):
    desk, worker, contract = stateful
    (other,) = desk.enrol("other")
    revoke(desk, new_key, worker)
    record = desk.contract(contract)
    assert (record.phase, record.workers, record.rotation[0].to_epoch) == ("rotating", (other.identity,), 2)
    assert (record.departed, departed(desk, worker)) == ((), ())
    assert desk.refused(worker, publish(desk, worker, contract)) is Refusal.REVOKED
    assert desk.refused(worker, page(desk, worker, contract)) is Refusal.REVOKED
    desk.send(other, publish(desk, other, contract))
    desk.send(other, page(desk, other, contract))
    assert desk.contract(contract).epoch == 2


def test_lapsed_is_no_exclusion_but_revoked_later_is(stateful, new_key):
    desk, worker, contract = stateful
    desk.block(after_s=3600)
    record = desk.contract(contract)
    assert (record.phase, record.workers, record.departed) == ("active", (), (worker.identity,))
    assert departed(desk, worker) == (contract,)
    assert desk.record(departures_path(), Departures) == Departures((worker.identity,))
    desk.enrol("other")
    revoke(desk, new_key, worker)
    assert desk.contract(contract).phase == "rotating"
    assert desk.record(departures_path(), Departures) is None


def test_who_left_before_the_last_change_of_epoch_touches_nothing(stateful, new_key):
    desk, worker, contract = stateful
    desk.block(after_s=3600)
    (other,) = desk.enrol("other")
    desk.send(new_key("alice"), Rotate(contract))
    assert departed(desk, worker) == ()
    desk.send(other, publish(desk, other, contract))
    desk.send(other, page(desk, other, contract))
    revoke(desk, new_key, worker)
    record = desk.contract(contract)
    assert (record.phase, record.epoch) == ("active", 2)


def test_demoted_shut_out_where_it_is_not_good_enough(desk, new_key, enclave):
    (worker,) = desk.enrol("w")
    strict = desk.deploy(new_key("alice"), ContractPolicy(level=1), "strict")
    lax = desk.deploy(new_key("alice"), ContractPolicy(level=5), "lax")
    desk.activate(strict, worker)
    desk.activate(lax, worker)
    demoted = enclave("w", boot=1, status="OutOfDate")
    desk.send(demoted, desk.registration(demoted))
    assert (desk.contract(strict).phase, desk.contract(strict).workers) == ("rotating", ())
    assert (desk.contract(lax).phase, desk.contract(lax).workers) == ("active", (worker.identity,))


def test_demoted_after_it_left(desk, new_key, enclave):
    (worker,) = desk.enrol("w")
    contract = desk.deploy(new_key("alice"), ContractPolicy(level=1))
    desk.activate(contract, worker)
    desk.block(after_s=3600)
    assert desk.contract(contract).phase == "active"
    demoted = enclave("w", boot=1, status="OutOfDate")
    desk.send(demoted, desk.registration(demoted))
    assert desk.contract(contract).phase == "rotating"


@pytest.mark.parametrize("has_left", [False, True])
def test_delisted_shut_out_even_if_it_left_before(stateful, new_key, has_left):
    desk, _, contract = stateful
    if has_left:
        desk.block(after_s=3600)
        assert desk.contract(contract).phase == "active"
    policy = replace(desk.genesis.law.attestation, measurements=())
    desk.send(new_key("anyone"), desk.govern(SetAttestation(policy)))
    desk.block()
    assert desk.contract(contract).phase == "rotating"


def test_an_epoch_under_which_nothing_is_sealed_ends_at_once(desk, new_key):
    workers = desk.enrol("1", "2")
    contract = desk.deploy(new_key("alice"), ContractPolicy(workers=2))
    desk.send(workers[0], desk.publication(workers[0], contract))
    revoke(desk, new_key, workers[0])
    record = desk.contract(contract)
    assert (record.phase, record.epoch, record.publications) == ("keying", 2, ())


def test_excluded_while_it_rotates_the_epoch_on_its_way_in_is_given_up(two_workers, new_key):
    desk, (one, two), contract = two_workers
    desk.send(one, publish(desk, one, contract))
    desk.send(two, publish(desk, two, contract))
    revoke(desk, new_key, one)
    record = desk.contract(contract)
    assert (record.epoch, record.rotation[0].to_epoch, record.rotation[0].publications) == (1, 3, ())
    desk.send(two, publish(desk, two, contract))
    desk.send(two, page(desk, two, contract))
    assert desk.contract(contract).epoch == 3


def test_excluded_after_the_first_page_the_next_epoch_ends_as_soon_as_it_begins(two_workers, new_key, monkeypatch):
    desk, (one, two), contract = two_workers
    monkeypatch.setattr("keephold.protocol.rotation.MAX_WRITES", 1)
    desk.send(one, publish(desk, one, contract))
    desk.send(two, publish(desk, two, contract))
    desk.send(one, page(desk, one, contract))
    revoke(desk, new_key, one)
    record = desk.contract(contract)
    assert (record.rotation[0].to_epoch, record.rotation[0].again) == (2, True)
    desk.send(two, page(desk, two, contract, writes=()))
    record = desk.contract(contract)
    assert (record.phase, record.epoch, record.rotation[0].to_epoch) == ("rotating", 2, 3)
    assert not record.rotation[0].again


def test_a_block_ends_a_bounded_number_of_epochs_the_next_ones_the_others(desk, new_key, monkeypatch):
    monkeypatch.setattr(rotation, "MAX_ROTATIONS", 2)
    (worker,) = desk.enrol("w")
    contracts = [desk.deploy(new_key("alice"), source=str(n)) for n in range(5)]
    for contract in contracts:
        desk.activate(contract, worker)
    revoke(desk, new_key, worker)
    phases = [sum(desk.contract(contract).phase == "rotating" for contract in contracts)]
    while desk.record(due_path(), Due) is not None:
        desk.block()
        phases.append(sum(desk.contract(contract).phase == "rotating" for contract in contracts))
    assert phases == [2, 4, 5]


def test_too_many_departures_end_an_epoch(stateful, monkeypatch):
    desk, _, contract = stateful
    monkeypatch.setattr(assignments, "MAX_DEPARTED", 2)
    desk.block(after_s=3600)
    desk.enrol("second")
    assert desk.contract(contract).phase == "active"
    desk.block(after_s=3600)
    record = desk.contract(contract)
    assert (record.phase, record.departed) == ("rotating", ())


def test_a_refused_contract_has_no_epoch_to_end(desk, new_key):
    (worker,) = desk.enrol("w")
    contract = desk.deploy(new_key("alice"))
    desk.send(worker, RefuseCode(contract, worker.instance, "no"))
    before = desk.contract(contract)
    revoke(desk, new_key, worker)
    assert desk.contract(contract) == replace(before, departed=())
