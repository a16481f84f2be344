from __future__ import annotations

import pytest

from keephold.ledger.rules import roll
from keephold.protocol.contracts import ContractPolicy
from keephold.protocol.evidence import AttestationPolicy, Evidence
from keephold.protocol.governance import RevokeIdentity, SetAttestation
from keephold.protocol.lines import ContractLine
from keephold.protocol.refusals import Refusal
from keephold.protocol.state import CommitteeRecord, Roll, Roster, committee_path, roll_path, roster_path
from keephold.protocol.transactions import Echo, KeyRequest, Vouch
from keephold.testing.vendor import SgxBuild

HOUR = 3600


@pytest.fixture
def ready(desk, new_key):
    desk.block()
    desk.send(new_key("anyone"), desk.collateral())
    return desk


def test_registered(ready, enclave):
    worker = enclave("w")
    identity = ready.send(worker, ready.registration(worker))
    record = ready.registered(worker)
    assert (record.role, record.level, record.instance, record.transaction) == ("worker", 1, worker.instance, identity)
    assert record.lease_ns == ready.time_ns + HOUR * 10**9
    assert [entry.identity for entry in ready.record(roll_path("worker"), Roll).entries] == [worker.identity]


def test_no_such_role(ready, enclave):
    worker = enclave("w")
    assert ready.refused(worker, ready.registration(worker, role="validator")) is Refusal.WRONG_ROLE


def test_a_revoked_identity_registers_no_more(ready, enclave, new_key):
    worker = enclave("w")
    ready.send(new_key("anyone"), ready.govern(RevokeIdentity(worker.identity)))
    assert ready.refused(worker, ready.registration(worker)) is Refusal.REVOKED


@pytest.mark.parametrize("signer", ["mallory", ""])
def test_an_operator_who_did_not_sign(ready, enclave, new_key, signer):
    worker = enclave("w")
    body = ready.registration(worker)
    signature = ready.registration(enclave("w", operator=signer)).operator_signature if signer else bytes(64)
    changed = ready.registration(worker, operator_signature=signature)
    assert body.operator == changed.operator
    assert ready.refused(worker, changed) is Refusal.OPERATOR_UNPROVEN


def test_an_operators_signature_for_another_role(ready, enclave):
    worker, gatekeeper = enclave("w"), enclave("w", "gatekeeper")
    signature = ready.registration(gatekeeper).operator_signature
    changed = ready.registration(worker, operator_signature=signature)
    assert ready.refused(worker, changed) is Refusal.OPERATOR_UNPROVEN


@pytest.mark.parametrize("height", [1000, 3])
def test_an_anchor_that_is_no_block_of_this_chain(ready, enclave, height):
    worker = enclave("w")
    # 3 is the height of the block that carries it: nobody can have seen its hash.
    assert ready.refused(worker, ready.registration(worker, anchor=height)) is Refusal.ANCHOR


def test_an_anchor_with_another_hash(ready, enclave):
    worker = enclave("w")
    assert ready.refused(worker, ready.registration(worker, anchor_hash=b"h" * 32)) is Refusal.ANCHOR


def test_an_anchor_older_than_the_window(ready, enclave):
    worker = enclave("w")
    body = ready.registration(worker)
    ready.block(after_s=HOUR)
    assert ready.refused(worker, body) is Refusal.ANCHOR


def test_no_collateral_for_the_platform(desk, enclave):
    desk.block()
    worker = enclave("w")
    assert desk.refused(worker, desk.registration(worker)) is Refusal.ATTESTATION


def test_evidence_that_binds_something_else(ready, enclave):
    worker, other = enclave("w"), enclave("other")
    changed = ready.registration(worker, encryption_key=other.keys.encryption.public)
    assert ready.refused(worker, changed) is Refusal.ATTESTATION
    assert ready.refused(worker, ready.registration(worker, instance=b"i" * 32)) is Refusal.ATTESTATION
    assert ready.refused(other, ready.registration(worker)) in {Refusal.ATTESTATION, Refusal.OPERATOR_UNPROVEN}


def test_evidence_that_is_none(ready, enclave):
    worker = enclave("w")
    changed = ready.registration(worker, evidence=Evidence(ready.vendor.name, b"quote"))
    assert ready.refused(worker, changed) is Refusal.ATTESTATION


def test_code_that_is_not_allowed(ready, enclave):
    worker = enclave("w")
    body = ready.registration(worker, build=SgxBuild.named("another"))
    assert ready.refused(worker, body) is Refusal.ATTESTATION


def test_a_gatekeeper_of_low_level(ready, enclave):
    gatekeeper = enclave("g", "gatekeeper", status="OutOfDate")
    assert ready.refused(gatekeeper, ready.registration(gatekeeper)) is Refusal.ATTESTATION


def test_one_instance_registers_once(ready, enclave):
    worker = enclave("w")
    ready.send(worker, ready.registration(worker))
    assert ready.refused(worker, ready.registration(worker)) is Refusal.SUPERSEDED


def test_a_newer_instance_ends_the_older(token, new_key):
    desk, worker, contract = token
    desk.send(new_key("alice"), desk.call(contract))
    old = desk.result(worker, contract)
    worker.boot = 1
    desk.send(worker, desk.registration(worker))
    assert desk.contract(contract).workers == (worker.identity,)
    assert desk.refused(worker, old) is Refusal.SUPERSEDED
    desk.send(worker, desk.result(worker, contract))


def test_a_lease_ends_and_its_contracts_go_to_others(desk, new_key):
    first, second = desk.enrol("first", "second")
    contract = desk.deploy(new_key("alice"))
    (assigned,) = desk.contract(contract).workers
    runner, other = (first, second) if assigned == first.identity else (second, first)
    desk.block(after_s=HOUR / 2)
    other.boot = 1
    desk.send(other, desk.registration(other))
    desk.block(after_s=HOUR / 2)
    assert desk.registered(runner).status == "lapsed"
    assert desk.contract(contract).workers == (other.identity,)
    assert desk.record(roster_path(runner.identity), Roster) is None
    assert [entry.identity for entry in desk.record(roll_path("worker"), Roll).entries] == [other.identity]
    assert desk.refused(runner, KeyRequest(runner.instance, ())) is Refusal.LEASE_LAPSED


def test_a_lapsed_worker_attests_again(desk, new_key):
    (worker,) = desk.enrol("w")
    contract = desk.deploy(new_key("alice"))
    desk.block(after_s=2 * HOUR)
    assert desk.contract(contract).phase == "waiting"
    worker.boot = 1
    desk.send(worker, desk.registration(worker))
    assert desk.contract(contract).phase == "keying"


def test_a_lease_that_waits_to_be_noted_counts_as_lapsed(desk, monkeypatch):
    workers = desk.enrol("a", "b", "c")
    desk.block(after_s=2 * HOUR)
    monkeypatch.setattr(roll, "MAX_LAPSES", 0)
    assert {desk.registered(worker).status for worker in workers} == {"lapsed"}
    again = desk.enrol(*[type(workers[0])(name, boot=1) for name in "abc"])
    desk.block(after_s=2 * HOUR)
    assert {desk.registered(worker).status for worker in again} == {"live"}
    assert desk.refused(again[0], KeyRequest(again[0].instance, ())) is Refusal.LEASE_LAPSED
    monkeypatch.setattr(roll, "MAX_LAPSES", 2)
    desk.block()
    desk.block()
    assert {desk.registered(worker).status for worker in again} == {"lapsed"}


def test_a_worker_of_lower_level_loses_what_it_may_not_run(desk, new_key, enclave):
    worker, _ = desk.enrol("w", enclave("other", status="OutOfDate"))
    strict = desk.deploy(new_key("alice"), ContractPolicy(level=1))
    loose = desk.deploy(new_key("alice"), ContractPolicy(level=5, workers=2))
    desk.send(worker, desk.publication(worker, loose))
    demoted = enclave("w", status="OutOfDate", boot=1)
    desk.send(demoted, desk.registration(demoted))
    assert desk.contract(strict).workers == ()
    assert worker.identity in desk.contract(loose).workers
    assert [item.worker for item in desk.contract(loose).publications] == [worker.identity]
    assert desk.record(roster_path(worker.identity), Roster).contracts == (loose,)


def test_a_revoked_worker_is_out_at_once(token, new_key):
    desk, worker, contract = token
    (other,) = desk.enrol("other")
    desk.send(new_key("anyone"), desk.govern(RevokeIdentity(worker.identity)))
    assert desk.registered(worker).status == "revoked"
    assert desk.contract(contract).workers == (other.identity,)
    assert desk.refused(worker, KeyRequest(worker.instance, ())) is Refusal.REVOKED


def test_a_lapsed_worker_can_be_revoked(desk, new_key):
    (worker,) = desk.enrol("w")
    desk.block(after_s=2 * HOUR)
    desk.send(new_key("anyone"), desk.govern(RevokeIdentity(worker.identity)))
    assert desk.registered(worker).status == "revoked"


def test_delisted_code_is_out_when_its_time_ends(desk, new_key):
    worker, gatekeeper = desk.enrol("w", type(desk.enrol("x")[0])("g", "gatekeeper"))
    policy = desk.application.map.newest.law.attestation
    end = desk.time_ns + 100 * 10**9
    listed = tuple(
        type(entry)(entry.measurement, entry.role, 0, end) if entry.role == "worker" else entry
        for entry in policy.measurements
    )
    changed = AttestationPolicy(policy.vendors, listed, policy.quote_window_ns)
    desk.send(new_key("anyone"), desk.govern(SetAttestation(changed)))
    assert desk.registered(worker).status == "live"
    desk.block(after_s=101)
    assert desk.registered(worker).status == "lapsed"
    assert desk.registered(gatekeeper).status == "live"
    desk.block()
    assert desk.registered(worker).lease_ns > desk.time_ns
    assert desk.refused(worker, KeyRequest(worker.instance, ())) is Refusal.LEASE_LAPSED


def test_a_seat_takes_no_other_role(desk, enclave):
    (gatekeeper,) = desk.committee("g")
    turncoat = enclave("g", "worker", boot=1)
    assert desk.refused(turncoat, desk.registration(turncoat)) is Refusal.SEATED
    gatekeeper.boot = 2
    desk.send(gatekeeper, desk.registration(gatekeeper))


@pytest.mark.parametrize("shared", ["operator", "machine"])
def test_seats_stay_independent(make_desk, enclave, shared):
    desk = make_desk(seats=2, threshold=1)
    desk.committee("one", "two")
    moved = enclave("two", "gatekeeper", boot=1, **{shared: getattr(enclave("one"), shared)})
    assert desk.refused(moved, desk.registration(moved)) is Refusal.SEATED


def test_a_worker_becomes_a_gatekeeper_and_loses_its_contracts(make_desk, new_key, enclave):
    desk = make_desk(seats=2, threshold=1)
    (worker,) = desk.enrol("w")
    contract = desk.deploy(new_key("alice"))
    changed = enclave("w", "gatekeeper", boot=1)
    desk.send(changed, desk.registration(changed))
    assert desk.contract(contract).workers == ()
    assert desk.record(roll_path("worker"), Roll) is None
    assert desk.refused(worker, KeyRequest(changed.instance, (ContractLine(contract, 1),))) is Refusal.WRONG_ROLE


def test_unregistered(desk, enclave):
    stranger = enclave("stranger")
    assert desk.refused(stranger, KeyRequest(stranger.instance, ())) is Refusal.NOT_REGISTERED


def test_echoes_are_ordered_for_anyone_vouches_for_seats(desk, enclave, new_key):
    desk.send(new_key("anyone"), Echo(b"n" * 32))
    (gatekeeper,) = desk.committee("g")
    desk.send(gatekeeper, Vouch(gatekeeper.identity, b"n" * 32, 1, desk.hash_at(1)))
    assert desk.refused(gatekeeper, Vouch(b"t" * 32, bytes(32), 1, bytes(32))) is Refusal.NOT_SEATED
    (other,) = desk.enrol(enclave("other", "gatekeeper"))
    assert desk.refused(other, Vouch(gatekeeper.identity, bytes(32), 1, bytes(32))) is Refusal.NOT_SEATED
    assert desk.refused(new_key("x"), Vouch(b"t" * 32, bytes(32), 1, bytes(32))) is Refusal.NOT_REGISTERED
    assert desk.record(committee_path(), CommitteeRecord).phase == "ready"
