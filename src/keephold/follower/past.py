"""Who once was an enclave: a registration that the ledger accepted, whatever became of its lease since.

For one purpose: a newcomer to the committee asks whether those who deal to it held their seats by law. A dealer may
have lapsed, or run a build that governance delisted (that is why it is replaced), so `trust` refuses it. It gets no key
and no say from this; what it deals is checked against public shares. The steps are those of `trust`, with two changes:

* The code was allowed *when the registration was ordered*, and any confidence level will do.
* In place of a lease: the transaction lies in a block of our chain no later after its anchor than the quote window of
  that time, and was accepted there. So a build that was broken after it was delisted cannot register itself into the
  past, short of another chain from before.

Revoked is revoked, of identity and of hardware: revocations are judged by the law and the collateral of now.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, final

from msgspec.structs import replace

from keephold.attestation.reasons import Reason
from keephold.attestation.verify import VerifiedIdentity, unverified_subject
from keephold.base.errors import AttestationRefused, LedgerRefused, ProofInvalid
from keephold.base.ids import PublicKey
from keephold.base.minting import NoPublicConstructor
from keephold.follower.follow import Follower
from keephold.follower.law import Law
from keephold.follower.trust import judge, open_register
from keephold.protocol.codec import decode
from keephold.protocol.evidence import FOREVER, Evidence, collateral_key
from keephold.protocol.governance import Constitution
from keephold.protocol.refusals import Refusal
from keephold.protocol.state import CollateralRecord, Registration, collateral_path, governance_path, registration_path
from keephold.protocol.transactions import UpdateCollateral, open_signed

_ANY_LEVEL: Final = 5


@final
@dataclass(frozen=True, slots=True)
class PastRegistration(metaclass=NoPublicConstructor):
    """An enclave that was admitted by the law of its time; made by `verify_past` only."""

    identity: PublicKey
    proof: VerifiedIdentity


async def verify_past(follower: Follower, identity: PublicKey) -> PastRegistration:
    """Return the last registration of an identity, as it was admitted.

    Raises:
        LedgerRefused: `not_registered`, `revoked` or `attestation`: the ledger had refused it.
        AttestationRefused: the evidence does not hold, or did not then.
        CryptoError, EncodingError, ChainRefused: what the node sent does not hold.
        UnavailableError
    """
    network, path = follower.view.network, registration_path(identity)
    # Steps 1 to 3 of `trust`.
    proven = await follower.prove((path, governance_path()))
    raw = proven[path]
    if raw is None:
        raise LedgerRefused(Refusal.NOT_REGISTERED.word, identity.hex())
    record = decode(raw, Registration)
    found = (await follower.locate([record.transaction])).get(record.transaction)
    if found is None:
        raise ProofInvalid("the node does not have the registration's transaction")
    register = open_register(record, found.raw, identity, network)
    # Ordered in time, and accepted.
    law = await follower.law_of(proven[governance_path()])
    anchor, ordered = await follower.header(register.anchor_height), await follower.header(found.height)
    then, now = law.before(ordered.time_ns), law.at(proven.time_ns)
    if found.result.code:
        raise LedgerRefused(Refusal.ATTESTATION.word, "a registration that the ledger refused")
    if ordered.time_ns - anchor.time_ns > then.attestation.quote_window_ns:
        raise AttestationRefused(Reason.ANCHOR, "ordered later than its quote may be used")
    if identity in now.revoked or record.status == "revoked":
        raise LedgerRefused(Refusal.REVOKED.word, identity.hex())
    # Steps 4 and 5.
    judged_by, collateral = await _collateral(follower, register.evidence)
    law_of_then = _with_code_of(now, law, ordered.time_ns)
    judged = judge(identity, register, collateral, judged_by, anchor, law_of_then, network, proven.time_ns)
    return PastRegistration._mint(identity=identity, proof=judged.proof)  # noqa: SLF001 - the one place that makes it


def _with_code_of(now: Constitution, law: Law, then_ns: int) -> Constitution:
    """Return the law of now with the builds that were allowed then, and without a bound on the level."""
    builds = tuple(
        replace(entry, from_ns=0, until_ns=FOREVER)
        for entry in law.before(then_ns).attestation.measurements
        if entry.from_ns <= then_ns < entry.until_ns
    )
    return replace(now, attestation=replace(now.attestation, measurements=builds, gatekeeper_max_level=_ANY_LEVEL))


async def _collateral(follower: Follower, evidence: Evidence) -> tuple[CollateralRecord, UpdateCollateral]:
    path = collateral_path(collateral_key(unverified_subject(evidence)))
    raw = (await follower.prove([path]))[path]
    if raw is None:
        raise AttestationRefused(Reason.COLLATERAL_MISMATCH, "the ledger has no collateral for this platform")
    record = decode(raw, CollateralRecord)
    brought = (await follower.transactions([record.transaction])).get(record.transaction)
    if brought is None:
        raise ProofInvalid("the node does not have the collateral's transaction")
    body = open_signed(brought, follower.view.network).body
    if not isinstance(body, UpdateCollateral):
        raise ProofInvalid("the collateral's transaction is not one")
    return record, body
