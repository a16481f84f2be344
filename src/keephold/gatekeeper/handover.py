"""When a gatekeeper hands its share on: the argument for dealing in a resharing, and for receiving in one. Pure.

The ledger says that a committee is to be handed on, and to whom. Validators that all collude could say so at any time,
to enclaves of their choosing. An enclave that receives a share runs allowed code on attested hardware and shows the
share to nobody; but whoever owns the hardware under t seats has only hardware to break. So seats are worth having, and
who sits is not left to the ledger's word. A member of the committee in office deals only if

1. the round is the first state of a resharing of *its* committee, which the same header proves to be in office, with
   size, threshold and pace as governance signed them, in force when the block began (`Ceremony.check_opening`);
2. each successor is a gatekeeper whose evidence it verified itself, at level, live, and no two share an operator or a
   platform (`check_successors`); once more when it deals, for those who are then still in;
3. the seats or the threshold change: shares are not dealt for nothing;
4. no member that it can still verify is left out, unless governance wants fewer seats and old members get them all, or
   the member shares operator or platform with a successor;
5. it is not left out itself, unless the law does not bear its own code or platform any more or its platform gives no
   quotes. A lease that ran out is no reason, nor is collateral that aged: whoever can attest and is not registered is
   being kept from it.

What remains to colluding validators: keep a member's renewals off the ledger for a whole lease, and seat a machine of
their own in its place. By 5, t members that stay have to deal, so the next seat costs the next lease. Each such machine
has to be attested, of its own operator and platform, and t of them broken. docs/adr/0009 has the bound.

A newcomer has no committee of its own to compare with. It takes a seat only if t of those who deal in the end were
verified to have been gatekeepers (`follower.past`): fewer than t are corrupt, so one of them deals by the rules above,
and it does so only where dealers, public shares and master key are those of its own ceremony.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from keephold.attestation.reasons import Reason
from keephold.base.errors import AttestationRefused, LedgerRefused
from keephold.base.ids import PublicKey
from keephold.follower.trust import VerifiedRegistration
from keephold.protocol.custody import CommitteeKeys, RoundState
from keephold.protocol.refusals import Refusal

_BY_LAW: Final = frozenset(
    {
        Refusal.REVOKED.word,
        Reason.VENDOR,
        Reason.REVOKED,
        Reason.TCB_STATUS,
        Reason.MEASUREMENT,
        Reason.ROLE,
        Reason.LEVEL,
    }
)
"""Why the law, or the hardware's vendor, does not bear a member any more. What validators can bring about by leaving
something out, a lease that ends or collateral that ages, is not among them."""

Standing = VerifiedRegistration | AttestationRefused | LedgerRefused
"""What verifying a member led to."""


def check_successors(successors: Sequence[VerifiedRegistration]) -> None:
    """Check that verified members may hold shares of one key (2); of a generation as well.

    Raises:
        LedgerRefused: `wrong_role`: one is no gatekeeper; `seated`: two are not independent.
    """
    if any(member.proof.claim.role != "gatekeeper" for member in successors):
        raise LedgerRefused(Refusal.WRONG_ROLE.word, "a member that is no gatekeeper")
    operators = {member.record.operator for member in successors}
    platforms = {member.proof.platform for member in successors}
    if not len(operators) == len(platforms) == len(successors):
        raise LedgerRefused(Refusal.SEATED.word, "two seats of one operator or platform")


def check_handover(
    opened: RoundState,
    committee: CommitteeKeys,
    own: PublicKey,
    successors: Sequence[VerifiedRegistration],
    standing: Mapping[PublicKey, Standing],
    *,
    gives_quotes: bool,
) -> None:
    """Check that a committee in office may be handed on like this (3 to 5).

    Args:
        opened: first state of the resharing.
        committee: ours, in office.
        own: our identity, a member.
        successors: those who receive, verified and checked by `check_successors`.
        standing: what verifying each member of `committee` led to, ourselves included.
        gives_quotes: whether our own platform attests.

    Raises:
        LedgerRefused: `seated`: seats change hands without cause.
    """
    sitting = {PublicKey(seat.member) for seat in committee.seats}
    seated = {member.identity for member in successors}
    # (3) Something changes.
    if sitting == seated and opened.threshold == committee.threshold:
        raise LedgerRefused(Refusal.SEATED.word, "a resharing to the same members")
    # (4) Nobody is pushed out.
    if not seated <= sitting:
        operators = {member.record.operator for member in successors}
        platforms = {member.proof.platform for member in successors}
        for member in sitting - seated:
            found = standing[member]
            if isinstance(found, VerifiedRegistration) and not (
                found.record.operator in operators or found.proof.platform in platforms
            ):
                raise LedgerRefused(Refusal.SEATED.word, f"{member.hex()[:16]} is verified and left out")
        # (5) Nor are we.
        ours = standing[own]
        is_kept_away = not isinstance(ours, VerifiedRegistration) and ours.reason not in _BY_LAW
        if own not in seated and is_kept_away and gives_quotes:
            raise LedgerRefused(Refusal.SEATED.word, f"we can attest, and are left out: {ours}")
