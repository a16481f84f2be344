"""Whom a contract rests on, from constructed facts."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keephold.base.ids import ContractId, NetworkId, PublicKey
from keephold.client.breaking import Breaking, Party
from keephold.client.trust import MACHINE, TrustReport, trust_report
from keephold.client.trust_facts import (
    Committee,
    Enclave,
    Exposure,
    Governance,
    Held,
    Signing,
    TrustFacts,
    Validator,
    VendorFact,
)
from keephold.client.trust_picture import picture
from keephold.client.trust_words import duration

DAY = 86_400 * 10**9


def key(kind: str, number: int) -> bytes:
    return kind.encode().ljust(31, b"\0") + bytes([number])


def worker(number: int, operator: int | None = None, platform: int | None = None, doubt: str = "") -> Enclave:
    return Enclave(
        PublicKey(key("worker", number)),
        "worker",
        key("operator", number if operator is None else operator),
        key("platform", number if platform is None else platform),
        level=0 if doubt else 1,
        measurement=key("code", 1),
        vendor="vendor",
        lease_ns=DAY,
        doubt=doubt,
    )


def gatekeeper(seat: int, operator: int | None = None, doubt: str = "") -> Enclave:
    made = worker(100 + seat, operator, doubt=doubt)
    return replace(made, identity=PublicKey(key("gatekeeper", seat)), role="gatekeeper", seat=seat)


def operator(*numbers: int) -> Party:
    return Party("operator", tuple(sorted(key("operator", number).hex() for number in numbers)))


def validator(number: int) -> Party:
    return Party("validator", (key("validator", number).hex(),))


def facts(
    workers: tuple[Enclave, ...] = (worker(1),),
    threshold: int = 2,
    members: tuple[Enclave, ...] = tuple(gatekeeper(n) for n in (1, 2, 3)),
    *,
    quorum: int = 1,
    validators: int = 4,
) -> TrustFacts:
    return TrustFacts(
        network=NetworkId(bytes(32)),
        contract=ContractId(key("contract", 1)),
        name="Token",
        creator=PublicKey(key("creator", 1)),
        phase="active",
        epoch=3,
        level=2,
        quorum=quorum,
        workers=workers,
        departed=(),
        committee=Committee("ready", threshold, members, 1),
        governance=Governance(tuple(key("law", n) for n in range(3)), 2, DAY),
        validators=tuple(Validator(key("validator", n), 1) for n in range(validators)),
        vendors=(VendorFact("vendor", is_simulated=False),),
        height=7,
        header_hash=key("header", 7),
    )


def sets(goal: Breaking) -> set[frozenset[Party]]:
    """The minimal sets without what the law, the vendor and a broken machine outside can do."""
    return {
        item for item in goal.sets if item != {Party("vendor", ("vendor",))} and MACHINE not in item and
        not any(party.kind == "governance" for party in item)
    }  # fmt: skip


def pairs(*numbers: int) -> set[frozenset[Party]]:
    return {frozenset({operator(a), operator(b)}) for a in numbers for b in numbers if a < b}


# --- reveal ---


@pytest.mark.parametrize(("threshold", "seats"), [(1, 1), (2, 3), (3, 5)])
def test_a_worker_or_t_gatekeepers_reveal(threshold: int, seats: int) -> None:
    report = trust_report(facts(threshold=threshold, members=tuple(gatekeeper(n) for n in range(1, seats + 1))))
    found = sets(report.reveal)
    assert frozenset({operator(1)}) in found
    of_gatekeepers = {item for item in found if operator(1) not in item}
    assert {len(item) for item in of_gatekeepers} == {threshold}
    assert len(of_gatekeepers) == {(1, 1): 1, (2, 3): 3, (3, 5): 10}[threshold, seats]


def test_one_operator_of_two_seats_counts_once_and_has_both() -> None:
    report = trust_report(facts(members=(gatekeeper(1, operator=50), gatekeeper(2, operator=50), gatekeeper(3))))
    assert sets(report.reveal) == {frozenset({operator(1)}), frozenset({operator(50)})}


def test_a_shared_platform_makes_one_party_of_two_operators() -> None:
    members = (gatekeeper(1), replace(gatekeeper(2), platform=gatekeeper(1).platform), gatekeeper(3))
    report = trust_report(facts(members=members))
    assert frozenset({operator(101, 102)}) in sets(report.reveal)


def test_who_left_in_this_epoch_may_hold_the_key() -> None:
    report = trust_report(replace(facts(), departed=(worker(9, doubt="lapsed"),)))
    assert frozenset({operator(9)}) in sets(report.reveal)
    assert frozenset({operator(9)}) not in sets(report.forge)


def test_a_lapsed_gatekeeper_still_has_its_share() -> None:
    report = trust_report(facts(members=(gatekeeper(1), gatekeeper(2, doubt="lease_lapsed"), gatekeeper(3))))
    assert pairs(101, 102) <= sets(report.reveal)


def test_the_next_gatekeepers_count_while_shares_move() -> None:
    committee = replace(
        facts().committee, phase="resharing", successors=(gatekeeper(4), gatekeeper(5)), next_threshold=2
    )
    assert pairs(104, 105) <= sets(trust_report(replace(facts(), committee=committee)).reveal)


def test_validators_alone_reveal_nothing() -> None:
    report = trust_report(facts())
    everyone = [validator(n) for n in range(4)]
    assert not report.reveal.is_reached_by(everyone)
    assert not report.forge.is_reached_by(everyone)
    assert report.reveal.is_reached_by([*everyone[:3], MACHINE])
    assert not report.reveal.is_reached_by([*everyone[:2], MACHINE])


def test_governance_reveals_by_its_threshold_after_its_delay() -> None:
    report = trust_report(facts())
    law = [Party("governance", (key("law", n).hex(),)) for n in range(3)]
    assert report.reveal.is_reached_by(law[:2])
    assert not report.reveal.is_reached_by(law[:1])
    assert any("after 1 day" in way.how for way in report.reveal.ways)


def test_a_governance_key_that_is_an_operators_is_his() -> None:
    law = Governance((key("operator", 101), key("operator", 102)), 2, 0)
    report = trust_report(replace(facts(), governance=law))
    assert report.stop.is_reached_by([operator(101), operator(102)])
    (said,) = [item.sentence for item in report.alone if item.party == operator(101)]
    assert "governance keys" in said


# --- forge ---


def test_quorum_1_is_forged_by_the_one_worker() -> None:
    assert frozenset({operator(1)}) in sets(trust_report(facts()).forge)


def test_a_quorum_of_2_of_3_is_forged_by_two_or_by_one_with_the_validators() -> None:
    report = trust_report(facts((worker(1), worker(2), worker(3)), quorum=2))
    found = sets(report.forge)
    assert pairs(1, 2, 3) <= found
    assert not report.forge.is_reached_by([operator(1)])
    assert frozenset({operator(1), *(validator(n) for n in range(3))}) in found
    assert frozenset({operator(101), operator(102), *(validator(n) for n in range(3))}) in found
    assert not report.forge.is_reached_by([operator(101), operator(102)])


def test_one_operator_with_two_workers_has_both_votes() -> None:
    report = trust_report(facts((worker(1, operator=5), worker(2, operator=5), worker(3)), quorum=2))
    assert report.forge.is_reached_by([operator(5)])
    assert not report.forge.is_reached_by([operator(3)])


# --- stop ---


def test_a_third_of_the_power_stops() -> None:
    report = trust_report(facts((worker(1), worker(2)), validators=4))
    assert report.stop.is_reached_by([validator(0), validator(1)])
    assert not report.stop.is_reached_by([validator(0)])
    assert trust_report(facts(validators=1)).stop.is_reached_by([validator(0)])


def test_workers_stop_what_the_others_cannot_agree_on() -> None:
    report = trust_report(facts((worker(1), worker(2), worker(3)), quorum=2))
    assert report.stop.is_reached_by([operator(1), operator(2)])
    assert not report.stop.is_reached_by([operator(1)])
    assert not trust_report(facts((worker(1), worker(2)))).stop.is_reached_by([operator(1)])


def test_a_single_worker_disputes_keys_that_are_not_agreed_upon() -> None:
    report = trust_report(replace(facts((worker(1), worker(2))), phase="keying"))
    assert report.stop.is_reached_by([operator(1)])


def test_gatekeepers_stop_by_leaving_fewer_than_t() -> None:
    report = trust_report(facts((worker(1), worker(2)), 3, tuple(gatekeeper(n) for n in range(1, 6))))
    assert report.stop.is_reached_by([operator(101), operator(102), operator(103)])
    assert not report.stop.is_reached_by([operator(101), operator(102)])


@pytest.mark.parametrize(
    "now",
    [
        facts(()),
        facts((worker(1, doubt="lease_lapsed"),)),
        facts(members=(gatekeeper(1), gatekeeper(2, doubt="revoked"), gatekeeper(3, doubt="revoked"))),
        replace(facts(), phase="suspended"),
    ],
    ids=["no worker", "a lapsed one", "short of gatekeepers", "suspended"],
)
def test_what_has_stopped_needs_nobody(now: TrustFacts) -> None:
    assert trust_report(now).stop.fewest == 0


def test_without_a_quorum_every_worker_has_to_be_silent() -> None:
    report = trust_report(facts(tuple(worker(n) for n in (1, 2, 3)), quorum=1))
    assert report.stop.is_reached_by([operator(1), operator(2), operator(3)])
    assert not report.stop.is_reached_by([operator(1), operator(2)])


# --- the whole ---


@st.composite
def any_facts(draw: st.DrawFn) -> TrustFacts:
    workers = tuple(worker(n, draw(st.integers(0, 4)), draw(st.integers(0, 4))) for n in range(draw(st.integers(0, 3))))
    seats = draw(st.integers(1, 4))
    members = tuple(gatekeeper(n, draw(st.integers(0, 5))) for n in range(1, seats + 1))
    return facts(
        workers,
        draw(st.integers(1, seats)),
        members,
        quorum=draw(st.integers(1, max(1, len(workers)))),
        validators=draw(st.integers(1, 4)),
    )


@given(any_facts())
def test_sets_suffice_none_of_their_parties_is_idle_and_single_parties_agree(drawn: TrustFacts) -> None:
    report = trust_report(drawn)
    for goal in (report.reveal, report.forge, report.stop):
        assert goal.is_complete
        for item in goal.sets:
            assert goal.is_reached_by(item)
            assert not any(goal.is_reached_by(item - {party}) for party in item)
        said = {item.party for item in report.alone if goal.goal in item.reaches}
        assert said == {party for party in report.parties if goal.is_reached_by([party])}
    # Whoever forges without validators can also read: content is sealed under the key.
    for item in report.forge.sets:
        if not any(party.kind == "validator" for party in item):
            assert report.reveal.is_reached_by(item)


def test_what_a_party_exposes_is_said() -> None:
    other = Held(ContractId(key("contract", 2)), 1, "assigned", is_published=True)
    here = Held(ContractId(key("contract", 1)), 3, "assigned", is_published=True)
    exposed = Exposure(PublicKey(key("worker", 1)), (here, other), 7)
    said = {item.party: item.sentence for item in trust_report(replace(facts(), exposures=(exposed,))).alone}
    assert "epoch 3, and 1 other contract assigned to it" in said[operator(1)]
    assert "1 of 2 shares: no contract's key" in said[operator(101)]
    assert "neither reveal, nor forge, nor stop" in said[operator(101)]
    assert "no key, no state" in said[validator(0)]
    single = trust_report(facts(threshold=1, members=(gatekeeper(1),)))
    assert any("every key of every contract" in item.sentence for item in single.alone)


def test_keys_that_the_contract_owns_are_exposed_for_ever() -> None:
    here, other = (Signing(ContractId(key("contract", at)), (f"k{at} (ed25519)",), "assigned") for at in (1, 2))
    exposed = Exposure(PublicKey(key("worker", 1)), (), 7, (here, other))
    report = trust_report(replace(facts(), exposures=(exposed,)))
    said = {item.party: item.sentence for item in report.alone}
    assert "own keys for ever, for they do not rotate: k1 (ed25519)." in said[operator(1)]
    assert not any("for ever" in sentence for party, sentence in said.items() if party != operator(1))
    assert any("do not rotate at all" in sentence for sentence in report.not_proven)


@pytest.mark.parametrize(("ns", "said"), [(0, "no delay"), (DAY, "1 day"), (90 * 10**9, "1.5 minutes"), (1, "less")])
def test_durations(ns: int, said: str) -> None:
    assert duration(ns).startswith(said)


# --- the picture ---


def words(report: TrustReport) -> str:
    return "\n".join(ET.fromstring(picture(report)).itertext())


def test_the_picture_is_xml_and_names_who_holds_what() -> None:
    report = trust_report(facts((worker(1), worker(2, doubt="revoked")), quorum=2))
    text = words(report)
    for enclave in (*report.facts.workers, *report.facts.committee.members):
        assert enclave.label in text
        assert enclave.operator.hex()[:16] in text
    assert "holds: key of epoch 3" in text
    assert "holds: share 2 of sharing 1, pepper" in text
    assert "governance: 2 of 3" in text
    assert "does not verify now" in text
    assert "SIMULATED" not in text


def test_the_picture_says_loudly_what_is_simulated_and_escapes_names() -> None:
    odd = replace(facts(), name='<b>&"', vendors=(VendorFact("<dev> & co", is_simulated=True),))
    text = words(trust_report(odd))
    assert "TEE: SIMULATED" in text
    assert "SIMULATES hardware" in text
    assert "<dev> & co" in text
    assert '<b>&"' in text


@given(any_facts())
def test_every_report_has_a_picture(drawn: TrustFacts) -> None:
    assert "To reveal the contract's state" in words(trust_report(drawn))
