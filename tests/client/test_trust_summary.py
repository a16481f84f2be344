"""The five sentences on top of a trust report say what the report says below them, and no more."""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import combinations

from hypothesis import given
from hypothesis import strategies as st
from tests.client.test_trust import any_facts, facts, gatekeeper, key, worker

from keephold.client.breaking import Breaking
from keephold.client.trust import TrustReport, trust_report
from keephold.client.trust_facts import Governance, TrustFacts, VendorFact


def goals(report: TrustReport) -> list[tuple[Breaking, str]]:
    said = report.summary
    return [(report.reveal, said.read), (report.forge, said.forge), (report.stop, said.stop)]


def sizes(sentence: str) -> list[int]:
    """How many parties each part of a goal's sentence speaks of."""
    parts = (part.split(" ", 1)[0].lower() for part in sentence.split("; or "))
    return [1 if word == "one" else int(word) for word in parts]


def told(part: str) -> int:
    """How many sets a part of a sentence speaks of."""
    kinds = part.split(": ", 1)[1].rstrip(".").split(", ")
    if part.lower().startswith("one party"):
        return sum(int(item.split()[0]) for item in kinds)
    counts = [re.search(r"\((\d+) such sets\)", item) for item in kinds]
    return sum(int(found.group(1)) if found else 1 for found in counts)


@given(any_facts())
def test_a_goal_takes_as_many_parties_as_its_sentence_says_and_no_fewer(drawn: TrustFacts) -> None:
    report = trust_report(drawn)
    for goal, sentence in goals(report):
        if goal.fewest in {None, 0}:
            assert sentence == (
                "Nobody named below, not even all of them together."
                if goal.fewest is None
                else "Nobody is needed: it is so already."
            )
            continue
        said = sizes(sentence)
        assert said == sorted({len(item) for item in goal.sets})[:2]
        # By brute force: nobody smaller reaches it.
        everyone = sorted({party for item in goal.sets for party in item})
        assert not any(goal.is_reached_by(few) for size in range(said[0]) for few in combinations(everyone, size))
        assert [told(part) for part in sentence.split("; or ")] == [
            sum(len(item) == size for item in goal.sets) for size in said
        ]


@given(any_facts())
def test_one_party_suffices_exactly_if_the_details_name_one(drawn: TrustFacts) -> None:
    report = trust_report(drawn)
    for goal, sentence in goals(report):
        if goal.fewest != 0:
            assert sentence.startswith("One party alone") == any(goal.goal in item.reaches for item in report.alone)


@given(any_facts())
def test_the_worst_break_is_one_of_the_details_and_nobodys_is_worse(drawn: TrustFacts) -> None:
    report = trust_report(drawn)
    worst = report.summary.worst.split(" Of the others: ")
    details = {f"{item.party.label}. {item.sentence}": item for item in report.alone}
    named = [details[said] for said in worst]
    for item in report.alone:
        assert not set(item.reaches) > set(named[0].reaches)
        if item.party.kind != "vendor":
            assert not set(item.reaches) > set(named[-1].reaches)


@given(any_facts(), st.booleans(), st.integers(0, 2))
def test_what_is_assumed_is_what_the_facts_do_not_show(drawn: TrustFacts, simulated: bool, doubted: int) -> None:
    workers = tuple(
        replace(item, doubt="lease_lapsed", level=0) if number < doubted else item
        for number, item in enumerate(drawn.workers)
    )
    now = replace(drawn, workers=workers, vendors=(VendorFact("vendor", is_simulated=simulated),))
    report = trust_report(now)
    said = report.summary.assumed
    assert ("SIMULATED" in said) == report.is_simulated == simulated
    assert ("keeps its promise" in said) != simulated
    missing = sum(not item.is_verified for item in workers)
    total = len(workers) + len(now.committee.members)
    assert (f"{missing} of {total} enclaves do not verify" in said) == (missing > 0)
    assert f"{len(report.not_proven)} points" in said


def test_what_a_treasurer_reads() -> None:
    report = trust_report(facts((worker(1), worker(2), worker(3)), quorum=2))
    said = report.summary
    assert said.read == (
        "One party alone: 3 operators of workers, 1 TEE vendor; or 2 parties together: 2 governance keys (3 such "
        "sets), 2 operators of gatekeepers (3 such sets)."
    )
    assert said.forge.startswith(
        "One party alone: 1 TEE vendor; or 2 parties together: 2 governance keys (3 such sets)"
    )
    assert said.worst.startswith("TEE vendor vendor. ")
    assert "Of the others: operator" in said.worst
    assert "Confidence level 1 (1 is the best); the contract takes workers of 2 or better." in said.assumed
    assert [line.split(":")[0] for line in said.lines] == [
        "Who can read it",
        "Who can forge it",
        "Who can stop it",
        "Worst single break",
        "Taken on trust",
    ]


def test_who_runs_a_worker_and_a_gatekeeper_is_named_as_both() -> None:
    members = (gatekeeper(1, operator=50), gatekeeper(2), gatekeeper(3))
    report = trust_report(facts((worker(1, operator=50),), members=members))
    assert "1 operator of a worker and a gatekeeper" in report.summary.read


def test_what_needs_nobody_is_said_so() -> None:
    assert trust_report(replace(facts(), phase="suspended")).summary.stop == "Nobody is needed: it is so already."


def test_sets_that_are_not_all_listed_are_said_to_be_more() -> None:
    members = tuple(gatekeeper(n) for n in range(1, 12))
    report = trust_report(replace(facts((), threshold=6, members=members), validators=(), vendors=()))
    lone = trust_report(replace(report.facts, governance=Governance((key("law", 1),), 2, 0)))
    assert not lone.reveal.is_complete
    assert lone.summary.read == "6 parties together: 6 operators of gatekeepers (at least 128 such sets)."
