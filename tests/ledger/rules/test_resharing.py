"""When the committee is handed on, to whom, and what a failed attempt changes: nothing."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace
from resharing_court import INPUT, PHASE, Court, identities

from keephold.base.errors import BadShare
from keephold.base.ids import PublicKey
from keephold.crypto.ristretto import Point
from keephold.crypto.sharing import prf
from keephold.custody.secret import release
from keephold.protocol.custody import DkgDealing, DkgKeys, DkgVerdict
from keephold.protocol.governance import CommitteeRules, RevokeIdentity, SetAttestation, SetCommittee
from keephold.protocol.refusals import Refusal
from keephold.protocol.transactions import KeyRelease, Vouch
from keephold.testing.vendor import SgxBuild

SECOND = 10**9


@pytest.fixture
def court(make_desk: Any, enclave: Any, new_key: Any) -> tuple[Court, list[Any]]:
    """Three gatekeepers in office, two of whom make a key."""
    made = Court(make_desk(seats=3, threshold=2), enclave, new_key)
    members = made.enrol("a", "b", "c")
    made.desk.block()
    made.hold()
    assert made.record.phase == "ready"
    return made, members


def revoked(court: Court, member: Any) -> None:
    court.govern(RevokeIdentity(member.identity))


def lapsed(court: Court, member: Any) -> None:
    court.desk.block(after_s=1900)
    court.renew(*(item for item in court.enclaves.values() if item is not member))
    court.desk.block(after_s=1900)


def demoted(court: Court, member: Any) -> None:
    court.renew(*(item for item in court.enclaves.values() if item is not member))
    member.status, member.boot = "SWHardeningNeeded", member.boot + 1
    court.desk.send(member, court.desk.registration(member))
    court.desk.block()
    assert court.record.phase == "ready"
    court.govern(SetAttestation(replace(court.desk.application.map.newest.law.attestation, gatekeeper_max_level=1)))


@pytest.mark.parametrize("end", [revoked, lapsed, demoted])
def test_a_member_that_the_law_does_not_bear_is_replaced(court, end) -> None:
    held, (a, b, c) = court
    before, seed = held.record.keys[0], held.seed([a, b])
    (d,) = held.enrol("d")
    held.desk.block()
    assert held.record.phase == "ready"
    end(held, c)
    held.desk.block()
    record = held.record
    assert (record.phase, set(record.successors)) == ("resharing", identities([a, b, d]))
    assert record.keys == (before,)
    assert set(record.members) == identities([a, b, c])
    held.hold(lambda who, _: who != c.identity)
    after = held.record
    assert (after.phase, set(after.members), after.successors) == ("ready", identities([a, b, d]), ())
    (keys,) = after.keys
    assert (keys.sharing_epoch, keys.master, keys.peppers) == (2, before.master, before.peppers)
    assert held.seed([a, d]) == held.seed([b, d]) == seed
    held.desk.block(after_s=1)
    assert held.record == after


def test_nobody_is_replaced_without_cause_or_without_a_candidate(court) -> None:
    held, (_, _, c) = court
    revoked(held, c)
    for _ in range(3):
        held.desk.block(after_s=10)
    assert (held.record.phase, held.record.round) == ("ready", 1)
    held.enrol("c again", operator="operator of a")
    held.enrol("weak", machine="machine of b")
    held.desk.block()
    assert held.record.phase == "ready", "not independent of those who stay"
    held.enrol("d", operator="operator of c", machine="machine of c")
    held.desk.block()
    assert held.record.phase == "resharing", "an operator may replace its own gatekeeper"


def test_a_longer_registered_candidate_pushes_nobody_out(court) -> None:
    held, members = court
    held.enrol("d", "e")
    held.renew(*members)
    held.desk.block()
    assert (held.record.phase, held.record.round) == ("ready", 1)


@pytest.mark.parametrize(("seats", "threshold"), [(5, 3), (5, 2), (3, 1), (2, 1)])
def test_governance_sets_another_size_or_threshold(court, seats: int, threshold: int) -> None:
    held, (a, b, _) = court
    before, seed = held.record.keys[0], held.seed([a, b])
    rules = replace(held.desk.genesis.law.committee, seats=seats, threshold=threshold)
    held.govern(SetCommittee(rules))
    held.desk.block()
    if seats > 3:
        assert held.record.phase == "ready", "two candidates are missing"
        held.enrol("d", "e")
        held.desk.block()
    assert (held.record.phase, len(held.record.successors)) == ("resharing", seats)
    held.hold()
    (keys,) = held.record.keys
    assert (len(keys.seats), keys.threshold, keys.master) == (seats, threshold, before.master)
    seated = [held.enclaves[PublicKey(seat.member)] for seat in keys.seats]
    assert held.seed(seated[-threshold:]) == seed


def test_a_law_that_is_pending_changes_no_seat(make_desk, enclave, new_key) -> None:
    held = Court(make_desk(seats=2, threshold=1, delay_ns=1000 * SECOND), enclave, new_key)
    held.enrol("a", "b")
    held.desk.block()
    held.hold()
    held.enrol("c")
    held.govern(SetCommittee(CommitteeRules(3, 2, PHASE * SECOND)))
    held.desk.block()
    assert held.record.phase == "ready"
    held.desk.block(after_s=1000)
    assert held.record.phase == "resharing"


def test_the_old_committee_releases_until_the_new_one_does(court) -> None:
    held, (a, b, c) = court
    (worker,) = held.desk.enrol("worker")
    (d,) = held.enrol("d")
    revoked(held, c)
    held.desk.block()
    answer = KeyRelease(worker.identity, worker.instance, bytes(32), b"sealed")
    assert held.record.phase == "resharing"
    held.desk.send(a, answer)
    assert held.desk.refused(d, answer) is Refusal.NOT_SEATED
    held.hold(lambda who, _: who != c.identity)
    held.desk.send(d, answer)
    held.desk.send(b, answer)


def test_a_replaced_gatekeeper_gets_no_further_say(court) -> None:
    held, (a, b, c) = court
    (worker,) = held.desk.enrol("worker")
    held.enrol("d")
    lapsed(held, c)
    held.desk.block()
    held.hold(lambda who, _: who != c.identity)
    held.renew(c, worker)
    assert held.record.phase == "ready"
    answer = KeyRelease(worker.identity, worker.instance, bytes(32), b"sealed")
    assert held.desk.refused(c, answer) is Refusal.NOT_SEATED
    assert held.desk.refused(c, Vouch(a.identity, bytes(32), 1, bytes(32))) is Refusal.NOT_SEATED
    assert held.desk.refused(c, DkgKeys(2, (c.keys.encryption.public,))) is not None
    held.desk.block()
    assert held.record.round == 2, "back, but nobody is pushed out for it"
    assert identities([a, b]) < set(held.record.members)


def test_a_delisted_committee_deals_to_its_successors(court) -> None:
    """A new build: none of the old may release, all of them may still hand the key on."""
    held, members = court
    seed = held.seed(members[:2])
    newer = SgxBuild.named("gatekeeper of tomorrow")
    policy = held.desk.vendor.policy((SgxBuild.named("worker"), "worker"), (newer, "gatekeeper"))
    held.govern(SetAttestation(policy))
    held.desk.block()
    assert held.record.phase == "short", "nobody may release"
    fresh = [held.enclave(name, "gatekeeper") for name in ("d", "e", "f")]
    for item in fresh:
        held.desk.send(item, held.desk.registration(item, build=newer))
        held.enclaves[item.identity] = item
    held.desk.block()
    assert held.record.phase == "resharing"
    held.hold()
    assert (held.record.phase, set(held.record.members)) == ("ready", identities(fresh))
    assert held.seed(fresh[1:]) == seed


def test_the_lapsed_only_deal_and_the_revoked_do_not_even_that(court) -> None:
    held, (_, _, c) = court
    held.enrol("d")
    lapsed(held, c)
    held.desk.block()
    opened = held.round
    assert held.desk.refused(c, DkgKeys(2, (c.keys.encryption.public,))) is Refusal.LEASE_LAPSED
    assert held.desk.refused(c, DkgVerdict(2)) is Refusal.LEASE_LAPSED
    dealing = DkgDealing(opened.round, (bytes(32),), (b"",))
    assert held.desk.refused(c, dealing) is Refusal.WRONG_PHASE
    revoked(held, c)
    assert held.desk.refused(c, dealing) is Refusal.REVOKED
    (stranger,) = held.desk.enrol("stranger")
    assert held.desk.refused(stranger, dealing) is Refusal.NOT_REGISTERED


def test_a_lapsed_dealer_counts(court) -> None:
    held, (a, b, c) = court
    seed = held.seed([a, b])
    (d,) = held.enrol("d")
    lapsed(held, c)
    held.desk.block()
    held.hold(lambda who, message: not (who == b.identity and isinstance(message, DkgDealing)))
    assert [drop.reason for drop in held.round.drops] == ["silent-dealing"]
    assert held.seed([a, d]) == seed


def test_a_failed_resharing_changes_nothing_and_is_tried_again_after_a_pause(court) -> None:
    held, (a, b, c) = court
    before = held.record.keys
    (d,) = held.enrol("d")
    revoked(held, c)
    held.desk.block()
    held.hold(lambda who, message: who not in identities([b, c]) or isinstance(message, DkgKeys))
    failed = held.record
    assert (failed.phase, failed.keys, failed.successors, failed.setbacks) == ("ready", before, (), 1)
    assert set(failed.members) == identities([a, b, c])
    assert failed.resume_ns == held.desk.time_ns + PHASE * SECOND
    held.desk.block(after_s=PHASE - 1)
    assert held.record == failed
    held.desk.block()
    assert (held.record.phase, held.record.round) == ("resharing", 3)
    held.hold(lambda who, _: who not in identities([b, c]))
    assert (held.record.phase, held.record.setbacks) == ("ready", 2)
    assert held.record.resume_ns == held.desk.time_ns + 2 * PHASE * SECOND
    held.desk.block(after_s=2 * PHASE)
    held.hold(lambda who, _: who != c.identity)
    assert (held.record.setbacks, held.record.resume_ns, set(held.record.members)) == (0, 0, identities([a, b, d]))


def test_whose_silence_made_it_fail_is_not_asked_again_while_others_are_there(court) -> None:
    held, (a, b, c) = court
    (d,) = held.enrol("d")
    revoked(held, c)
    held.desk.block()
    (e,) = held.enrol("e")
    assert d.identity in held.record.successors
    held.hold(lambda who, message: who == a.identity or (who == b.identity and not isinstance(message, DkgKeys)))
    assert held.record.phase == "ready"
    assert {drop.member for drop in held.round.drops} >= identities([d])
    held.desk.block(after_s=PHASE + 1)
    assert set(held.record.successors) == identities([a, b, e])


def test_a_lost_seat_is_filled_but_not_by_whoever_is_still_silent(court) -> None:
    held, (a, b, c) = court
    (d,) = held.enrol("d")
    revoked(held, c)
    held.desk.block()
    held.hold(lambda who, _: who not in identities([c, d]))
    shrunk = held.record
    assert (set(shrunk.members), shrunk.setbacks) == (identities([a, b]), 1)
    held.desk.block(after_s=PHASE + 1)
    assert held.record == shrunk, "the silent one has not been heard of"
    held.renew(d)
    held.desk.block()
    assert (held.record.phase, set(held.record.successors)) == ("resharing", identities([a, b, d]))
    held.hold()
    assert (len(held.record.members), held.record.setbacks) == (3, 0)


def test_a_committee_without_enough_live_members_says_so_and_recovers(court) -> None:
    held, members = court
    held.desk.block(after_s=3601)
    held.desk.block()
    assert (held.record.phase, len(held.record.keys)) == ("short", 1)
    held.renew(members[0])
    held.desk.block()
    assert held.record.phase == "short"
    held.renew(members[1])
    held.desk.block()
    assert held.record.phase == "ready"


def test_a_successors_seat_is_kept_independent_while_the_resharing_goes_on(court) -> None:
    held, (a, _, c) = court
    (d,) = held.enrol("d")
    revoked(held, c)
    held.desk.block()
    d.operator, d.boot = a.operator, 1
    assert held.desk.refused(d, held.desk.registration(d)) is Refusal.SEATED
    d.role, d.operator = "worker", "operator of d"
    assert held.desk.refused(d, held.desk.registration(d)) is Refusal.SEATED


def test_one_ceremony_at_a_time(court) -> None:
    held, (_, b, c) = court
    held.enrol("d", "e")
    revoked(held, c)
    held.desk.block()
    opened = held.round
    revoked(held, b)
    held.govern(SetCommittee(CommitteeRules(3, 1, PHASE * SECOND)))
    held.desk.block()
    assert held.round == opened


def test_an_old_share_is_worth_nothing_beside_new_ones(court) -> None:
    """t - 1 of the old committee and t - 1 of the new one do not make a key, whatever they call themselves."""
    held, (a, b, c) = court
    held.govern(SetCommittee(CommitteeRules(5, 3, PHASE * SECOND)))
    d, e = held.enrol("d", "e")
    held.desk.block()
    seed, old = held.seed([a, b]), held.partials([c], at=0)
    held.hold()
    keys = held.record.keys[0]
    new = held.partials([d, e])
    claimed = [replace(batch, seat=seat.seat, sharing_epoch=2) for batch in old for seat in keys.seats]
    for stale in (*old, *claimed):
        with pytest.raises(BadShare):
            release.combine([stale, *new], keys, INPUT)
    # Past the checks, in the exponent: not the key either.
    mixed = prf.combine({batch.seat: Point(batch.points[0]) for batch in (*old, *new)})
    right = prf.combine({batch.seat: Point(batch.points[0]) for batch in held.partials([a, b, d])})
    assert mixed.reveal() != right.reveal()
    assert held.seed([c, d, e]) == seed


def test_the_ledger_rests_while_nothing_is_due(court) -> None:
    held, _ = court
    root = held.desk.root
    for _ in range(3):
        held.desk.block()
    assert held.desk.root == root


def test_a_resharing_replays_to_the_same_root(court) -> None:
    held, (_, _, c) = court
    held.enrol("d")
    revoked(held, c)
    held.desk.block()
    held.hold(lambda who, _: who != c.identity)
    root = held.desk.root
    held.desk.reopen()
    assert held.desk.root == root
    held.desk.block()
    assert held.desk.root == root
