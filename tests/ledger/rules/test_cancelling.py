"""Governance takes back what waits for its delay, on a ledger."""

from __future__ import annotations

from keephold.protocol.amendments import verified
from keephold.protocol.governance import CancelProposal, CommitteeRules, SetCommittee, digest_of
from keephold.protocol.refusals import Refusal

DAY_S = 86_400


def test_what_is_cancelled_never_comes_into_force_and_a_restart_knows_it(make_desk, new_key):
    desk = make_desk(delay_ns=DAY_S * 10**9)
    anyone, before = new_key("anyone"), desk.genesis.law.committee
    proposed = desk.govern(SetCommittee(CommitteeRules(5, 3, 1)))
    desk.send(anyone, proposed)
    desk.block(after_s=DAY_S - 60)
    desk.send(anyone, desk.govern(CancelProposal(digest_of(proposed.signed.proposal))))
    assert desk.application.map.newest.waiting == ()
    desk.reopen()
    desk.block(after_s=2 * DAY_S)
    newest = desk.application.map.newest
    assert newest.law.committee == before
    assert verified(desk.genesis.law, newest.enacted, desk.time_ns, desk.network)[:2] == (newest.law, newest.waiting)


def test_too_late_too_few_or_of_nothing_is_refused(make_desk, new_key):
    desk = make_desk(delay_ns=DAY_S * 10**9)
    anyone = new_key("anyone")
    proposed = desk.govern(SetCommittee(CommitteeRules(5, 3, 1)))
    cancelling = CancelProposal(digest_of(proposed.signed.proposal))
    assert desk.refused(anyone, desk.govern(cancelling)) is Refusal.GOVERNANCE, "nothing waits yet"
    desk.send(anyone, proposed)
    assert desk.refused(anyone, desk.govern(cancelling, signers=(0,))) is Refusal.GOVERNANCE
    desk.block(after_s=DAY_S)
    assert desk.application.map.newest.law.committee.seats == 5
    assert desk.refused(anyone, desk.govern(cancelling)) is Refusal.GOVERNANCE, "it is law"
