"""Which gatekeepers a worker takes keys from. The record is the validators' word: it is argued with, not believed.

What would colluding validators gain by a false committee? A key that they know: the worker would publish it, callers
would seal to it, and the validators could read. So a key counts only if, for t seats at least:

1. The seat's member is an attested gatekeeper: its registration verified here (`follower.trust`), under the law that
   governance signed. Validators cannot make one.
2. The partial is signed by that member, and proven against the seat's public share. An attested gatekeeper evaluates
   with its own share only, so a public share that the validators made up has no partial.
3. t is no lower than any threshold that governance ever signed: a record that says 1 does not make one share suffice.
4. The public shares of these t seats interpolate to the master public key on record, and that key is the one this
   worker saw first, kept on its sealed disk.

What is proven then: t attested gatekeepers hold shares of one secret whose public half is the pinned master key, and
the contract key is its evaluation. What is not proven here: that the *dealers* of that secret were honest. That is what
the gatekeepers' own code checked in the ceremony, and what 1 rests on. A worker on its first boot pins what it sees;
the second worker of a contract derives for itself, and differing keys are a dispute on the ledger.

A committee may be succeeded by another that shares the same master key: the same argument for its members, and the
sharing epoch rises. One that went down is an older ledger, or an older disk. Partials of two sharing epochs do not
combine: each counts against the seats of one committee, and names its epoch (`custody.secret.release`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, final

from keephold.base.errors import BadKey, BadShare, RollbackDetected
from keephold.base.ids import PublicKey
from keephold.base.minting import NoPublicConstructor
from keephold.crypto.hashing import equal
from keephold.crypto.ristretto import Point, decode_point
from keephold.crypto.secret import SecretBytes
from keephold.crypto.sharing.polynomial import lagrange, weighted_sum
from keephold.enclave.vault import Vault
from keephold.follower.law import Law
from keephold.follower.trust import VerifiedRegistration
from keephold.protocol.custody import CommitteeKeys
from keephold.protocol.governance import SetCommittee

_PIN: Final = "master"
_EPOCH: Final = 8


@final
@dataclass(frozen=True, slots=True)
class VerifiedCommittee(metaclass=NoPublicConstructor):
    """A committee and those of its members that were verified; made by `verify_committee` only."""

    keys: CommitteeKeys
    attested: frozenset[PublicKey]

    def seat_of(self, member: PublicKey) -> int | None:
        """Return the seat of a verified member; None for everybody else."""
        if member not in self.attested:
            return None
        return next((seat.seat for seat in self.keys.seats if seat.member == member), None)


def least_threshold(law: Law) -> int:
    """Return the lowest threshold that governance ever signed: shares in use may stem from an earlier law."""
    thresholds = [law.genesis.law.committee.threshold]
    for entry in law.entries:
        action = entry.signed.proposal.action
        if isinstance(action, SetCommittee):
            thresholds.append(action.rules.threshold)
    return min(thresholds)


def verify_committee(keys: CommitteeKeys, law: Law, members: Iterable[VerifiedRegistration]) -> VerifiedCommittee:
    """Return the committee with the members that count; `members` are those whose registration verified.

    Raises:
        BadShare: too few members count, or the record contradicts the law or itself.
    """
    # (1) Attested, as gatekeepers.
    attested = frozenset(member.identity for member in members if member.proof.claim.role == "gatekeeper")
    seats = [seat for seat in keys.seats if seat.member in attested]
    # (3) As many as governance asked for.
    if keys.threshold < least_threshold(law):
        raise BadShare(f"threshold {keys.threshold} where governance signed at least {least_threshold(law)}")
    if len(seats) < keys.threshold:
        raise BadShare(f"{len(seats)} of {keys.threshold} gatekeepers verified")
    # (4) One sharing: any t public shares lead to the master key. All seats, so that no choice of t matters.
    numbers = [seat.seat for seat in keys.seats]
    if len(set(numbers)) != len(numbers) or len({seat.member for seat in keys.seats}) != len(numbers):
        raise BadShare("a seat or a member twice")
    _check_shares(keys)
    return VerifiedCommittee._mint(keys=keys, attested=attested)  # noqa: SLF001 - the one place that makes it


def pin(vault: Vault, keys: CommitteeKeys) -> None:
    """Keep the master public key at first sight, and the newest sharing epoch; refuse another key or an older epoch.

    Stored: the master public key (32 bytes), the sharing epoch (8).

    Raises:
        RollbackDetected: another master key than the one seen first, or a committee that was succeeded already.
    """
    if vault.holds(_PIN):
        known = vault.read(_PIN).reveal()
        if not equal(known[:-_EPOCH], keys.master):
            raise RollbackDetected("the committee's master key is not the one that this worker knows")
        newest = int.from_bytes(known[-_EPOCH:], "big")
        if keys.sharing_epoch < newest:
            raise RollbackDetected(f"sharing epoch {keys.sharing_epoch} where {newest} was seen")
        if keys.sharing_epoch == newest:
            return
    vault.write(_PIN, SecretBytes(keys.master + keys.sharing_epoch.to_bytes(_EPOCH, "big")))


def _check_shares(keys: CommitteeKeys) -> None:
    """Check that all public shares lie on one polynomial of degree t - 1 whose constant is the master key."""
    try:
        points = {seat.seat: decode_point(seat.public_share) for seat in keys.seats}
        master = decode_point(keys.master)
    except BadKey as error:
        raise BadShare("a public share that is no group element") from error
    numbers = sorted(points)
    base = numbers[: keys.threshold]
    if _interpolated(points, base, 0) != master:
        raise BadShare("the public shares do not make the master key")
    for other in numbers[keys.threshold :]:
        if _interpolated(points, base, other) != points[other]:
            raise BadShare(f"the public share of seat {other} is of another sharing")


def _interpolated(points: Mapping[int, Point], base: Sequence[int], at: int) -> Point:
    return weighted_sum((points[seat] for seat in base), lagrange(base, at))
