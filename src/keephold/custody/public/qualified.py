"""Who is still in, and what those who stayed to the end have made together."""

from __future__ import annotations

from msgspec.structs import replace

from keephold.crypto import ristretto
from keephold.crypto.sharing import polynomial
from keephold.custody.public import commitments
from keephold.protocol.custody import (
    CommitteeKeys,
    CommitteeSeat,
    Dealer,
    Drop,
    Reason,
    Receiver,
    Role,
    RoundState,
)


def is_dropped(state: RoundState, role: Role, seat: int) -> bool:
    """Whether the seat's part in this role is over; in a generation one drop ends both roles."""
    return any(drop.seat == seat and (state.purpose == "generation" or drop.role == role) for drop in state.drops)


def dealers(state: RoundState) -> tuple[Dealer, ...]:
    """Return the dealers still in, in the order of their seats."""
    return tuple(dealer for dealer in state.dealers if not is_dropped(state, "dealer", dealer.seat))


def receivers(state: RoundState) -> tuple[Receiver, ...]:
    """Return the receivers still in, in the order of their seats."""
    return tuple(receiver for receiver in state.receivers if not is_dropped(state, "receiver", receiver.seat))


def drop(state: RoundState, role: Role, who: Dealer | Receiver, reason: Reason) -> RoundState:
    """Return the state with one more drop on record."""
    entry = Drop(state.round, role, who.seat, who.member, reason)
    return replace(state, drops=(*state.drops, entry))


def weights(state: RoundState) -> tuple[ristretto.Scalar, ...]:
    """Return what each qualified dealer's polynomial counts: once in a generation, by Lagrange in a resharing.

    A resharing takes all qualified dealers, not the first t: with each honest one more, the new shares are fresh.
    """
    seats = [dealer.seat for dealer in dealers(state)]
    if state.purpose == "generation":
        return tuple(ristretto.scalar(1) for _ in seats)
    return polynomial.lagrange(seats)


def committee(state: RoundState) -> CommitteeKeys:
    """Return what the qualified dealers' commitments amount to; meant for a round in which all of them are in."""
    qualified = dealers(state)
    is_generation = state.purpose == "generation"
    polynomials = [dealer.extracted if is_generation else dealer.commitments for dealer in qualified]
    shared = commitments.total(polynomials, weights(state))
    return CommitteeKeys(
        network=state.network,
        master=shared[0],
        threshold=state.threshold,
        sharing_epoch=state.sharing_epoch,
        seats=tuple(
            CommitteeSeat(receiver.seat, receiver.member, polynomial.evaluate_commitments(shared, receiver.seat))
            for receiver in receivers(state)
        ),
        peppers=tuple(dealer.pepper for dealer in qualified) if is_generation else state.peppers,
    )


def is_usable(keys: CommitteeKeys, state: RoundState) -> bool:
    """Whether the keys can be used: no identity anywhere, and a resharing kept the master public key."""
    points = (keys.master, *(seat.public_share for seat in keys.seats))
    return ristretto.IDENTITY not in points and (state.purpose == "generation" or keys.master == state.master)
