"""Evidence becomes a verified identity, or is refused.

The argument, against whoever runs the machine and the network, and may own an extracted key of *another* platform:

1. The evidence parses, and the collateral is about its kind of platform.
2. The collateral is the vendor's, current, and not older than what was seen (see `collateral`).
3. The quote is signed by that vendor's hardware, unrevoked, not debuggable (see `quotes`).
4. The TCB info that judged it is about the provisioning enclave that certified it.
5. The report carries exactly the claim, and the claim is for this network.
6. The measured code may take the claimed role now.
7. The platform's TCB status has a confidence level, and one that suffices for the role.

What the caller still owes, because it needs state that is not in the evidence:

* the anchor block's hash is that of the caller's own chain, and `policy.check_anchor` accepts its age;
* one live instance per identity: a newer registration ends the older one;
* the operator's signature over this registration, and his independence where seats or votes are counted;
* policy, collateral and floor come from the ledger, and `now_ns` from its header.

Deterministic: no clock, no I/O. Whoever verifies the same bytes gets the same identity or the same refusal.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, final

from keephold.attestation.collateral import verify_collateral
from keephold.attestation.levels import level
from keephold.attestation.policy import check_allowed, check_level, measurement, report_data
from keephold.attestation.quotes import examine, parse
from keephold.attestation.reasons import Reason
from keephold.base.errors import AttestationRefused
from keephold.base.ids import Measurement, NetworkId, PlatformId
from keephold.base.minting import NoPublicConstructor
from keephold.crypto.hashing import equal, tagged_hash
from keephold.crypto.labels import PLATFORM
from keephold.protocol.evidence import (
    AttestationPolicy,
    Claim,
    Collateral,
    CollateralFloor,
    CollateralSubject,
    Evidence,
    SimulatedVendor,
    Vendor,
)

_NANOSECONDS: Final = 1_000_000_000


@final
@dataclass(frozen=True, slots=True)
class VerifiedIdentity(metaclass=NoPublicConstructor):
    """An enclave that the argument above holds for; made by `verify` only."""

    claim: Claim
    level: int
    """Confidence, 1 (best) to 5."""
    measurement: Measurement
    platform: PlatformId
    """The same for every quote of one processor package, whatever runs on it: seats and votes are counted by it."""
    vendor: Vendor
    subject: CollateralSubject
    """The kind of platform."""
    floor: CollateralFloor
    """Of the collateral that judged it."""
    until_ns: int
    """Block time at which that collateral has expired: from then on it says nothing any more."""

    @property
    def is_simulated(self) -> bool:
        """Say whether the identity rests on a development vendor, that is, on nothing."""
        return isinstance(self.vendor, SimulatedVendor)


def unverified_subject(evidence: Evidence) -> CollateralSubject:
    """Return the kind of platform that the evidence says it comes from: only to look up its collateral.

    Raises:
        AttestationRefused: `malformed`.
    """
    return parse(evidence.quote, evidence.vendor).subject


def verify(
    evidence: Evidence,
    claim: Claim,
    collateral: Collateral,
    policy: AttestationPolicy,
    floor: CollateralFloor,
    *,
    network: NetworkId,
    now_ns: int,
) -> VerifiedIdentity:
    """Return the identity that the evidence makes of the claim.

    Args:
        evidence: From anyone.
        claim: What the sender says the quote binds.
        collateral: The ledger's, for `unverified_subject(evidence)`.
        policy: The ledger's.
        floor: The ledger's, for the same subject; all zero when there is none yet.
        network: The caller's own.
        now_ns: Time of the block that is judged by, nanoseconds since the Unix epoch.

    Raises:
        AttestationRefused: with the `Reason` of the first step that fails.
    """
    # (1) It parses, and vendor, TEE, authority and processor are those of the collateral.
    quote = parse(evidence.quote, evidence.vendor)
    # (2) The collateral may judge.
    judge = verify_collateral(collateral, policy, floor, now_ns=now_ns)
    if judge.subject != quote.subject:
        raise AttestationRefused(Reason.COLLATERAL_MISMATCH, "collateral for another kind of platform")
    # (3) The hardware signed. The library refuses a revoked certificate too, without saying that it was revoked.
    if quote.serial in judge.revoked:
        raise AttestationRefused(Reason.REVOKED, "the platform's certificate")
    findings = examine(quote, judge.encoded, judge.vendor.root, now_s=now_ns // _NANOSECONDS)
    # (4) The library compares the FMSPC of quote and TCB info, and leaves this to us.
    if findings.pce_id != judge.pce_id:
        raise AttestationRefused(Reason.PCE_ID, findings.pce_id.hex())
    # (5) The claim, whole.
    if not equal(claim.network, network):
        raise AttestationRefused(Reason.NETWORK, claim.network.hex())
    if not equal(bytes.fromhex(findings.report.report_data), report_data(claim)):
        raise AttestationRefused(Reason.REPORT_DATA, "the quote binds another claim")
    # (6) The code.
    measured = measurement(findings.report, evidence.events)
    check_allowed(policy, measured, claim.role, now_ns=now_ns)
    # (7) The platform.
    confidence = level(findings.status, findings.advisories, policy.accepted_advisories)
    check_level(policy, confidence, claim.role)
    return VerifiedIdentity._mint(  # noqa: SLF001 - the one place that makes it
        claim=claim,
        level=confidence,
        measurement=measured,
        platform=PlatformId(tagged_hash(PLATFORM, judge.vendor.root, findings.ppid)),
        vendor=judge.vendor,
        subject=judge.subject,
        floor=judge.floor,
        until_ns=judge.until_ns,
    )
