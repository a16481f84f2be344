"""Evidence, what it claims, the collateral that judges it, and the policy both answer to.

All of it is what anybody may send: nothing here is verified. `keephold.attestation` turns it into types that are.

Collateral does not travel with evidence. It lies on the ledger, one current set per kind of platform, so that every
reader of the ledger judges a quote by the same collateral, and nobody can bring an older one to his own trial.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal

from msgspec import Meta

from keephold.base.limits import MAX_COLLATERAL_PART, MAX_QUOTE, MAX_RUNTIME_EVENTS
from keephold.protocol.codec import Record, encode
from keephold.protocol.types import (
    Bytes32,
    Bytes64,
    EncryptionKeyBytes,
    Level,
    Positive,
    PublicKeyBytes,
    Text,
    Uint63,
)

Role = Literal["worker", "gatekeeper"]
"""What an enclave was measured and admitted for."""

Tee = Literal["sgx", "tdx"]
"""What made the quote; TCB info and QE identity differ between the two on one and the same processor."""

PckAuthority = Literal["processor", "platform"]
"""Which of the vendor's two authorities certified the platform; each has its own revocation list."""

Fmspc = Annotated[bytes, Meta(min_length=6, max_length=6)]
"""Family, model, stepping, platform type and SKU: the processors that one TCB info speaks about."""

FOREVER: Final = (1 << 63) - 1
"""A time that no block reaches."""


class RuntimeEvent(Record):
    """One extension of RTMR3, as the guest's own log tells it; believed only if the log replays to the register."""

    name: Text
    payload: Annotated[bytes, Meta(max_length=1024)]


class Evidence(Record):
    """What an enclave shows for itself."""

    vendor: Text
    """The policy's name of the vendor to verify under. A hint: naming another one makes the quote fail, never pass."""
    quote: Annotated[bytes, Meta(max_length=MAX_QUOTE)]
    """A DCAP quote: SGX version 3, TDX version 4 or 5."""
    events: Annotated[tuple[RuntimeEvent, ...], Meta(max_length=MAX_RUNTIME_EVENTS)] = ()
    """The log behind RTMR3, for platforms that put a value of their own into it at each boot (dstack)."""


class Claim(Record):
    """What the quote's report data binds, in the clear. Whoever relies on a field compares it with what he expects."""

    network: Bytes32
    role: Role
    signing_key: PublicKeyBytes
    """The identity."""
    encryption_key: EncryptionKeyBytes
    operator: PublicKeyBytes
    """The account that answers for this machine: a stolen quote registers nobody else."""
    instance: Bytes32
    """Random at each attestation: tells two boots, or two clones, of one identity apart."""
    anchor_height: Positive
    anchor_hash: Bytes32
    """A block of the chain that the enclave verified itself: the quote is younger than it."""


CertificateChain = Annotated[str, Meta(max_length=MAX_COLLATERAL_PART)]
"""PEM: the certificate, then the vendor's root."""
SignedJson = Annotated[str, Meta(max_length=MAX_COLLATERAL_PART)]
RevocationList = Annotated[bytes, Meta(max_length=MAX_COLLATERAL_PART)]


class Collateral(Record):
    """What a vendor publishes about one kind of platform; field for field DCAP's `quote3` collateral."""

    vendor: Text
    """The policy's name of the vendor to verify under."""
    pck_crl_issuer_chain: CertificateChain
    root_ca_crl: RevocationList
    """DER."""
    pck_crl: RevocationList
    """DER."""
    tcb_info_issuer_chain: CertificateChain
    tcb_info: SignedJson
    """The JSON object as signed, character by character: not its `tcbInfo` envelope."""
    tcb_info_signature: Bytes64
    qe_identity_issuer_chain: CertificateChain
    qe_identity: SignedJson
    qe_identity_signature: Bytes64


class CollateralSubject(Record):
    """The kind of platform that one set of collateral speaks about."""

    vendor: Text
    tee: Tee
    authority: PckAuthority
    fmspc: Fmspc


class CollateralFloor(Record):
    """How new collateral must be, component by component; times in seconds since the Unix epoch.

    Unexpired collateral can be replayed: without floors an attacker undoes a revocation, or an "out of date", for the
    weeks until it expires. The CRLs count by time because Intel's CRL numbers never move.
    """

    tcb_evaluation: Uint63 = 0
    """`tcbEvaluationDataNumber` of the TCB info."""
    qe_evaluation: Uint63 = 0
    tcb_issued: Uint63 = 0
    qe_issued: Uint63 = 0
    root_crl_issued: Uint63 = 0
    pck_crl_issued: Uint63 = 0

    def admits(self, other: CollateralFloor) -> bool:
        """Say whether `other` is at or above this floor in every component."""
        return (
            other.tcb_evaluation >= self.tcb_evaluation
            and other.qe_evaluation >= self.qe_evaluation
            and other.tcb_issued >= self.tcb_issued
            and other.qe_issued >= self.qe_issued
            and other.root_crl_issued >= self.root_crl_issued
            and other.pck_crl_issued >= self.pck_crl_issued
        )


class HardwareVendor(Record, tag="hardware", tag_field="kind"):
    """A manufacturer whose root certifies processors."""

    name: Text
    root: Annotated[bytes, Meta(max_length=MAX_COLLATERAL_PART)]
    """The self-signed root certificate, DER."""
    tcb_signer: Text
    """Common name of the certificate that may sign TCB info and QE identities."""
    processor_authority: Text
    """Common name of the authority for single-package platforms."""
    platform_authority: Text
    """Common name of the authority for multi-package platforms."""


class SimulatedVendor(Record, tag="simulated", tag_field="kind"):
    """A development vendor: its quotes prove nothing but that its file was read.

    Same fields, another type: an identity that rests on it says so, and no flag turns one into the other.
    """

    name: Text
    root: Annotated[bytes, Meta(max_length=MAX_COLLATERAL_PART)]
    tcb_signer: Text
    processor_authority: Text
    platform_authority: Text


Vendor = HardwareVendor | SimulatedVendor


class AllowedMeasurement(Record):
    """One build that may take one role, from a time on, until a time: the end of its handover once it is delisted."""

    measurement: Bytes32
    role: Role
    from_ns: Uint63 = 0
    until_ns: Uint63 = FOREVER
    """Nanoseconds since the Unix epoch, exclusive."""


class AttestationPolicy(Record):
    """Who is believed, and what is allowed: ledger data, changed by governance only."""

    vendors: tuple[Vendor, ...]
    measurements: tuple[AllowedMeasurement, ...]
    quote_window_ns: Positive
    """A quote is refused once its anchor block is older than this."""
    accepted_advisories: tuple[Text, ...] = ()
    """Advisories (`INTEL-SA-00615`) whose mitigation lies in our software: they do not lower level 3 to 4."""
    gatekeeper_max_level: Level = 2


def collateral_key(subject: CollateralSubject) -> bytes:
    """Return the name under which the ledger keeps the collateral of `subject`."""
    return encode(subject)
