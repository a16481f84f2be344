"""How a round begins: who deals, who receives, and with how few of each it goes on."""

from __future__ import annotations

from collections.abc import Sequence

from keephold.base.errors import ConfigurationError
from keephold.base.ids import NetworkId, PublicKey
from keephold.base.limits import MAX_SEATS
from keephold.protocol.custody import CommitteeKeys, Dealer, Receiver, RoundState


def open_generation(
    *,
    network: NetworkId,
    round_number: int,
    members: Sequence[PublicKey],
    threshold: int,
    phase_ns: int,
    time_ns: int,
    sharing_epoch: int = 1,
) -> RoundState:
    """Return the first state of a key generation: member k of the list takes seat k + 1.

    It goes on while `threshold` members are in: then at least one honest dealer's part is in the key.

    Raises:
        ConfigurationError: members repeat, or not `1 <= threshold <= members <= MAX_SEATS`.
    """
    _check_sizes(members, threshold)
    return RoundState(
        network=network,
        purpose="generation",
        sharing_epoch=sharing_epoch,
        round=round_number,
        threshold=threshold,
        quorum=threshold,
        fewest=threshold,
        phase="keys",
        phase_ns=phase_ns,
        deadline_ns=time_ns + phase_ns,
        dealers=tuple(Dealer(seat, member) for seat, member in enumerate(members, 1)),
        receivers=tuple(Receiver(seat, member) for seat, member in enumerate(members, 1)),
    )


def open_resharing(
    committee: CommitteeKeys,
    *,
    round_number: int,
    members: Sequence[PublicKey],
    threshold: int,
    phase_ns: int,
    time_ns: int,
) -> RoundState:
    """Return the first state of a resharing from `committee` to `members`, under a new threshold.

    The seats of `committee` deal, lapsed members included; who does not deal is dropped and named.

    Raises:
        ConfigurationError: as `open_generation`.
    """
    _check_sizes(members, threshold)
    return RoundState(
        network=committee.network,
        purpose="resharing",
        sharing_epoch=committee.sharing_epoch + 1,
        round=round_number,
        threshold=threshold,
        quorum=committee.threshold,
        fewest=threshold,
        phase="keys",
        phase_ns=phase_ns,
        deadline_ns=time_ns + phase_ns,
        dealers=tuple(Dealer(seat.seat, seat.member, anchor=seat.public_share) for seat in committee.seats),
        receivers=tuple(Receiver(seat, member) for seat, member in enumerate(members, 1)),
        master=committee.master,
        peppers=committee.peppers,
    )


def _check_sizes(members: Sequence[PublicKey], threshold: int) -> None:
    if len(set(members)) != len(members) or not 1 <= threshold <= len(members) <= MAX_SEATS:
        raise ConfigurationError(f"no committee: {threshold} of {len(members)} members")
