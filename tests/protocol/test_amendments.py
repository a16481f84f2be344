"""What waits for its delay can be taken back by those who proposed it, and by nobody else; what is law cannot."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.protocol.test_governance import KEYS, LAW, NETWORK, STRANGER, WIDER, signed

from keephold.base.errors import LedgerRefused
from keephold.protocol.amendments import effective_times, ordered, replay, settled, verified
from keephold.protocol.codec import decode, encode
from keephold.protocol.evidence import AttestationPolicy
from keephold.protocol.governance import (
    CancelProposal,
    CommitteeRules,
    Enacted,
    Proposal,
    RevokeIdentity,
    SetAttestation,
    SetCommittee,
    SignedProposal,
    digest_of,
)

LARGER = SetCommittee(CommitteeRules(5, 3, 1000))


def cancel(of: SignedProposal, sequence: int, **how) -> SignedProposal:
    return signed(CancelProposal(digest_of(of.proposal)), sequence, **how)


def test_what_waits_is_taken_back_and_never_takes_effect():
    first = signed(WIDER)
    entries = [Enacted(first, 50), Enacted(cancel(first, 2), 149)]
    assert verified(LAW, entries, 1000, NETWORK) == (LAW, (), ())
    assert effective_times(LAW, entries, NETWORK) == (None, 149)
    assert decode(encode(entries[1]), Enacted) == entries[1]


def test_with_it_goes_what_was_proposed_behind_it_and_nothing_before_it():
    before, first, behind = signed(LARGER, 1), signed(WIDER, 2), signed(LARGER, 3)
    revoked = signed(RevokeIdentity(b"w" * 32), 4)
    entries = [Enacted(item, 10 * n) for n, item in enumerate([before, first, behind, revoked, cancel(first, 5)])]
    law = verified(LAW, entries, 1000, NETWORK).law
    assert (law.committee, law.attestation, law.revoked) == (LARGER.rules, LAW.attestation, (b"w" * 32,))
    assert effective_times(LAW, entries, NETWORK) == (100, None, None, 30, 40)


@pytest.mark.parametrize("at", [150, 151, 10_000])
def test_what_is_law_is_not_cancelled(at):
    first = signed(WIDER)
    with pytest.raises(LedgerRefused, match="nothing by that digest waits"):
        verified(LAW, [Enacted(first, 50), Enacted(cancel(first, 2), at)], at, NETWORK)


def test_a_cancellation_names_the_very_proposal_and_not_its_number():
    """Two proposals of one number were signed: on a continuation that ordered the other one it takes nothing back."""
    meant, other = signed(WIDER), signed(LARGER)
    with pytest.raises(LedgerRefused, match="nothing by that digest waits"):
        verified(LAW, [Enacted(other, 50), Enacted(cancel(meant, 2), 60)], 60, NETWORK)


def test_the_same_proposal_is_not_cancelled_twice():
    first = signed(WIDER)
    entries = [Enacted(first, 50), Enacted(cancel(first, 2), 60), Enacted(cancel(first, 3), 70)]
    with pytest.raises(LedgerRefused, match="nothing by that digest waits"):
        verified(LAW, entries, 70, NETWORK)


@pytest.mark.parametrize(
    ("how", "why"),
    [
        ({"by": KEYS[:1]}, "1 endorsements"),
        ({"by": sorted([KEYS[0], STRANGER], key=lambda key: key.public)}, "not a governance key"),
        ({"network": b"m" * 32}, "another network"),
    ],
    ids=["too few", "a stranger", "another network"],
)
def test_it_takes_the_quorum_that_any_action_takes(how, why):
    first = signed(WIDER)
    with pytest.raises(LedgerRefused, match=why):
        verified(LAW, [Enacted(first, 50), Enacted(cancel(first, 2, **how), 60)], 60, NETWORK)


def test_a_signed_proposal_that_was_not_ordered_ends_with_its_number():
    forgotten, taken = signed(WIDER, 1), signed(LARGER, 1)
    with pytest.raises(LedgerRefused, match="sequence 1, expected 2"):
        verified(LAW, [Enacted(taken, 10), Enacted(forgotten, 20)], 20, NETWORK)


ACTIONS = st.one_of(
    st.integers(1, 99).map(lambda n: SetAttestation(AttestationPolicy((), (), quote_window_ns=n))),
    st.just(LARGER),
    st.binary(min_size=32, max_size=32).map(RevokeIdentity),
)


@given(st.lists(st.tuples(st.one_of(ACTIONS, st.integers(0, 6)), st.integers(0, 60)), max_size=7))
def test_a_cancelled_history_leads_to_the_law_without_what_was_cancelled(steps):
    """Against a model that strikes entries out: the law at every moment is that of the history without them."""
    entries: list[Enacted] = []
    struck: dict[int, int] = {}
    now = 0
    for what, pause in steps:
        now += pause
        sequence = len(entries) + 1
        if not isinstance(what, int):
            proposal = Proposal(NETWORK, sequence, what)
        else:
            waiting = replay(LAW, entries, now).waiting
            if not waiting:
                continue
            named = waiting[what % len(waiting)].proposal
            proposal = Proposal(NETWORK, sequence, CancelProposal(digest_of(named)))
            struck |= {w.proposal.sequence: now for w in waiting if w.proposal.sequence >= named.sequence}
        entries.append(Enacted(SignedProposal(proposal, ()), now))
    kept = [
        entry
        for entry in entries
        if entry.signed.proposal.sequence not in struck and not isinstance(entry.signed.proposal.action, CancelProposal)
    ]
    for time_ns in (now, now + 50, now + 1000):
        assert replay(LAW, entries, time_ns).law == replay(LAW, kept, time_ns).law


def test_the_steps_of_the_ledger_are_those_of_the_fold():
    first = signed(WIDER)
    entries = [Enacted(first, 50), Enacted(cancel(first, 2), 60)]
    law, waiting = LAW, ()
    for entry in entries:
        law, waiting, _ = settled(law, waiting, entry.enacted_ns)
        waiting = ordered(law, waiting, entry)
    assert settled(law, waiting, 60)[:2] == verified(LAW, entries, 60, NETWORK)[:2]
