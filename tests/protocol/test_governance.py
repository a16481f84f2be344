"""Validators order governance actions; only governance keys make them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keephold.base.errors import LedgerRefused
from keephold.base.ids import NetworkId
from keephold.crypto.secret import SecretBytes
from keephold.crypto.signing import SigningKey
from keephold.protocol.amendments import verified
from keephold.protocol.evidence import AttestationPolicy
from keephold.protocol.governance import (
    CommitteeFloor,
    CommitteeRules,
    Constitution,
    Enacted,
    GovernanceRules,
    Proposal,
    RevokeIdentity,
    SetAttestation,
    SetCommittee,
    SetGovernance,
    SignedProposal,
    Timing,
    ValidatorEntry,
    check_proposal,
    sign_proposal,
)

NETWORK = NetworkId(b"n" * 32)
KEYS = sorted((SigningKey(SecretBytes(bytes([i]) * 32)) for i in (1, 2, 3)), key=lambda key: key.public)
STRANGER = SigningKey.generate()
POLICY = AttestationPolicy(vendors=(), measurements=(), quote_window_ns=10)
LAW = Constitution(
    GovernanceRules(tuple(key.public for key in KEYS), 2, 100),
    POLICY,
    CommitteeRules(3, 2, 1000),
    Timing(1, 1, 1),
    (ValidatorEntry(b"v" * 32, 1),),
)
WIDER = SetAttestation(AttestationPolicy(vendors=(), measurements=(), quote_window_ns=99))


def signed(action, sequence=1, by=KEYS[:2], network=NETWORK) -> SignedProposal:
    proposal = Proposal(network, sequence, action)
    return SignedProposal(proposal, tuple(sign_proposal(proposal, key) for key in by))


def law_at(genesis, entries, time_ns, network) -> Constitution:
    return verified(genesis, entries, time_ns, network).law


def test_an_action_takes_effect_after_the_delay_and_not_before():
    entries = [Enacted(signed(WIDER), 50)]
    assert law_at(LAW, entries, 149, NETWORK) == LAW
    assert law_at(LAW, entries, 150, NETWORK).attestation == WIDER.policy


def test_a_revocation_takes_effect_at_once():
    entries = [Enacted(signed(RevokeIdentity(b"w" * 32)), 50)]
    assert law_at(LAW, entries, 50, NETWORK).revoked == (b"w" * 32,)


@pytest.mark.parametrize(
    ("proposal", "why"),
    [
        (signed(WIDER, by=KEYS[:1]), "1 endorsements"),
        (signed(WIDER, by=[KEYS[0], KEYS[0]]), "twice"),
        (signed(WIDER, by=[KEYS[1], KEYS[0]]), "unsorted"),
        (signed(WIDER, by=sorted([KEYS[0], STRANGER], key=lambda key: key.public)), "not a governance key"),
        (signed(WIDER, sequence=2), "sequence"),
        (signed(WIDER, network=b"m" * 32), "another network"),
        (signed(SetCommittee(CommitteeRules(4, 3, 1000))), "committee"),
        (signed(SetCommittee(CommitteeRules(65, 2, 1000))), "committee"),
        (signed(SetCommittee(CommitteeRules(2, 3, 1000))), "committee"),
        (signed(SetGovernance(GovernanceRules((), 1, 0))), "fewer than their threshold"),
    ],
)
def test_what_governance_did_not_properly_sign_is_refused(proposal, why):
    with pytest.raises(LedgerRefused, match=why) as caught:
        check_proposal(proposal, LAW, (), NETWORK, 1)
    assert caught.value.reason == "governance"


def test_an_endorsement_of_another_action_does_not_count():
    honest = signed(WIDER)
    moved = SignedProposal(Proposal(NETWORK, 1, RevokeIdentity(b"w" * 32)), honest.endorsements)
    with pytest.raises(LedgerRefused, match="does not verify"):
        check_proposal(moved, LAW, (), NETWORK, 1)


def test_replayed_skipped_and_reordered_actions_are_refused():
    first = Enacted(signed(RevokeIdentity(b"a" * 32), 1), 10)
    second = Enacted(signed(RevokeIdentity(b"b" * 32), 2), 20)
    assert law_at(LAW, [first, second], 20, NETWORK).revoked == (b"a" * 32, b"b" * 32)
    for entries in ([first, first], [second], [second, first]):
        with pytest.raises(LedgerRefused):
            law_at(LAW, entries, 100, NETWORK)


def test_new_governance_keys_rule_only_after_the_delay():
    handover = Enacted(signed(SetGovernance(GovernanceRules((STRANGER.public,), 1, 0)), 1), 0)
    early = Enacted(signed(RevokeIdentity(b"a" * 32), 2, by=[STRANGER]), 99)
    late = Enacted(signed(RevokeIdentity(b"a" * 32), 2, by=[STRANGER]), 100)
    with pytest.raises(LedgerRefused):
        law_at(LAW, [handover, early], 200, NETWORK)
    assert law_at(LAW, [handover, late], 200, NETWORK).revoked == (b"a" * 32,)


@given(st.integers(1, 70), st.integers(1, 70))
def test_under_every_law_the_honest_suffice_when_one_less_than_the_threshold_lie(seats, threshold):
    proposal = signed(SetCommittee(CommitteeRules(seats, threshold, 1)))
    try:
        check_proposal(proposal, LAW, (), NETWORK, 1)
    except LedgerRefused:
        return
    assert seats - (threshold - 1) >= threshold


def test_no_action_lowers_the_committee_below_the_floor_of_the_genesis():
    law = Constitution(LAW.governance, POLICY, LAW.committee, LAW.timing, LAW.validators, floor=CommitteeFloor(3, 2))
    for rules in (CommitteeRules(1, 1, 1000), CommitteeRules(3, 1, 1000), CommitteeRules(2, 1, 1000)):
        with pytest.raises(LedgerRefused, match="on this network"):
            check_proposal(signed(SetCommittee(rules)), law, (), NETWORK, 1)
    check_proposal(signed(SetCommittee(CommitteeRules(5, 3, 1000))), law, (), NETWORK, 1)
