"""Whom a gatekeeper hands its share to, and from whom it takes one: one refusal for each step of the argument."""

from __future__ import annotations

import hashlib

import pytest
from gatekeeper_relay import PHASE_NS, Relay, member
from msgspec.structs import replace

from keephold.attestation.verify import VerifiedIdentity
from keephold.base.errors import AttestationRefused, LedgerRefused
from keephold.base.ids import PublicKey
from keephold.custody.public.opening import open_resharing
from keephold.follower.trust import VerifiedRegistration
from keephold.gatekeeper.ceremony import Opening
from keephold.gatekeeper.handover import check_handover, check_successors
from keephold.protocol.custody import CommitteeKeys, DkgVerdict
from keephold.protocol.evidence import Claim
from keephold.protocol.governance import CommitteeRules
from keephold.protocol.state import Registration
from keephold.testing.local import LocalNetwork

LAPSED = LedgerRefused("lease_lapsed", "")
REVOKED = LedgerRefused("revoked", "")
DELISTED = AttestationRefused("measurement", "")


def digest(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()


def verified(name: str, *, role: str = "gatekeeper", operator: str = "", platform: str = "") -> VerifiedRegistration:
    key, by, on = member(name), digest(operator or f"operator of {name}"), digest(platform or f"machine of {name}")
    claim = Claim(bytes(32), role, key, bytes(1216), by, bytes(32), 1, bytes(32))
    proof = VerifiedIdentity._mint(
        claim=claim,
        level=1,
        measurement=bytes(32),
        platform=on,
        vendor=None,
        subject=None,
        floor=None,
        until_ns=1 << 62,
    )
    record = Registration(
        key,
        role,
        by,
        bytes(32),
        bytes(1216),
        bytes(32),
        1,
        bytes(32),
        on,
        "v",
        bytes(32),
        bytes(32),
        height=1,
        lease_ns=9,
    )
    return VerifiedRegistration._mint(record=record, proof=proof, height=1, time_ns=1)


@pytest.fixture
def relay() -> Relay:
    made = Relay()
    made.generate("abc", 2)
    return made


def handed(office: CommitteeKeys, to: str, threshold: int = 2):
    return open_resharing(
        office,
        round_number=2,
        members=[member(name) for name in to],
        threshold=threshold,
        phase_ns=PHASE_NS,
        time_ns=10**9,
    )


def judge(relay: Relay, to: str, *, threshold: int = 2, own: str = "a", gives_quotes: bool = True, **standing) -> None:
    office = relay.office
    members = [standing.get(f"new_{name}", verified(name)) for name in to]
    check_successors(members)
    check_handover(
        handed(office, to, threshold),
        office,
        member(own),
        members,
        {member(name): standing.get(name, verified(name)) for name in "abc"},
        gives_quotes=gives_quotes,
    )


# --- the cause ---


@pytest.mark.parametrize("standing", [LAPSED, REVOKED, DELISTED])
def test_a_member_that_does_not_verify_is_replaced(relay: Relay, standing) -> None:
    judge(relay, "abd", c=standing)


def test_governance_may_want_more_fewer_or_another_threshold(relay: Relay) -> None:
    judge(relay, "abcde", threshold=3)
    judge(relay, "bc", threshold=1)
    judge(relay, "abc", threshold=1)


def test_nothing_is_dealt_for_nothing(relay: Relay) -> None:
    with pytest.raises(LedgerRefused, match="same members"):
        judge(relay, "abc")


@pytest.mark.parametrize("to", ["abd", "ade", "def"])
def test_colluding_validators_do_not_push_out_a_member_that_verifies(relay: Relay, to: str) -> None:
    """The bogus resharing: attested enclaves of the validators' choice, lawful size, and no cause."""
    with pytest.raises(LedgerRefused, match="left out"):
        judge(relay, to)
    with pytest.raises(LedgerRefused, match="left out"):
        judge(relay, "def", a=LAPSED, c=LAPSED)


def test_a_member_that_stands_in_the_way_of_another_seat_is_no_reason_to_refuse(relay: Relay) -> None:
    judge(relay, "abd", c=verified("c", platform="machine of b"))
    judge(relay, "abd", c=verified("c", operator="operator of b"))


def test_kept_from_attesting_is_no_reason_to_give_up_the_own_seat(relay: Relay) -> None:
    """All renewals censored for a lease: nobody verifies, and nobody deals to strangers."""
    for reason in ("collateral_window", "collateral_mismatch", "anchor"):
        with pytest.raises(LedgerRefused, match="we can attest"):
            judge(relay, "def", **dict.fromkeys("abc", AttestationRefused(reason, "")))
    everyone = dict.fromkeys("abc", LAPSED)
    with pytest.raises(LedgerRefused, match="we can attest"):
        judge(relay, "def", **everyone)
    with pytest.raises(LedgerRefused, match="we can attest"):
        judge(relay, "bde", **everyone)
    judge(relay, "ade", **everyone)
    judge(relay, "def", gives_quotes=False, **everyone)
    for reason in ("measurement", "level", "tcb_status", "revoked", "vendor", "role"):
        judge(relay, "def", **dict.fromkeys("abc", AttestationRefused(reason, "")))


def test_successors_are_gatekeepers_and_independent(relay: Relay) -> None:
    with pytest.raises(LedgerRefused) as refused:
        judge(relay, "abd", c=LAPSED, new_d=verified("d", role="worker"))
    assert refused.value.reason == "wrong_role"
    for other in (verified("d", operator="operator of b"), verified("d", platform="machine of b")):
        with pytest.raises(LedgerRefused) as refused:
            judge(relay, "abd", c=LAPSED, new_d=other)
        assert refused.value.reason == "seated"


# --- the opening ---


@pytest.fixture
def law(tmp_path):
    genesis = LocalNetwork(tmp_path, seats=3, threshold=2).genesis
    return replace(genesis.law, committee=CommitteeRules(3, 2, PHASE_NS))


def test_the_first_state_of_a_lawful_resharing_is_accepted_by_holders_and_newcomers(relay: Relay, law) -> None:
    opening = Opening(handed(relay.office, "abd"), 5, relay.office)
    for name in "abcd":
        (relay.members.get(name) or relay.boot(name)).check_opening(opening, law, 10**9)


@pytest.mark.parametrize(
    "changes",
    [
        {"threshold": 1},
        {"quorum": 1},
        {"fewest": 1},
        {"phase_ns": 1},
        {"deadline_ns": 1},
        {"phase": "dealing"},
        {"sharing_epoch": 3},
        {"network": bytes(31) + b"\x01"},
        {"master": bytes(31) + b"\x01"},
        {"peppers": ()},
        {"receivers": ()},
        {"dealers": ()},
        {"purpose": "generation"},
    ],
)
def test_any_other_first_state_is_refused_by_all(relay: Relay, law, changes) -> None:
    opening = Opening(replace(handed(relay.office, "abd"), **changes), 5, relay.office)
    for name in "ad":
        with pytest.raises(LedgerRefused):
            (relay.members.get(name) or relay.boot(name)).check_opening(opening, law, 10**9)


def test_a_resharing_from_a_committee_that_is_not_in_office(relay: Relay, law) -> None:
    other = Relay()
    other.generate("abc", 2)
    a = relay.members["a"]
    for office in (None, other.office):
        with pytest.raises(LedgerRefused):
            a.check_opening(Opening(handed(relay.office, "abd"), 5, office), law, 10**9)
    # Whole and consistent, but of a key that we have no share of.
    with pytest.raises(LedgerRefused, match="another key"):
        a.check_opening(Opening(handed(other.office, "abd"), 5, other.office), law, 10**9)


def test_a_share_is_dealt_only_from_the_very_committee_that_it_belongs_to(relay: Relay) -> None:
    office = relay.office
    swapped = replace(
        office, seats=(replace(office.seats[0], public_share=office.seats[1].public_share), *office.seats[1:])
    )
    a = relay.members["a"]
    assert a.inherited(handed(office, "abd")) is a.share_for(office)
    assert a.inherited(handed(swapped, "abd")) is None
    assert a.inherited(handed(replace(office, sharing_epoch=2), "abd")) is None


# --- the newcomer ---


def test_a_newcomer_consents_only_to_shares_from_dealers_it_verified(relay: Relay) -> None:
    """Dealers that nobody knows to be gatekeepers: the newcomer says nothing, is dropped, and keeps nothing."""
    vetted = {"d": [member("a")]}
    begin = Relay._begin

    def partly(self: Relay, one) -> None:
        names = next((vetted[name] for name, made in self.members.items() if made is one and name in vetted), None)
        one.begin(self.opening, self.time_ns, self.opening.dealers if names is None else names)

    Relay._begin = partly
    try:
        relay.reshare("abd", 2)
    finally:
        Relay._begin = begin
    assert [drop.reason for drop in relay.state.drops] == ["silent-verdicts"]
    assert not any(
        sender == member("d") and isinstance(message, DkgVerdict)
        for block in relay.blocks
        for sender, message in block.accepted
    )
    assert relay.stored("d") == []
    assert {seat.member for seat in relay.office.seats} == {member("a"), member("b")}


def test_what_was_vetted_survives_a_restart(relay: Relay) -> None:
    opening = Opening(handed(relay.office, "abd"), 5, relay.office)
    d = relay.boot("d")
    d.begin(opening, 10**9, [PublicKey(member("a"))])
    again = relay.boot("d")
    assert again.is_taking_part
    assert again._vetted == {member("a")}
