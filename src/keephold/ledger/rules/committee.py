"""The committee's ceremonies: their messages, their clock, and their place in the map.

A ceremony itself is `custody.public.transcript`; who takes part in it, and when a committee is handed on, is `seats`.
There is one ceremony at a time. A generation that failed is tried again at once by whoever is live then, those who were
dropped last. A resharing that failed changes nothing: the committee stays in office, and the next one waits.

The switch is one record: until the block in which the last verdict arrives, the old committee is in office and
releases; from that block on, its successor is, with the same master key and the next sharing epoch.
"""

from __future__ import annotations

from typing import Final, Literal

from msgspec.structs import replace

from keephold.base.ids import PublicKey
from keephold.custody.public import transcript
from keephold.custody.public.opening import open_generation, open_resharing
from keephold.ledger.overlay import Overlay
from keephold.ledger.rules.context import NOTHING, Applied, BlockContext, live_registration, refused
from keephold.ledger.rules.seats import candidates, fit, next_members
from keephold.protocol.custody import CommitteeKeys, DkgDealing, DkgMessage, RoundState
from keephold.protocol.refusals import Refusal
from keephold.protocol.state import CommitteeRecord, Registration, committee_path, registration_path, round_path
from keephold.protocol.transactions import Transaction

NO_COMMITTEE = CommitteeRecord()
"""What an absent committee stands for."""

_UNDER_WAY: Final = ("generating", "resharing")
_MOST_DOUBLINGS: Final = 8
"""The longest pause between resharings is 2**8 phases."""


def message(state: Overlay, block: BlockContext, transaction: Transaction, _: bytes, body: DkgMessage) -> Applied:
    """Feed one message to the ceremony.

    Raises:
        LedgerRefused: those of `live_registration`; `wrong_phase`, `wrong_round`, `not_seated` or `dealing_refused`.
    """
    # (1) There is a ceremony.
    committee = state.get(committee_path(), NO_COMMITTEE)
    ceremony = state.find(round_path(committee.round), RoundState)
    if ceremony is None:
        raise refused(Refusal.WRONG_PHASE, "no key ceremony yet")
    # (2) The sender is a gatekeeper with a live lease; or hands on the share that he still has.
    if ceremony.purpose == "resharing" and isinstance(body, DkgDealing):
        _former(state, transaction.sender)
    else:
        live_registration(state, block, transaction.sender, "gatekeeper")
    # (3) The ceremony accepts it, from one who takes part in this phase.
    after = transcript.apply(ceremony, PublicKey(transaction.sender), body, time_ns=block.time_ns)
    _store(state, block, committee, after)
    return NOTHING


def begin(state: Overlay, block: BlockContext) -> None:
    """Drop the silent at their deadline; open the ceremony that is due, if there is one."""
    committee = state.get(committee_path(), NO_COMMITTEE)
    ceremony = state.find(round_path(committee.round), RoundState) if committee.round else None
    if committee.phase in _UNDER_WAY and ceremony is not None:
        after = transcript.tick(ceremony, time_ns=block.time_ns)
        if after != ceremony:
            _store(state, block, committee, after)
    elif committee.keys:
        _succeed(state, block, committee, committee.keys[0], ceremony)
    else:
        _form(state, block, committee, ceremony)


def _former(state: Overlay, sender: bytes) -> None:
    """Accept a dealer who lapsed or was demoted: what he deals is checked against his public share, not believed."""
    registration = state.find(registration_path(PublicKey(sender)), Registration)
    if registration is None or registration.role != "gatekeeper":
        raise refused(Refusal.NOT_REGISTERED, "no gatekeeper of this identity")
    if registration.status == "revoked":
        raise refused(Refusal.REVOKED, "revoked by governance")


def _form(state: Overlay, block: BlockContext, committee: CommitteeRecord, failed: RoundState | None) -> None:
    """Open a generation as soon as enough independent gatekeepers are live."""
    rules = state.law.committee
    members = candidates(state, block, failed)[: rules.seats]
    if len(members) < rules.seats:
        return
    opened = open_generation(
        network=block.network,
        round_number=committee.round + 1,
        members=members,
        threshold=rules.threshold,
        phase_ns=rules.phase_ns,
        time_ns=block.time_ns,
    )
    _store(state, block, replace(committee, members=tuple(members)), opened)


def _succeed(
    state: Overlay, block: BlockContext, committee: CommitteeRecord, keys: CommitteeKeys, last: RoundState | None
) -> None:
    """Open a resharing when another committee than the one in office is due; say so when too few members are live."""
    rules = state.law.committee
    members = next_members(state, block, keys, last) if block.time_ns >= committee.resume_ns else ()
    if members:
        opened = open_resharing(
            keys,
            round_number=committee.round + 1,
            members=members,
            threshold=rules.threshold,
            phase_ns=rules.phase_ns,
            time_ns=block.time_ns,
        )
        _store(state, block, replace(committee, successors=members), opened)
        return
    phase = _at_rest(state, block, keys)
    if phase != committee.phase:
        state.put(committee_path(), replace(committee, phase=phase))


def _store(state: Overlay, block: BlockContext, committee: CommitteeRecord, ceremony: RoundState) -> None:
    """Keep the ceremony under its present round, and say in the committee's record where it stands."""
    if committee.round != ceremony.round:
        state.delete(round_path(committee.round))
    state.put(round_path(ceremony.round), ceremony)
    after = _recorded(state, block, replace(committee, round=ceremony.round), ceremony)
    if after != committee:
        state.put(committee_path(), after)


def _recorded(state: Overlay, block: BlockContext, committee: CommitteeRecord, ceremony: RoundState) -> CommitteeRecord:
    keys = transcript.outcome(ceremony)
    if keys is not None:
        members = tuple(seat.member for seat in keys.seats)
        done = CommitteeRecord("ready", ceremony.round, members, (keys,))
        is_setback = ceremony.purpose == "resharing" and len(members) < len(ceremony.receivers)
        return _after_setback(done, block, ceremony, committee.setbacks) if is_setback else done
    if ceremony.phase != "failed":
        return replace(committee, phase="generating" if ceremony.purpose == "generation" else "resharing")
    if ceremony.purpose == "generation":
        return CommitteeRecord("failed", ceremony.round)
    kept = replace(committee, phase=_at_rest(state, block, committee.keys[0]), successors=())
    return _after_setback(kept, block, ceremony, committee.setbacks)


def _at_rest(state: Overlay, block: BlockContext, keys: CommitteeKeys) -> Literal["ready", "short"]:
    live = sum(fit(state, block, seat.member) is not None for seat in keys.seats)
    return "ready" if live >= keys.threshold else "short"


def _after_setback(
    committee: CommitteeRecord, block: BlockContext, ceremony: RoundState, setbacks: int
) -> CommitteeRecord:
    """Return the record with the pause before the next resharing: one phase after the first setback, then doubling."""
    pause = ceremony.phase_ns << min(setbacks, _MOST_DOUBLINGS)
    return replace(committee, setbacks=setbacks + 1, resume_ns=block.time_ns + pause)
