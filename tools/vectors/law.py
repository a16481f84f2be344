"""A genesis of fixed keys, and governance actions under it."""

from __future__ import annotations

from typing import Any, Final

from keephold.base.ids import NetworkId
from keephold.crypto.signing import SigningKey
from keephold.protocol.codec import decode, encode
from keephold.protocol.evidence import AttestationPolicy
from keephold.protocol.genesis import Genesis, network_id
from keephold.protocol.governance import (
    CancelProposal,
    CommitteeFloor,
    CommitteeRules,
    Constitution,
    Enacted,
    GovernanceRules,
    Proposal,
    RevokeIdentity,
    SetCommittee,
    SignedProposal,
    Timing,
    ValidatorEntry,
    chain_head,
    check_proposal,
    digest_of,
    sign_proposal,
)
from vectors.base import Family, Given, Maker, fixed, octets, secret, shown

_SECOND: Final = 10**9
GOVERNORS: Final = sorted((SigningKey(secret(f"governor {at}")) for at in range(3)), key=lambda key: key.public)


def genesis(name: str = "vectors", threshold: int = 2) -> Genesis:
    """Return a genesis."""
    law = Constitution(
        governance=GovernanceRules(tuple(key.public for key in GOVERNORS), threshold, 60 * _SECOND),
        attestation=AttestationPolicy((), (), 3600 * _SECOND),
        committee=CommitteeRules(5, 3, 60 * _SECOND),
        timing=Timing(86_400 * _SECOND, 30 * _SECOND, 1_209_600 * _SECOND),
        validators=(ValidatorEntry(fixed("validator"), 10),),
        floor=CommitteeFloor(3, 2),
    )
    return Genesis(name, 1_700_000_000 * _SECOND, fixed("guest"), law)


def _check(given: Given) -> dict[str, Any]:
    law = decode(octets(given, "genesis"), Genesis)
    signed = decode(octets(given, "signed"), SignedProposal)
    check_proposal(signed, law.law, (), network_id(law), given["sequence"])
    return {"proposal": shown(signed.proposal)}


def _head(given: Given) -> dict[str, Any]:
    enacted = Enacted(decode(octets(given, "signed"), SignedProposal), given["enacted_ns"])
    return {"head": chain_head(octets(given, "head"), enacted).hex()}


def _make(maker: Maker) -> None:
    network = network_id(genesis())
    proposal = Proposal(network, 1, RevokeIdentity(fixed("identity")))
    shared = {"genesis": encode(genesis()).hex(), "sequence": 1}

    def signed(what: Proposal) -> Given:
        endorsed = SignedProposal(what, tuple(sign_proposal(what, key) for key in GOVERNORS[:2]))
        return {**shared, "signed": encode(endorsed).hex()}

    good = maker.kept("signed by two of three", "signed", "check", lambda: signed(proposal))
    maker.add("signed by two of three", "check", good)
    enacted = {"head": bytes(32).hex(), "signed": good["signed"], "enacted_ns": 1_700_000_100 * _SECOND}
    maker.add("the chain's head after it", "head", enacted)
    refused = "ledger_refused/governance"
    maker.add("the same again", "check", {**good, "sequence": 2}, refused)
    first, second = decode(bytes.fromhex(good["signed"]), SignedProposal).endorsements
    another = Proposal(network, 1, RevokeIdentity(fixed("another")))
    elsewhere = Proposal(NetworkId(fixed("elsewhere")), 1, proposal.action)
    for text, endorsed in (
        ("one signature", SignedProposal(proposal, (first,))),
        ("one signature twice", SignedProposal(proposal, (first, first))),
        ("signatures in another order", SignedProposal(proposal, (second, first))),
        ("signatures of another action", SignedProposal(another, (first, second))),
        ("for another network", SignedProposal(elsewhere, (first, second))),
    ):
        maker.add(text, "check", {**good, "signed": encode(endorsed).hex()}, refused)
    below = Proposal(network, 1, SetCommittee(CommitteeRules(3, 1, 60 * _SECOND)))
    name = "a committee below the floor"
    maker.add(name, "check", maker.kept(name, "signed", "check", lambda: signed(below)), refused)
    nothing = Proposal(network, 1, CancelProposal(digest_of(proposal)))
    name = "a cancellation of what does not wait"
    maker.add(name, "check", maker.kept(name, "signed", "check", lambda: signed(nothing)), refused)


GOVERNANCE: Final = Family(
    "governance",
    "Amendments under the law of a genesis.",
    {"check": _check, "head": _head},
    _make,
)
