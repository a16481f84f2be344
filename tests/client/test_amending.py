"""Amendments change what is named and copy the rest; the sentences about them leave no change out."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from keephold.attestation import roots
from keephold.base.errors import InputError, LedgerRefused
from keephold.client import amending
from keephold.client.law_words import cautions, changes, duration, moment, sentences
from keephold.crypto.secret import SecretBytes
from keephold.crypto.signing import SigningKey
from keephold.protocol.evidence import FOREVER, AllowedMeasurement, AttestationPolicy, SimulatedVendor
from keephold.protocol.governance import (
    CommitteeRules,
    Constitution,
    GovernanceRules,
    RevokeIdentity,
    Timing,
    ValidatorEntry,
    amended,
    check_constitution,
)

SECOND = 10**9
GOVERNORS = sorted(SigningKey(SecretBytes(bytes([n]) * 32)).public for n in (1, 2, 3, 4))
BUILD, OTHER, KEY = b"b" * 32, b"o" * 32, b"v" * 32
INTEL = roots.intel()
LAW = Constitution(
    GovernanceRules(tuple(GOVERNORS[:3]), 2, 3600 * SECOND),
    AttestationPolicy(
        (INTEL,), (AllowedMeasurement(BUILD, "worker"), AllowedMeasurement(OTHER, "gatekeeper")), 600 * SECOND,
        ("INTEL-SA-00001",),
    ),
    CommitteeRules(3, 2, 30 * SECOND),
    Timing(3600 * SECOND, 10 * SECOND, 48 * 3600 * SECOND),
    (ValidatorEntry(KEY, 10),),
)  # fmt: skip


def said(action):
    law = amended(LAW, action)
    check_constitution(law)
    return changes(LAW, law)


def test_each_amendment_says_old_and_new_and_nothing_else_changes():
    at = 1_800_000_000 * SECOND
    assert said(amending.allow(LAW, BUILD, "gatekeeper")) == (f"build {BUILD.hex()} may be a gatekeeper, for ever",)
    assert said(amending.delist(LAW, BUILD, "worker", until_ns=at)) == (
        f"build {BUILD.hex()} as a worker: for ever → until 2027-01-15T08:00:00Z",
    )
    assert said(amending.delist(LAW, BUILD, "worker", until_ns=None)) == (
        f"build {BUILD.hex()} may be a worker no more",
    )
    assert said(amending.attestation(LAW, accept=["INTEL-SA-2"], reject=["INTEL-SA-00001"])) == (
        "advisory INTEL-SA-2 is accepted: it lowers no confidence level any more",
        "advisory INTEL-SA-00001 is accepted no more",
    )
    assert said(amending.attestation(LAW, gatekeeper_max_level=1, quote_window_s=60)) == (
        "worst confidence level of a gatekeeper: 2 → 1",
        "a quote is accepted for: 10 minutes → 1 minute",
    )
    (gone,) = said(amending.attestation(LAW, disbelieve=["intel"]))
    assert gone.startswith("vendor intel (hardware; root ")
    assert gone.endswith("is believed no more")
    assert said(amending.attestation(LAW, believe=[INTEL])) == ()
    assert said(amending.committee(LAW, seats=5, threshold=3)) == (
        "seats of the committee: 3 → 5",
        "gatekeepers that make a key: 2 → 3",
    )
    assert said(amending.governance(LAW, add=[GOVERNORS[3]], remove=[GOVERNORS[0]], delay_s=0))[2:] == (
        "delay of an amendment: 1 hour → none",
    )
    assert (
        said(amending.governance(LAW, add=[GOVERNORS[3]], threshold=3))[1] == "keys that amend the law: 2 of 3 → 3 of 4"
    )
    assert len(said(RevokeIdentity(BUILD))) == 1


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: amending.delist(LAW, BUILD, "gatekeeper", until_ns=None),
        lambda: amending.attestation(LAW, reject=["INTEL-SA-2"]),
        lambda: amending.attestation(LAW, accept=["x"], reject=["x"]),
        lambda: amending.attestation(LAW, disbelieve=["amd"]),
        lambda: amending.attestation(LAW, gatekeeper_max_level=6),
        lambda: amending.attestation(LAW, quote_window_s=0),
        lambda: amending.committee(LAW, threshold=0),
        lambda: amending.committee(LAW, phase_s=0),
        lambda: amending.governance(LAW, remove=[GOVERNORS[3]]),
        lambda: amending.governance(LAW, threshold=0),
        lambda: amending.governance(LAW, delay_s=-1),
        lambda: amending.validators(LAW, {OTHER: 0}),
        lambda: amending.validators(LAW, {KEY: 10}),
    ],
)
def test_what_the_law_does_not_have_is_not_taken_off_nor_out_of_range_put_in(wrong):
    with pytest.raises(InputError):
        wrong()


@pytest.mark.parametrize("action", [amending.committee(LAW, seats=2), amending.governance(LAW, threshold=4)])
def test_a_law_that_cannot_be_lived_under_is_refused_as_the_ledger_refuses_it(action):
    with pytest.raises(LedgerRefused):
        check_constitution(amended(LAW, action))


def test_a_delisted_build_is_admitted_anew_as_one_entry():
    gone = amended(LAW, amending.delist(LAW, BUILD, "worker", until_ns=5))
    again = amended(gone, amending.allow(gone, BUILD, "worker"))
    assert sorted(again.attestation.measurements, key=lambda item: item.measurement) == list(
        LAW.attestation.measurements
    )


def test_what_somebody_may_regret_is_cautioned_about():
    assert cautions(LAW) == ()
    found = [
        *cautions(amended(LAW, amending.delist(LAW, OTHER, "gatekeeper", until_ns=7))),
        *cautions(amended(LAW, amending.attestation(LAW, disbelieve=["intel"]))),
        *cautions(amended(LAW, amending.governance(LAW, threshold=3, delay_s=0))),
        *cautions(amended(LAW, amending.committee(LAW, seats=1, threshold=1))),
    ]
    assert len(found) == 5
    assert found[0] == "no build is left that may be a gatekeeper for ever"


def test_a_simulated_vendor_says_so_in_the_law():
    fake = SimulatedVendor(*(getattr(INTEL, name) for name in INTEL.__struct_fields__))
    law = replace(LAW, attestation=replace(LAW.attestation, vendors=(fake,)))
    assert any("SIMULATED" in line for line in sentences(law))
    assert len(changes(LAW, law)) == 2


builds = st.builds(
    AllowedMeasurement, st.sampled_from([BUILD, OTHER]), st.sampled_from(["worker", "gatekeeper"]), st.integers(0, 2),
    st.sampled_from([3, FOREVER]),
)  # fmt: skip
laws = st.builds(
    Constitution,
    st.builds(GovernanceRules, st.lists(st.sampled_from(GOVERNORS), unique=True).map(tuple), st.integers(1, 3),
              st.integers(0, 2)),
    st.builds(AttestationPolicy, st.lists(st.sampled_from([replace(INTEL, name=name) for name in "ab"])).map(tuple),
              st.lists(builds, max_size=3).map(tuple), st.integers(1, 2),
              st.lists(st.sampled_from("xy"), unique=True).map(tuple), st.integers(1, 5)),
    st.builds(CommitteeRules, st.integers(1, 2), st.integers(1, 2), st.integers(1, 2)),
    st.builds(Timing, st.integers(1, 2), st.integers(1, 2), st.integers(1, 2)),
    st.lists(st.builds(ValidatorEntry, st.sampled_from([KEY, OTHER]), st.integers(1, 2)),
             unique_by=lambda entry: entry.public_key).map(tuple),
)  # fmt: skip


@given(laws, laws)
def test_no_change_is_silent_and_no_sentence_is_without_change(before, after):
    assert bool(changes(before, after)) == (before != after)


@given(laws, laws)
def test_only_order_is_said_to_be_order(before, after):
    if changes(before, after)[:1] == ("the order in which the law lists its parts changes, and nothing else",):
        for one, other in (
            (before.governance.keys, after.governance.keys),
            (before.attestation.accepted_advisories, after.attestation.accepted_advisories),
        ):
            assert sorted(one) == sorted(other)
        assert (before.committee, before.timing) == (after.committee, after.timing)
        assert before.attestation.vendors == after.attestation.vendors


def test_times_and_durations_as_people_read_them():
    assert (moment(0), moment(FOREVER), moment(FOREVER - 1)) == (
        "1970-01-01T00:00:00Z",
        "for ever",
        "2262-04-11T23:47:16Z",
    )
    assert [duration(n * SECOND) for n in (0, 1, 90, 120, 7200, 86_400)] == [
        "none", "1 second", "90 seconds", "2 minutes", "2 hours", "1 day",
    ]  # fmt: skip
    assert duration(5) == "5 ns"
