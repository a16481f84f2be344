"""What is written from the specification's text alone comes to what the vectors say: how the MasterKey comes to be."""

from __future__ import annotations

from typing import Any

from spec_vectors import cases, plain, raw


def test_the_threshold_prf(spec):
    for case in cases("threshold", "prf_input"):
        network, line = raw(case["in"], "network", "line")
        fields = spec.record(line)
        ends = {
            "contract": ("contract", "epoch"),
            "signing": ("contract",),
            "channel": ("source", "source_epoch", "target", "target_epoch"),
        }[fields["line"]]
        parts = [spec.n(fields[name]) if name.endswith("epoch") else fields[name] for name in ends]
        assert spec.H(f"line-{fields['line']}/1", network, *parts).hex() == case["out"]["x"]
    for case in cases("threshold", "combine", accepted=True)[:2]:
        partials = [spec.record(bytes.fromhex(partial)) for partial in case["in"]["partials"]]
        for at, (x, seed) in enumerate(zip(case["in"]["inputs"], case["out"]["seeds"], strict=True)):
            points = {partial["seat"]: partial["points"][at] for partial in partials}
            assert spec.combine(points, partials[0]["macs"][at], bytes.fromhex(x)).hex() == seed


def test_governance_and_the_context_of_a_round(spec):
    (case,) = cases("governance", "head")
    enacted = {"signed": spec.record(bytes.fromhex(case["in"]["signed"])), "enacted_ns": case["in"]["enacted_ns"]}
    assert (
        spec.H("governance-chain/1", bytes.fromhex(case["in"]["head"]), spec.cbor(enacted)).hex() == case["out"]["head"]
    )
    (case,) = cases("ceremony", "context")
    state = spec.record(bytes.fromhex(case["in"]["opened"]))
    numbers = [spec.n(state[name]) for name in ("sharing_epoch", "round", "threshold")]
    dealers = [spec.n(one["seat"]) + one["member"] + one.get("anchor", b"") for one in state["dealers"]]
    receivers = [spec.n(one["seat"]) + one["member"] for one in state["receivers"]]
    named = (state["network"], state["purpose"].encode(), *numbers, spec.n(len(dealers)), *dealers, *receivers)
    assert spec.H("dkg-context/1", *named).hex() == case["out"]["context"]


def test_partials_are_proven(spec, group):
    for case in cases("threshold", "partial", accepted=True):
        committee, partial = (spec.record(raw(where, name)[0]) for where, name in (
            (case["in"], "committee"), (case["out"], "partial")))  # fmt: skip
        (public,) = [seat["public_share"] for seat in committee["seats"] if seat["seat"] == case["in"]["seat"]]
        inputs = [bytes.fromhex(x) for x in case["in"]["inputs"]]
        assert group.dleq_holds(public, inputs, partial["points"], partial["proof"])
        assert not group.dleq_holds(public, inputs[::-1], partial["points"], partial["proof"])
        assert partial["macs"] == [spec.mac(bytes.fromhex(case["in"]["pepper"]), "master-pepper/1", x) for x in inputs]


def messages(case: dict[str, Any], spec, kind: str) -> dict[str, dict[str, Any]]:
    """Return the messages of one kind by their sender; of a round that restarts, the last."""
    sent = [message for message in case["in"]["messages"] if message["kind"] == kind]
    return {message["sender"]: spec.record(bytes.fromhex(message["message"])) for message in sent}


def test_a_generation_yields_what_its_extractions_add_up_to(spec, group):
    case = cases("ceremony", "replay", accepted=True)[0]
    state = spec.record(bytes.fromhex(case["in"]["opened"]))
    (context,) = [bytes.fromhex(item["out"]["context"]) for item in cases("ceremony", "context")]
    dealings, extractions = messages(case, spec, "DkgDealing"), messages(case, spec, "DkgExtraction")
    keys = plain(case["out"]["committee"])
    polynomials = []
    for dealer in state["dealers"]:
        sender = dealer["member"].hex()
        committed, extraction = dealings[sender]["commitments"], extractions[sender]
        bound = (context, spec.n(dealer["seat"]))
        assert group.extraction_holds(spec.framed, committed, extraction["commitments"], extraction, *bound)
        another = (context, spec.n(dealer["seat"] + 1))
        assert not group.extraction_holds(spec.framed, committed, extraction["commitments"], extraction, *another)
        polynomials.append(extraction["commitments"])
    total = [group.plus(*column) for column in zip(*polynomials, strict=True)]
    assert keys["master"] == total[0]
    assert [seat["public_share"] for seat in keys["seats"]] == [
        group.value_at(total, seat["seat"]) for seat in keys["seats"]
    ]
    assert keys["peppers"] == [dealings[dealer["member"].hex()]["pepper"] for dealer in state["dealers"]]


def test_a_resharing_keeps_the_master_key(spec, group):
    (case,) = [case for case in cases("ceremony", "replay") if case["name"].startswith("a resharing")]
    state = spec.record(bytes.fromhex(case["in"]["opened"]))
    dealings, keys = messages(case, spec, "DkgDealing"), plain(case["out"]["committee"])
    dealers = [dealer for dealer in state["dealers"] if dealer["member"].hex() in dealings]
    assert [dealings[dealer["member"].hex()]["commitments"][0] for dealer in dealers] == [
        dealer["anchor"] for dealer in dealers
    ]
    factors = group.weights([dealer["seat"] for dealer in dealers])
    columns = zip(*(dealings[dealer["member"].hex()]["commitments"] for dealer in dealers), strict=True)
    total = [
        group.plus(*(group.times(factor, point) for factor, point in zip(factors, column, strict=True)))
        for column in columns
    ]
    assert keys["master"] == total[0] == state["master"]
    assert [seat["public_share"] for seat in keys["seats"]] == [
        group.value_at(total, seat["seat"]) for seat in keys["seats"]
    ]
