"""Seats: who may sit in the committee, and when it is handed on to another one. Deterministic, from the state alone.

A committee is handed on when the best one that could sit now is another than the one that sits:

* governance set another size or threshold;
* a member lapsed, was revoked, delisted or demoted below the level of gatekeepers, or two seats are of one operator or
  platform, and there is somebody to replace it;
* a seat was lost in an earlier ceremony, and there is somebody to fill it.

Sitting members go first: nobody else can push out one whom the law still bears, which is also what the gatekeepers
themselves insist on before they deal (`gatekeeper.handover`). Then those who were not dropped from the last ceremony,
then the longest registered. Never more or fewer seats than the law asks for: it keeps the genesis' floors and
`seats >= 2 * threshold - 1`.

Who was dropped from a ceremony that went on without him is no candidate until he attested anew: otherwise a silent
machine would have the same ceremony held again and again.

What the ledger cannot see: whether a gatekeeper's platform seals durably. Evidence does not say it. At most n - t seats
may lack it, or a power failure loses the key; docs/adr/0009 says who has to see to that.
"""

from __future__ import annotations

from keephold.base.ids import PublicKey
from keephold.ledger.overlay import Overlay
from keephold.ledger.rules.context import BlockContext, is_live
from keephold.protocol.custody import CommitteeKeys, RoundState
from keephold.protocol.state import Registration, Roll, registration_path, roll_path


def fit(state: Overlay, block: BlockContext, member: bytes) -> Registration | None:
    """Return the registration of a gatekeeper whom the law bears in a seat now; None for anybody else.

    Revocation and delisting end a registration (`roll`); the level is judged by the law in force.
    """
    registration = state.find(registration_path(PublicKey(member)), Registration)
    if registration is None or registration.role != "gatekeeper" or not is_live(registration, block):
        return None
    return registration if registration.level <= state.law.attestation.gatekeeper_max_level else None


def candidates(
    state: Overlay, block: BlockContext, last: RoundState | None, sitting: frozenset[bytes] = frozenset()
) -> list[PublicKey]:
    """Return who may sit, the best first, at most one an operator and one a platform.

    Args:
        state: of the ledger.
        block: the present one.
        last: the ceremony before, whose dropped go last.
        sitting: members in office, who go first.
    """
    dropped = {drop.member for drop in last.drops} if last is not None else set()
    found = [fit(state, block, entry.identity) for entry in state.get(roll_path("gatekeeper"), Roll()).entries]
    registrations = [
        item
        for item in found
        if item is not None and (item.identity in sitting or not _sits_out(state, item, last, dropped))
    ]
    registrations.sort(
        key=lambda item: (item.identity not in sitting, item.identity in dropped, item.height, item.identity)
    )
    operators: set[bytes] = set()
    platforms: set[bytes] = set()
    chosen = []
    for registration in registrations:
        if registration.operator not in operators and registration.platform not in platforms:
            operators.add(registration.operator)
            platforms.add(registration.platform)
            chosen.append(PublicKey(registration.identity))
    return chosen


def next_members(
    state: Overlay, block: BlockContext, keys: CommitteeKeys, last: RoundState | None
) -> tuple[PublicKey, ...]:
    """Return who succeeds the committee in office; nobody while it is the one that ought to sit, or too few could."""
    rules = state.law.committee
    sitting = frozenset(seat.member for seat in keys.seats)
    is_lawful = keys.threshold == rules.threshold and len(sitting) == rules.seats
    # Almost every block ends here: as many look-ups as there are seats, no look at the roll.
    if is_lawful and _are_independent([fit(state, block, member) for member in sitting]):
        return ()
    members = tuple(candidates(state, block, last, sitting)[: rules.seats])
    if len(members) < rules.seats or (keys.threshold == rules.threshold and sitting == set(members)):
        return ()
    return members


def _are_independent(registrations: list[Registration | None]) -> bool:
    fit_ones = [item for item in registrations if item is not None]
    operators = {item.operator for item in fit_ones}
    platforms = {item.platform for item in fit_ones}
    return len(operators) == len(platforms) == len(registrations)


def _sits_out(state: Overlay, item: Registration, last: RoundState | None, dropped: set[bytes]) -> bool:
    """Whether a newcomer was dropped from a ceremony that went on without him, and has not attested since."""
    if last is None or last.phase != "done" or item.identity not in dropped:
        return False
    # The ceremony's last deadline was set when it ended, one phase ahead; a lease begins with an attestation.
    ended_ns = last.deadline_ns - last.phase_ns
    return item.lease_ns - state.law.timing.lease_ns <= ended_ns
