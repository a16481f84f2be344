"""Records of the key ceremony: what gatekeepers send, what the ledger keeps of it, and what partials look like.

The ledger keeps each round small: of bulky messages (one-time keys, envelopes) it keeps one digest per sender, and a
complaint brings the accused piece back together with the list of digests that leads to it.

There is no message for an opened or extracted polynomial, and none that accuses in the last phase: an extraction
carries a proof that it matches the dealing, so that the rules accept or refuse it by themselves (`custody.public`).
"""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from keephold.base.limits import MAX_COMMITTEE_ROUNDS, MAX_SEATS
from keephold.protocol.codec import Record
from keephold.protocol.types import Bytes32, Bytes64, EncryptionKeyBytes, Positive, PublicKeyBytes, Uint63

Seat = Annotated[int, Meta(ge=1, le=MAX_SEATS)]
"""Index of a share: the point at which the polynomial is evaluated. Never 0: that is where the secret lies."""

Envelope = Annotated[bytes, Meta(max_length=4096)]
"""A sealed dealing; empty where the seat was dropped before."""

Commitments = Annotated[tuple[Bytes32, ...], Meta(min_length=1, max_length=MAX_SEATS)]
"""One group element a coefficient, the constant term first."""

Digests = Annotated[tuple[Bytes32, ...], Meta(min_length=1, max_length=MAX_SEATS)]

Purpose = Literal["generation", "resharing"]
Phase = Literal["keys", "dealing", "verdicts", "extraction", "done", "failed"]
Role = Literal["dealer", "receiver"]
Reason = Literal[
    "silent-keys",
    "silent-dealing",
    "silent-verdicts",
    "silent-extraction",
    "bad-dealing",
    "false-complaint",
]
"""Why a seat was dropped; stable words."""


# --- what gatekeepers send; each is refused outside its round and phase ---


class DkgKeys(Record, tag="dkg-keys", tag_field="type"):
    """A receiver's one-time encryption keys: one for each dealer, so that revealing one opens one dealing."""

    round: Positive
    keys: Annotated[tuple[EncryptionKeyBytes, ...], Meta(min_length=1, max_length=MAX_SEATS)]
    """In the order of the round's dealers."""
    pepper_key: Annotated[bytes, Meta(max_length=1216)] = b""
    """Resharing only: the key for the pepper, apart from the others because no complaint ever reveals it."""


class DkgDealing(Record, tag="dkg-dealing", tag_field="type"):
    """A dealer's polynomial: committed in public, evaluated in one envelope for each receiver."""

    round: Positive
    commitments: Commitments
    """Pedersen commitments in a generation, Feldman commitments in a resharing."""
    envelopes: Annotated[tuple[Envelope, ...], Meta(min_length=1, max_length=MAX_SEATS)]
    """In the order of the round's receivers; empty for the dropped ones."""
    pepper: Annotated[bytes, Meta(max_length=32)] = b""
    """Generation only: hash commitment to this dealer's part of the pepper."""
    peppers: Annotated[tuple[Envelope, ...], Meta(max_length=MAX_SEATS)] = ()
    """Resharing only: the whole pepper, sealed to each receiver's pepper key."""


class DkgComplaint(Record, tag="dkg-complaint", tag_field="type"):
    """A receiver reveals the one-time key of one dealing; the rules open it and drop dealer or accuser."""

    round: Positive
    dealer: Seat
    seed: Bytes32
    """X-Wing seed of the receiver's key for this dealer in this round; it opens nothing else."""
    keys: Digests
    """Digests of the receiver's registered keys, in order; their digest is on record."""
    envelopes: Digests
    """Digests of the dealing's envelopes, in order; their digest is on record."""
    envelope: Envelope


class DkgVerdict(Record, tag="dkg-verdict", tag_field="type"):
    """A receiver has all it needs from every dealer not dropped so far; it complains no more."""

    round: Positive


class DkgExtraction(Record, tag="dkg-extraction", tag_field="type"):
    """Generation only: a qualified dealer's Feldman commitments, which make the master public key."""

    round: Positive
    commitments: Commitments
    consistency: Bytes64
    """Proof that these are the polynomial behind the Pedersen commitments of the dealing."""
    possession: Bytes64
    """Proof that the dealer knows the constant term."""


DkgMessage = DkgKeys | DkgDealing | DkgComplaint | DkgVerdict | DkgExtraction


# --- what the ledger keeps ---


class Dealer(Record):
    """A dealer of the round and what it has dealt."""

    seat: Seat
    member: PublicKeyBytes
    anchor: Annotated[bytes, Meta(max_length=32)] = b""
    """Resharing: the public share that the constant term must have."""
    commitments: Annotated[tuple[Bytes32, ...], Meta(max_length=MAX_SEATS)] = ()
    envelopes: Annotated[bytes, Meta(max_length=32)] = b""
    """Digest of the envelopes' digests; empty until dealt."""
    pepper: Annotated[bytes, Meta(max_length=32)] = b""
    extracted: Annotated[tuple[Bytes32, ...], Meta(max_length=MAX_SEATS)] = ()
    """Feldman commitments; empty until extracted."""


class Receiver(Record):
    """A receiver of the round."""

    seat: Seat
    member: PublicKeyBytes
    keys: Annotated[bytes, Meta(max_length=32)] = b""
    """Digest of the one-time keys' digests; empty until registered."""
    satisfied: bool = False
    """Its verdict is in."""


class Drop(Record):
    """Who was dropped, when and why. In a generation both roles of the seat end."""

    round: Positive
    role: Role
    seat: Seat
    member: PublicKeyBytes
    reason: Reason


class RoundState(Record):
    """One round of a key ceremony, complete: `custody.public.transcript` needs nothing else."""

    network: Bytes32
    purpose: Purpose
    sharing_epoch: Positive
    """Of the shares that this round makes."""
    round: Positive
    """Unique on the network; a restart takes the next number."""
    threshold: Seat
    quorum: Seat
    """Fewest dealers with which the round goes on."""
    fewest: Seat
    """Fewest receivers with which the round goes on."""
    phase: Phase
    phase_ns: Positive
    """How long a phase may last."""
    deadline_ns: Uint63
    """Block time at which the present phase's silent are dropped."""
    dealers: tuple[Dealer, ...]
    receivers: tuple[Receiver, ...]
    drops: tuple[Drop, ...] = ()
    """All drops, those of earlier rounds of this generation included."""
    restarts: Annotated[int, Meta(ge=0, le=MAX_COMMITTEE_ROUNDS)] = 0
    master: Annotated[bytes, Meta(max_length=32)] = b""
    """Resharing: the master public key, which must not change."""
    peppers: Annotated[tuple[Bytes32, ...], Meta(max_length=MAX_SEATS)] = ()
    """Resharing: the commitments to the pepper's parts, which must not change."""


class CommitteeSeat(Record):
    """A gatekeeper in office with its public share `share * G`."""

    seat: Seat
    member: PublicKeyBytes
    public_share: Bytes32


class CommitteeKeys(Record):
    """What everyone knows about a shared MasterKey: enough to check any partial."""

    network: Bytes32
    master: Bytes32
    """`MasterKey * G`; the same through every resharing."""
    threshold: Seat
    sharing_epoch: Positive
    """Counts sharings of this MasterKey; shares of two never combine."""
    seats: tuple[CommitteeSeat, ...]
    """In the order of their numbers; numbers of dropped seats are missing."""
    peppers: Annotated[tuple[Bytes32, ...], Meta(min_length=1, max_length=MAX_SEATS)]
    """Hash commitments to the parts of the network pepper, in order; the same through every resharing."""


class PartialBatch(Record):
    """One gatekeeper's answer for a list of inputs. With t of these *the keys are known*: it travels sealed only."""

    seat: Seat
    sharing_epoch: Positive
    points: tuple[Bytes32, ...]
    """`share * H2G(x)`, in the order of the inputs."""
    proof: Bytes64
    """One proof for all points against the seat's public share."""
    macs: tuple[Bytes32, ...]
    """`HMAC(N, x)`, in the order of the inputs."""
