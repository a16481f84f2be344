"""Key ceremonies as the ledger ran them: messages in order, and what everybody who replays them computes."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import Any, Final

from msgspec.structs import replace

from keephold.base.ids import PublicKey
from keephold.custody.public import transcript
from keephold.custody.public.dealing import envelope_size, round_context
from keephold.custody.public.opening import open_generation, open_resharing
from keephold.custody.secret.dealer import Participant
from keephold.custody.secret.share import Share
from keephold.protocol.codec import decode, encode
from keephold.protocol.custody import (
    DkgComplaint,
    DkgDealing,
    DkgExtraction,
    DkgKeys,
    DkgMessage,
    DkgVerdict,
    RoundState,
)
from vectors.base import Family, Given, Maker, fixed, octets, shown
from vectors.keys import NETWORK

PHASE_NS: Final = 1000
_KINDS: Final = {kind.__name__: kind for kind in (DkgKeys, DkgDealing, DkgComplaint, DkgVerdict, DkgExtraction)}
MEMBERS: Final = tuple(PublicKey(fixed(f"gatekeeper {at}")) for at in range(3))
Tamper = Callable[[PublicKey, DkgMessage], Sequence[DkgMessage]]


def _replay(given: Given) -> dict[str, Any]:
    state = decode(octets(given, "opened"), RoundState)
    for sent in given["messages"]:
        state = transcript.tick(state, time_ns=sent["time_ns"])
        message = decode(octets(sent, "message"), _KINDS[sent["kind"]])
        state = transcript.apply(state, PublicKey(octets(sent, "sender")), message, time_ns=sent["time_ns"])
    state = transcript.tick(state, time_ns=given["until_ns"])
    keys = transcript.outcome(state)
    return {
        "phase": state.phase,
        "round": state.round,
        "drops": [shown(drop) for drop in state.drops],
        "committee": "" if keys is None else shown(keys),
    }


def _run(opened: RoundState, shares: Sequence[Share], tamper: Tamper) -> tuple[Given, list[Share]]:
    """Run a ceremony on one desk; return what was accepted, and the shares it made."""
    inherited = {seat.member: share for share in shares for seat in share.committee.seats if seat.seat == share.seat}
    parties = {
        PublicKey(who): Participant.begin(
            member=PublicKey(who),
            opened=opened,
            entropy=lambda size, who=who: hashlib.shake_256(b"root " + who).digest(size),
            inherited=inherited.get(who),
        )[0]
        for who in dict.fromkeys(party.member for party in (*opened.dealers, *opened.receivers))
    }
    state, time_ns, accepted = opened, opened.deadline_ns - opened.phase_ns, []
    while state.phase not in ("done", "failed"):
        state = transcript.tick(state, time_ns=time_ns)
        queue = [(who, sent) for who, party in parties.items() for sent in party.advance(time_ns=time_ns)]
        while queue:
            who, due = queue.pop(0)
            for message in tamper(who, due):
                state = transcript.apply(state, who, message, time_ns=time_ns)
                accepted.append({"time_ns": time_ns, "sender": who.hex(), **_spelled(message)})
                for other, party in parties.items():
                    queue += [(other, fresh) for fresh in party.observe(who, message, time_ns=time_ns)]
        time_ns = max(time_ns, state.deadline_ns)
    made = (
        [share for party in parties.values() if (share := party.share()) is not None] if state.phase == "done" else []
    )
    return {"opened": encode(opened).hex(), "messages": accepted, "until_ns": time_ns}, made


def _spelled(message: DkgMessage) -> dict[str, str]:
    return {"kind": type(message).__name__, "message": encode(message).hex()}


def _honest(_: PublicKey, message: DkgMessage) -> Sequence[DkgMessage]:
    return (message,)


def _silent_third(who: PublicKey, message: DkgMessage) -> Sequence[DkgMessage]:
    return () if who == MEMBERS[2] else (message,)


def _late_third(who: PublicKey, message: DkgMessage) -> Sequence[DkgMessage]:
    return () if who == MEMBERS[2] and isinstance(message, DkgExtraction) and message.round == 1 else (message,)


def _garbage_to_second(who: PublicKey, message: DkgMessage) -> Sequence[DkgMessage]:
    if who != MEMBERS[0] or not isinstance(message, DkgDealing):
        return (message,)
    envelopes = list(message.envelopes)
    envelopes[1] = fixed("garbage", len(envelopes[1]))
    return (replace(message, envelopes=tuple(envelopes)),)


def _generation() -> RoundState:
    return open_generation(
        network=NETWORK, round_number=1, members=MEMBERS, threshold=2, phase_ns=PHASE_NS, time_ns=PHASE_NS
    )


def _make(maker: Maker) -> None:
    opened = _generation()
    maker.add("the context of a round", "context", {"opened": encode(opened).hex()})
    shares: list[Share] = []
    for name, tamper in (
        ("a generation, 2 of 3", _honest),
        ("a member that is silent: dropped, and the round goes on", _silent_third),
        ("a member that is silent in the extraction: the round restarts", _late_third),
        ("a dealing that does not open: a complaint drops the dealer", _garbage_to_second),
    ):
        given, made = _run(opened, (), tamper)
        maker.add(name, "replay", maker.kept(name, "messages", "replay", lambda given=given: given))
        shares = shares or made
    successors = (MEMBERS[0], MEMBERS[1], PublicKey(fixed("gatekeeper 3")))
    handover = open_resharing(
        shares[0].committee, round_number=2, members=successors, threshold=2, phase_ns=PHASE_NS, time_ns=PHASE_NS
    )
    name = "a resharing: one leaves, one joins, the master key stays"
    given, _ = _run(handover, shares, _honest)
    maker.add(name, "replay", maker.kept(name, "messages", "replay", lambda: given))
    _refusals(maker, opened)


def _refusals(maker: Maker, opened: RoundState) -> None:
    keys = next(case for case in maker.cases if case["function"] == "replay")["in"]["messages"][0]

    def alone(sent: dict[str, Any]) -> Given:
        return {"opened": encode(opened).hex(), "messages": [sent], "until_ns": sent["time_ns"]}

    def said(message: DkgMessage) -> Given:
        return alone({**keys, **_spelled(message)})

    first = decode(bytes.fromhex(keys["message"]), DkgKeys)
    refused = "ledger_refused"
    maker.add("for another round", "replay", said(replace(first, round=2)), f"{refused}/wrong_round")
    maker.add("a verdict before there is a dealing", "replay", said(DkgVerdict(1)), f"{refused}/wrong_phase")
    maker.add("behind the deadline", "replay", alone({**keys, "time_ns": opened.deadline_ns}), f"{refused}/wrong_phase")
    stranger = {**keys, "sender": fixed("stranger").hex()}
    maker.add("by somebody who has no seat", "replay", alone(stranger), f"{refused}/not_seated")
    maker.add("a key too few", "replay", said(replace(first, keys=first.keys[:2])), f"{refused}/dealing_refused")
    spoiled = replace(first, keys=(b"\xff" * 1216, *first.keys[1:]))
    maker.add("a key that is none", "replay", said(spoiled), f"{refused}/dealing_refused")


def _context(given: Given) -> dict[str, Any]:
    state = decode(octets(given, "opened"), RoundState)
    return {"context": round_context(state).hex(), "envelope_size": envelope_size(state)}


CEREMONY: Final = Family(
    "ceremony",
    "Key ceremonies: the opened round, accepted messages in order with their block's time, and the outcome.",
    {"context": _context, "replay": _replay},
    _make,
)
