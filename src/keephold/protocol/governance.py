"""The law that can change, and who may change it.

Validators order governance actions; they do not make them. An enclave folds the actions over the genesis it pinned and
checks every signature itself, so validators that all collude can delay an action but not invent one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from keephold.base.errors import CryptoError, LedgerRefused
from keephold.base.limits import MAX_SEATS
from keephold.crypto import signing
from keephold.crypto.hashing import sha256, tagged_hash
from keephold.crypto.labels import GOVERNANCE_CHAIN, SIGN_GOVERNANCE
from keephold.protocol.codec import Record, encode
from keephold.protocol.evidence import AttestationPolicy
from keephold.protocol.refusals import Refusal
from keephold.protocol.types import Bytes32, Positive, PublicKeyBytes, SignatureBytes, Uint63

if TYPE_CHECKING:
    from collections.abc import Iterable

    from keephold.base.ids import NetworkId


class GovernanceRules(Record):
    """Who amends the law: `threshold` of `keys`, effective `delay_ns` after the ledger ordered the action."""

    keys: tuple[PublicKeyBytes, ...]
    """sr25519 keys, sorted, no duplicates."""
    threshold: Positive
    delay_ns: Uint63


class CommitteeRules(Record):
    """Size of the gatekeepers' committee: `seats` seats, `threshold` shares make a key."""

    seats: Positive
    threshold: Positive
    phase_ns: Positive
    """How long one phase of a key generation may last before the silent are dropped."""


class CommitteeFloor(Record):
    """The smallest committee this network ever has; no action lowers it, since it is part of the genesis alone."""

    seats: Positive = 1
    threshold: Positive = 1


class Timing(Record):
    """Durations in nanoseconds of block time, unless said otherwise."""

    lease_ns: Positive
    """A registration lapses this long after its attestation."""
    freshness_ns: Positive
    """W: a worker answers queries only this long (on its own monotonic clock) after it saw its own nonce ordered."""
    trusting_period_ns: Positive
    """A light client refuses to follow from a header older than this."""


class ValidatorEntry(Record):
    """One validator: Ed25519 consensus key and voting power."""

    public_key: Bytes32
    power: Positive


class SetAttestation(Record, tag="attestation", tag_field="action"):
    """Replace the attestation policy: vendors, measurements, accepted advisories, windows."""

    policy: AttestationPolicy


class SetGovernance(Record, tag="governance", tag_field="action"):
    """Replace the governance keys, their threshold or delay."""

    rules: GovernanceRules


class SetCommittee(Record, tag="committee", tag_field="action"):
    """Replace size and threshold of the committee; acted on at the next resharing."""

    rules: CommitteeRules


class SetValidators(Record, tag="validators", tag_field="action"):
    """Replace the validator set."""

    validators: tuple[ValidatorEntry, ...]


class RevokeIdentity(Record, tag="revoke", tag_field="action"):
    """End a worker or gatekeeper at once."""

    identity: PublicKeyBytes


class CancelProposal(Record, tag="cancel", tag_field="action"):
    """Take back, at once, a proposal that waits for its delay, and all ordered behind it that wait."""

    proposal: Bytes32
    """Its digest: the number alone could be another proposal's on another continuation of the chain."""


Action = SetAttestation | SetGovernance | SetCommittee | SetValidators | RevokeIdentity | CancelProposal


class Proposal(Record):
    """What governance keys sign. `sequence` counts actions from 1, so that none is replayed or left out."""

    network: Bytes32
    sequence: Positive
    action: Action


class Waiting(NamedTuple):
    """A proposal that was ordered and is not in force yet."""

    effective_ns: int
    """Block time from which it is law."""
    proposal: Proposal


class Endorsement(Record):
    """One governance key's signature over the proposal's canonical bytes."""

    key: PublicKeyBytes
    signature: SignatureBytes


class SignedProposal(Record):
    """A proposal with its endorsements, sorted by key."""

    proposal: Proposal
    endorsements: tuple[Endorsement, ...]


class Enacted(Record):
    """A proposal as the ledger ordered it: effective at `enacted_ns` plus the delay in force then."""

    signed: SignedProposal
    enacted_ns: Uint63


class Constitution(Record):
    """The law in force at one moment."""

    governance: GovernanceRules
    attestation: AttestationPolicy
    committee: CommitteeRules
    timing: Timing
    validators: tuple[ValidatorEntry, ...]
    revoked: tuple[PublicKeyBytes, ...] = ()
    """Identities ended by governance, sorted."""
    floor: CommitteeFloor = CommitteeFloor()


class GovernanceRecord(Record):
    """In the map: how many actions were ordered, and the head of their hash chain."""

    count: Uint63 = 0
    head: Bytes32 = bytes(32)


def chain_head(head: bytes, entry: Enacted) -> bytes:
    """Return the hash-chain head after `entry`."""
    return tagged_hash(GOVERNANCE_CHAIN, head, encode(entry))


def sign_proposal(proposal: Proposal, key: signing.SigningKey) -> Endorsement:
    """Return `key`'s endorsement of the proposal."""
    return Endorsement(key.public, key.sign(SIGN_GOVERNANCE, encode(proposal)))


def digest_of(proposal: Proposal) -> bytes:
    """Return the SHA-256 of a proposal's canonical bytes: what its signers compare, and what a cancellation names."""
    return sha256(encode(proposal))


def check_proposal(
    signed: SignedProposal, law: Constitution, waiting: Iterable[Waiting], network: NetworkId, sequence: int
) -> None:
    """Check that `signed` is a valid next action under `law`, while `waiting` waits.

    Raises:
        LedgerRefused: reason `governance`.
    """
    proposal = signed.proposal
    # (1) It is for this network and is the next action: none replayed, none skipped.
    if proposal.network != network:
        raise _refused("another network")
    if proposal.sequence != sequence:
        raise _refused(f"sequence {proposal.sequence}, expected {sequence}")
    # (2) Endorsers are governance keys in force, each once.
    keys = [endorsement.key for endorsement in signed.endorsements]
    if keys != sorted(set(keys)):
        raise _refused("endorsements unsorted or twice")
    if not set(keys) <= set(law.governance.keys):
        raise _refused("not a governance key")
    if len(keys) < law.governance.threshold:
        raise _refused(f"{len(keys)} endorsements, {law.governance.threshold} needed")
    # (3) Each signed exactly these bytes.
    body = encode(proposal)
    for endorsement in signed.endorsements:
        try:
            signing.verify(endorsement.key, endorsement.signature, SIGN_GOVERNANCE, body)
        except CryptoError as error:
            raise _refused("an endorsement does not verify") from error
    # (4) What it takes back waits still: what is law is amended, not cancelled.
    action = proposal.action
    if isinstance(action, CancelProposal) and action.proposal not in [digest_of(item.proposal) for item in waiting]:
        raise _refused("nothing by that digest waits for its delay")
    # (5) The law it leads to can be lived under.
    check_constitution(amended(law, action))


def amended(law: Constitution, action: Action) -> Constitution:
    """Return the law with `action` applied; signatures are `check_proposal`'s business, what waits `amendments`'."""
    attestation, governance, committee = law.attestation, law.governance, law.committee
    validators, revoked = law.validators, law.revoked
    match action:
        case SetAttestation():
            attestation = action.policy
        case SetGovernance():
            governance = action.rules
        case SetCommittee():
            committee = action.rules
        case SetValidators():
            validators = action.validators
        case CancelProposal():
            return law
        case RevokeIdentity():
            revoked = tuple(sorted({*revoked, action.identity}))
    return Constitution(governance, attestation, committee, law.timing, validators, revoked, law.floor)


def check_constitution(law: Constitution) -> None:
    """Refuse a law that could not be amended, judged or run any more."""
    keys = law.governance.keys
    if list(keys) != sorted(set(keys)) or not 1 <= law.governance.threshold <= len(keys):
        raise _refused("governance keys unsorted, doubled, or fewer than their threshold")
    # Honest gatekeepers must be enough without the liars: with t - 1 of them lying, t remain (n >= 2t - 1), and no more
    # than t - 1 can agree on a wrong pepper.
    committee, floor = law.committee, law.floor
    if committee.seats < 2 * committee.threshold - 1 or committee.seats > MAX_SEATS:
        raise _refused(f"committee: 2*threshold - 1 <= seats <= {MAX_SEATS}")
    if committee.seats < floor.seats or committee.threshold < floor.threshold:
        raise _refused(f"committee: at least {floor.seats} seats and threshold {floor.threshold} on this network")
    public = [entry.public_key for entry in law.validators]
    if not public or len(set(public)) != len(public):
        raise _refused("validators: none, or one twice")


def _refused(detail: str) -> LedgerRefused:
    return LedgerRefused(Refusal.GOVERNANCE.word, detail)
