"""The committee: who generates the MasterKey, and the ceremony's messages.

The ceremony itself is `custody.public.transcript`; here it gets its members, its clock and its place in the map. A
generation that failed is tried again by whoever is live then, those who were dropped last.
"""

from __future__ import annotations

from msgspec.structs import replace

from keephold.base.ids import PublicKey
from keephold.custody.public import transcript
from keephold.custody.public.opening import open_generation
from keephold.ledger.overlay import Overlay
from keephold.ledger.rules.context import NOTHING, Applied, BlockContext, is_live, live_registration, refused
from keephold.protocol.custody import DkgMessage, RoundState
from keephold.protocol.refusals import Refusal
from keephold.protocol.state import (
    CommitteeRecord,
    Registration,
    Roll,
    committee_path,
    registration_path,
    roll_path,
    round_path,
)
from keephold.protocol.transactions import Transaction

NO_COMMITTEE = CommitteeRecord()
"""What an absent committee stands for."""


def message(state: Overlay, block: BlockContext, transaction: Transaction, _: bytes, body: DkgMessage) -> Applied:
    """Feed one message to the ceremony.

    Raises:
        LedgerRefused: those of `live_registration`; `wrong_phase`, `wrong_round`, `not_seated` or `dealing_refused`.
    """
    # (1) There is a ceremony.
    committee = state.get(committee_path(), NO_COMMITTEE)
    ceremony = state.find(round_path(committee.round), RoundState)
    if ceremony is None:
        raise refused(Refusal.WRONG_PHASE, "no key generation yet")
    # (2) The sender is a gatekeeper with a live lease.
    live_registration(state, block, transaction.sender, "gatekeeper")
    # (3) The ceremony accepts it, from one who takes part in this phase.
    after = transcript.apply(ceremony, PublicKey(transaction.sender), body, time_ns=block.time_ns)
    _store(state, committee, after)
    return NOTHING


def begin(state: Overlay, block: BlockContext) -> None:
    """Drop the silent at their deadline; open a generation as soon as enough independent gatekeepers are live."""
    committee = state.get(committee_path(), NO_COMMITTEE)
    ceremony = state.find(round_path(committee.round), RoundState) if committee.round else None
    if committee.phase == "generating" and ceremony is not None:
        after = transcript.tick(ceremony, time_ns=block.time_ns)
        if after != ceremony:
            _store(state, committee, after)
    elif committee.phase in ("forming", "failed"):
        _form(state, block, committee, ceremony)


def _form(state: Overlay, block: BlockContext, committee: CommitteeRecord, failed: RoundState | None) -> None:
    rules = state.law.committee
    members = _candidates(state, block, failed)[: rules.seats]
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
    _store(state, replace(committee, members=tuple(members)), opened)


def _candidates(state: Overlay, block: BlockContext, failed: RoundState | None) -> list[PublicKey]:
    """Return live gatekeepers, at most one an operator and one a platform: the reliable first, then by seniority."""
    dropped = {drop.member for drop in failed.drops} if failed is not None else set()
    registrations = [
        registration
        for entry in state.get(roll_path("gatekeeper"), Roll()).entries
        if (registration := state.find(registration_path(PublicKey(entry.identity)), Registration)) is not None
        and is_live(registration, block)
        and registration.level <= state.law.attestation.gatekeeper_max_level
    ]
    registrations.sort(key=lambda item: (item.identity in dropped, item.height, item.identity))
    operators: set[bytes] = set()
    platforms: set[bytes] = set()
    chosen = []
    for registration in registrations:
        if registration.operator not in operators and registration.platform not in platforms:
            operators.add(registration.operator)
            platforms.add(registration.platform)
            chosen.append(PublicKey(registration.identity))
    return chosen


def _store(state: Overlay, committee: CommitteeRecord, ceremony: RoundState) -> None:
    """Keep the ceremony under its present round, and say in the committee's record where it stands."""
    if committee.round != ceremony.round:
        state.delete(round_path(committee.round))
    state.put(round_path(ceremony.round), ceremony)
    keys = transcript.outcome(ceremony)
    if keys is not None:
        members = tuple(seat.member for seat in keys.seats)
        after = CommitteeRecord("ready", ceremony.round, members, (keys,))
    elif ceremony.phase == "failed":
        after = CommitteeRecord("failed", ceremony.round)
    else:
        after = CommitteeRecord("generating", ceremony.round, committee.members)
    if after != committee:
        state.put(committee_path(), after)
