from __future__ import annotations

import pytest
from msgspec.structs import replace

from keephold.custody.public import transcript
from keephold.ledger.rules import roll
from keephold.protocol.amendments import replay, verified
from keephold.protocol.custody import DkgKeys, DkgVerdict, RoundState
from keephold.protocol.governance import (
    CommitteeRules,
    Enacted,
    GovernanceRecord,
    GovernanceRules,
    RevokeIdentity,
    SetAttestation,
    SetCommittee,
    SetGovernance,
    SetValidators,
    ValidatorEntry,
)
from keephold.protocol.refusals import Refusal
from keephold.protocol.state import (
    CollateralRecord,
    CommitteeRecord,
    collateral_path,
    committee_path,
    governance_path,
    round_path,
)


def committee(desk):
    return desk.record(committee_path(), CommitteeRecord) or CommitteeRecord()


def ceremony(desk):
    state = desk.record(round_path(committee(desk).round), RoundState)
    assert isinstance(state, RoundState)
    return state


def gatekeepers(desk, enclave, *names, **options):
    return desk.enrol(*(enclave(name, "gatekeeper", **options) for name in names))


# --- the committee ---


def test_a_generation_opens_once_enough_are_live(make_desk, enclave):
    desk = make_desk(seats=3, threshold=2)
    gatekeepers(desk, enclave, "a", "b")
    desk.block()
    assert committee(desk).phase == "forming"
    gatekeepers(desk, enclave, "c")
    desk.block()
    assert (committee(desk).phase, committee(desk).round, len(committee(desk).members)) == ("generating", 1, 3)


@pytest.mark.parametrize("shared", ["operator", "machine"])
def test_seats_are_of_independent_gatekeepers(make_desk, enclave, shared):
    desk = make_desk(seats=2, threshold=1)
    gatekeepers(desk, enclave, "a", "b", **{shared: "same"})
    desk.block()
    assert committee(desk).phase == "forming"
    gatekeepers(desk, enclave, "c")
    desk.block()
    assert committee(desk).phase == "generating"


@pytest.mark.parametrize("noted", [16, 0])
def test_who_lapsed_is_not_seated(make_desk, enclave, monkeypatch, noted):
    monkeypatch.setattr(roll, "MAX_LAPSES", noted)
    desk = make_desk(seats=2, threshold=1)
    gatekeepers(desk, enclave, "a")
    desk.block(after_s=3600)
    gatekeepers(desk, enclave, "b")
    desk.block()
    assert committee(desk).phase == "forming"


def test_the_level_of_a_seat_is_the_laws_at_the_time_of_seating(make_desk, enclave, new_key):
    desk = make_desk(seats=2, threshold=1)
    gatekeepers(desk, enclave, "weak", status="SWHardeningNeeded")
    policy = replace(desk.application.map.newest.law.attestation, gatekeeper_max_level=1)
    desk.send(new_key("anyone"), desk.govern(SetAttestation(policy)))
    gatekeepers(desk, enclave, "b")
    desk.block()
    assert committee(desk).phase == "forming"


def test_a_whole_generation(make_desk):
    desk = make_desk(seats=3, threshold=2)
    desk.committee("a", "b", "c")
    record = committee(desk)
    assert (record.phase, len(record.members), len(record.keys)) == ("ready", 3, 1)
    assert record.keys == (transcript.outcome(ceremony(desk)),)
    desk.block(after_s=1000)
    assert committee(desk) == record


def test_messages_that_do_not_fit(make_desk, enclave):
    desk = make_desk(seats=2, threshold=1)
    (one,) = gatekeepers(desk, enclave, "one")
    keys = DkgKeys(1, (one.keys.encryption.public,) * 2)
    assert desk.refused(one, keys) is Refusal.WRONG_PHASE
    two, three = gatekeepers(desk, enclave, "two", "three")
    desk.block()
    assert desk.refused(three, keys) is Refusal.NOT_SEATED
    assert desk.refused(one, DkgKeys(2, keys.keys)) is Refusal.WRONG_ROUND
    assert desk.refused(one, DkgVerdict(1)) is Refusal.WRONG_PHASE
    assert desk.refused(one, DkgKeys(1, keys.keys[:1])) is Refusal.DEALING_REFUSED
    desk.send(one, keys)
    assert desk.refused(one, keys) is Refusal.WRONG_PHASE
    desk.send(two, keys)
    assert ceremony(desk).phase == "dealing"


def test_a_member_whose_lease_ended_is_not_heard(make_desk, enclave, new_key):
    desk = make_desk(seats=2, threshold=1)
    one, _ = gatekeepers(desk, enclave, "one", "two")
    desk.block()
    desk.send(new_key("anyone"), desk.govern(RevokeIdentity(one.identity)))
    assert desk.refused(one, DkgKeys(1, (one.keys.encryption.public,) * 2)) is Refusal.REVOKED


def test_a_generation_that_failed_is_tried_again_without_the_silent(make_desk, enclave):
    desk = make_desk(seats=3, threshold=2)
    everyone = gatekeepers(desk, enclave, "one", "two", "three")
    desk.block()
    first = committee(desk)
    others = gatekeepers(desk, enclave, "four", "five")
    present = everyone[0]
    assert present.identity in first.members
    desk.send(present, DkgKeys(1, (present.keys.encryption.public,) * 3))
    desk.block(after_s=61)
    assert committee(desk).phase == "failed"
    desk.block()
    second = committee(desk)
    assert (second.phase, second.round) == ("generating", 2)
    assert set(second.members) == {present.identity, *(item.identity for item in others)}
    assert desk.record(round_path(1), RoundState) is None


# --- governance ---


def test_an_action_needs_its_signatures(desk, new_key):
    action = SetCommittee(CommitteeRules(3, 2, 1))
    for body in (
        desk.govern(action, signers=(0,)),
        desk.govern(action, sequence=2),
        desk.govern(SetCommittee(CommitteeRules(2, 2, 1))),
    ):
        assert desk.refused(new_key("anyone"), body) is Refusal.GOVERNANCE
    desk.send(new_key("anyone"), desk.govern(action))
    assert desk.application.map.newest.law.committee.seats == 3
    assert desk.record(governance_path(), GovernanceRecord).count == 1


def test_an_action_takes_effect_after_its_delay(make_desk, new_key):
    desk = make_desk(delay_ns=100 * 10**9)
    desk.send(new_key("anyone"), desk.govern(SetCommittee(CommitteeRules(3, 2, 1))))
    assert desk.application.map.newest.law.committee.seats == 1
    desk.block(after_s=99)
    assert desk.application.map.newest.law.committee.seats == 1
    desk.block()
    assert desk.application.map.newest.law.committee.seats == 3


def test_law_survives_a_restart_and_is_what_enclaves_compute(make_desk, new_key):
    """A shorter delay lets a later action take effect first; everyone has to agree on who has the last word."""
    desk = make_desk(delay_ns=100 * 10**9)
    anyone = new_key("anyone")
    keys = desk.genesis.law.governance.keys
    desk.send(anyone, desk.govern(SetGovernance(GovernanceRules(keys, 2, 10**9))))
    desk.block(after_s=50)
    desk.send(anyone, desk.govern(SetCommittee(CommitteeRules(3, 2, 1))))
    desk.block(after_s=60)
    desk.send(anyone, desk.govern(SetCommittee(CommitteeRules(5, 3, 1))))
    for _ in range(8):
        newest = desk.application.map.newest
        law, waiting, _ = verified(desk.genesis.law, newest.enacted, desk.time_ns, desk.network)
        assert (newest.law, newest.waiting) == (law, waiting)
        desk.reopen()
        assert (desk.application.map.newest.law, desk.application.map.newest.waiting) == (newest.law, newest.waiting)
        desk.block(after_s=11)
    assert desk.application.map.newest.law.committee.seats == 3


def test_replay_of_nothing(desk):
    law = desk.genesis.law
    assert replay(law, (), 0) == (law, (), ())
    assert Enacted


def test_validators_change_with_the_law(desk, new_key):
    from keephold.ledger.engines.base import Block, ValidatorUpdate

    old = desk.genesis.law.validators[0]
    new = ValidatorEntry(b"n" * 32, 5)
    height = desk.height + 1
    raws = desk.signed(new_key("anyone"), desk.govern(SetValidators((new,))))
    finalized = desk.application.finalize(Block(height, desk.time_ns + 1, bytes(32), tuple(raws)))
    assert set(finalized.validator_updates) == {ValidatorUpdate(old.public_key, 0), ValidatorUpdate(new.public_key, 5)}


# --- collateral ---


def test_collateral_only_gets_newer(desk, new_key):
    desk.block()
    anyone = new_key("anyone")
    first = desk.collateral()
    identity = desk.send(anyone, first)
    (path,) = desk.application.map.newest.attachments
    assert desk.record(path, CollateralRecord).transaction == identity
    assert desk.refused(anyone, first) is Refusal.COLLATERAL
    desk.block(after_s=60)
    newer = desk.collateral()
    desk.send(anyone, newer)
    assert desk.refused(anyone, first) is Refusal.COLLATERAL
    assert desk.application.map.newest.attachments[path] == newer.collateral
    assert path == collateral_path(_kind(desk, newer))


def _kind(desk, body):
    from keephold.attestation.collateral import unverified_subject
    from keephold.protocol.evidence import collateral_key

    return collateral_key(unverified_subject(body.collateral, desk.genesis.law.attestation))


def test_collateral_of_nobody_and_of_another_time(desk, new_key):
    from keephold.crypto.secret import SecretBytes
    from keephold.protocol.transactions import UpdateCollateral
    from keephold.testing.vendor import DevelopmentVendor

    desk.block()
    stranger = DevelopmentVendor(SecretBytes(b"s" * 32), "stranger")
    body = UpdateCollateral(stranger.collateral(now_ns=desk.time_ns))
    assert desk.refused(new_key("anyone"), body) is Refusal.COLLATERAL
    impostor = DevelopmentVendor(SecretBytes(b"s" * 32), desk.vendor.name)
    body = UpdateCollateral(impostor.collateral(now_ns=desk.time_ns))
    assert desk.refused(new_key("anyone"), body) is Refusal.COLLATERAL
    future = UpdateCollateral(desk.vendor.collateral(now_ns=desk.time_ns + 10**12))
    assert desk.refused(new_key("anyone"), future) is Refusal.COLLATERAL


def test_collateral_is_kept_under_what_it_was_verified_to_be(desk, new_key, monkeypatch):
    from keephold.ledger.rules import collateral
    from keephold.protocol.evidence import CollateralSubject

    desk.block()
    lie = CollateralSubject(desk.vendor.name, "tdx", "platform", b"fmspc!")
    monkeypatch.setattr(collateral, "unverified_subject", lambda *_: lie)
    assert desk.refused(new_key("anyone"), desk.collateral()) is Refusal.COLLATERAL
