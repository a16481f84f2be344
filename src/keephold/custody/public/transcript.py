"""A round of the key ceremony as the ledger runs it: pure, deterministic, no secret, no I/O, time as a parameter.

    generation:  keys -> dealing -> verdicts -> extraction -> done
    resharing:   keys -> dealing -> verdicts -> done
                 any phase -> failed; extraction -> keys of the next round (restart)

A phase ends when everyone still in has spoken, or at its deadline; whoever is silent then is dropped and named. What
is accepted where is the table `acceptance.HANDLERS`: a message that has no entry for the present phase is refused.
Anyone can run this on the ordered messages and get the same state; a gatekeeper does so instead of believing a
ledger's word.

The decisions and what they rest on:

(1) Nothing is extracted: no party's polynomial is ever reconstructed. Who fails or cheats is dropped.
(2) Until the last verdict, a generation shows Pedersen commitments only, which say nothing about anybody's part. So
    who drops out until then drops out blindly, and the round goes on without him, down to `quorum`.
(3) In the extraction parts become visible. Whoever drops out now may know the key he prevents, so the key is not
    repaired but thrown away: the round restarts without him. Each restart costs its author a seat, so there are at
    most n - t of them; docs/adr/0002 bounds what can be gained.
(4) An extraction carries a proof that it matches the dealing (`crypto.sharing.proofs`). The rules refuse a false one,
    so there is nobody to accuse and no second round of verdicts.
(5) A complaint reveals the one-time key of one dealing to one receiver. The rules expand it, compare it with the one
    registered, open the dealing, and drop the dealer or the accuser. A complaint that does not lead to what is on
    record decides nothing and is refused.
(6) A resharing starts from public shares that are on record, so Feldman commitments are checked as they arrive
    (`commitments[0] == anchor`) and there is no extraction. It never restarts: it goes on with any t dealers or fails,
    and the old shares stay in use.
(7) A dropped dealer's polynomial counts for nothing, even when his envelopes were good: the qualified set is the same
    for everyone because the ledger's order is.
"""

from __future__ import annotations

from typing import Final

from msgspec.structs import replace

from keephold.base.errors import BadKey, BadShare
from keephold.base.ids import PublicKey
from keephold.base.limits import MAX_COMMITTEE_ROUNDS
from keephold.custody.public import acceptance, qualified
from keephold.protocol.custody import (
    CommitteeKeys,
    Dealer,
    DkgMessage,
    Phase,
    Purpose,
    Reason,
    Receiver,
    Role,
    RoundState,
)
from keephold.protocol.refusals import Refusal

Silent = tuple[Role, tuple[Dealer, ...] | tuple[Receiver, ...], Reason]

_NEXT: Final[dict[tuple[Purpose, Phase], Phase]] = {
    ("generation", "keys"): "dealing",
    ("generation", "dealing"): "verdicts",
    ("generation", "verdicts"): "extraction",
    ("generation", "extraction"): "done",
    ("resharing", "keys"): "dealing",
    ("resharing", "dealing"): "verdicts",
    ("resharing", "verdicts"): "done",
}


def apply(state: RoundState, sender: PublicKey, message: DkgMessage, *, time_ns: int) -> RoundState:
    """Return the state after `sender`'s message. The caller has checked the signature, and ticked to `time_ns`.

    Raises:
        LedgerRefused: `wrong_round`, `wrong_phase` (too late, too early, spoken already), `not_seated` (no part in
            this phase, or dropped) or `dealing_refused` (content that contradicts what is on record).
    """
    if message.round != state.round:
        raise acceptance.refused(Refusal.WRONG_ROUND, f"round {message.round} in round {state.round}")
    handler = acceptance.HANDLERS.get((type(message), state.phase))
    if handler is None or time_ns >= state.deadline_ns:
        raise acceptance.refused(Refusal.WRONG_PHASE, f"{type(message).__name__} in phase {state.phase}")
    try:
        after = handler(state, sender, message)
    except (BadKey, BadShare) as error:
        raise acceptance.refused(Refusal.DEALING_REFUSED, str(error)) from error
    return after if _silent(after)[1] else _advance(after, time_ns)


def tick(state: RoundState, *, time_ns: int) -> RoundState:
    """Return the state at block time `time_ns`: past the deadline, the silent are dropped and the phase ends.

    To be called once a block, before the block's messages.
    """
    if state.phase in ("done", "failed") or time_ns < state.deadline_ns:
        return state
    role, silent, reason = _silent(state)
    after = state
    for who in silent:
        after = qualified.drop(after, role, who, reason)
    return _restart(after, time_ns) if state.phase == "extraction" else _advance(after, time_ns)


def outcome(state: RoundState) -> CommitteeKeys | None:
    """Return the committee's public keys once the round is done; None before, and after a failure."""
    return qualified.committee(state) if state.phase == "done" else None


# --- the end of a phase ---


def _silent(state: RoundState) -> Silent:
    """Return who, of those still in, has not yet spoken in this phase."""
    dealers, receivers = qualified.dealers(state), qualified.receivers(state)
    match state.phase:
        case "keys":
            return "receiver", tuple(r for r in receivers if not r.keys), "silent-keys"
        case "dealing":
            return "dealer", tuple(d for d in dealers if not d.envelopes), "silent-dealing"
        case "verdicts":
            return "receiver", tuple(r for r in receivers if not r.satisfied), "silent-verdicts"
        case _:
            return "dealer", tuple(d for d in dealers if not d.extracted), "silent-extraction"


def _advance(state: RoundState, time_ns: int) -> RoundState:
    if len(qualified.dealers(state)) < state.quorum or len(qualified.receivers(state)) < state.fewest:
        return replace(state, phase="failed")
    phase = _NEXT[state.purpose, state.phase]
    if phase == "done" and not qualified.is_usable(qualified.committee(state), state):
        phase = "failed"
    return replace(state, phase=phase, deadline_ns=time_ns + state.phase_ns)


def _restart(state: RoundState, time_ns: int) -> RoundState:
    """Return the next round, without the dropped: what this one made is thrown away whole."""
    if len(qualified.dealers(state)) < state.quorum or state.restarts == MAX_COMMITTEE_ROUNDS:
        return replace(state, phase="failed")
    return replace(
        state,
        round=state.round + 1,
        restarts=state.restarts + 1,
        phase="keys",
        deadline_ns=time_ns + state.phase_ns,
        dealers=tuple(Dealer(dealer.seat, dealer.member) for dealer in state.dealers),
        receivers=tuple(Receiver(receiver.seat, receiver.member) for receiver in state.receivers),
    )
