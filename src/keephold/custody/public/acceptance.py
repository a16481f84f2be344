"""What makes a message acceptable, one handler each: the next state, or a refusal.

Handlers let `BadKey` and `BadShare` out; `transcript.apply` turns both into the one refusal `dealing_refused`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, TypeVar

from msgspec.structs import replace

from keephold.base.errors import BadShare, LedgerRefused
from keephold.base.ids import PublicKey
from keephold.crypto import hpke
from keephold.crypto.hashing import number
from keephold.crypto.secret import SecretBytes
from keephold.crypto.sharing import proofs
from keephold.custody.public import commitments, dealing, qualified
from keephold.protocol.custody import (
    Dealer,
    DkgComplaint,
    DkgDealing,
    DkgExtraction,
    DkgKeys,
    DkgVerdict,
    Phase,
    Receiver,
    RoundState,
)
from keephold.protocol.refusals import Refusal


def _keys(state: RoundState, sender: PublicKey, message: DkgKeys) -> RoundState:
    me = _find(qualified.receivers(state), sender)
    if me.keys:
        raise refused(Refusal.WRONG_PHASE, "keys are registered already")
    if len(message.keys) != len(state.dealers) or bool(message.pepper_key) != (state.purpose == "resharing"):
        raise BadShare("one key for each dealer, and one for the pepper in a resharing")
    for key in (*message.keys, *([message.pepper_key] if message.pepper_key else [])):
        hpke.check_public(key)
    return _with_receiver(state, replace(me, keys=dealing.digest_of(dealing.digests(message.keys))))


def _dealing(state: RoundState, sender: PublicKey, message: DkgDealing) -> RoundState:
    me = _find(qualified.dealers(state), sender)
    if me.envelopes:
        raise refused(Refusal.WRONG_PHASE, "dealt already")
    is_generation = state.purpose == "generation"
    # (1) A polynomial of the right degree, from the right anchor.
    commitments.decode(message.commitments)
    if len(message.commitments) != state.threshold:
        raise BadShare("one commitment a coefficient")
    if not is_generation and message.commitments[0] != me.anchor:
        raise BadShare("the constant term is not the dealer's share")
    # (2) One envelope of the one size for each receiver still in.
    _check_envelopes(state, message.envelopes, dealing.envelope_size(state))
    # (3) The pepper: a commitment to a part, or the whole of it handed on.
    if len(message.pepper) != (dealing.PEPPER_PART if is_generation else 0):
        raise BadShare("a generation commits to a part of the pepper, a resharing does not")
    if is_generation and message.peppers:
        raise BadShare("a generation hands no pepper on")
    if not is_generation:
        _check_envelopes(state, message.peppers, dealing.pepper_envelope_size(state))
    on_record = replace(
        me,
        commitments=message.commitments,
        envelopes=dealing.digest_of(dealing.digests(message.envelopes)),
        pepper=message.pepper,
    )
    return _with_dealer(state, on_record)


def _check_envelopes(state: RoundState, envelopes: Sequence[bytes], size: int) -> None:
    expected = [0 if qualified.is_dropped(state, "receiver", r.seat) else size for r in state.receivers]
    if [len(envelope) for envelope in envelopes] != expected:
        raise BadShare("one envelope for each receiver")


def _complaint(state: RoundState, sender: PublicKey, message: DkgComplaint) -> RoundState:
    me = _find(qualified.receivers(state), sender)
    if me.satisfied:
        raise refused(Refusal.WRONG_PHASE, "the verdict is in")
    accused = next((dealer for dealer in qualified.dealers(state) if dealer.seat == message.dealer), None)
    if accused is None:
        raise refused(Refusal.DEALING_REFUSED, "nobody deals from that seat (any more)")
    key = hpke.EncryptionKey(SecretBytes(message.seed))
    column = [dealer.seat for dealer in state.dealers].index(accused.seat)
    # (1) The lists are those on record; (2) the key is the one registered; (3) the envelope is the one dealt.
    if dealing.digest_of(message.keys) != me.keys or dealing.digest_of(message.envelopes) != accused.envelopes:
        raise BadShare("not the digests on record")
    if dealing.digests([key.public])[0] != message.keys[column]:
        raise BadShare("not the key registered for this dealer")
    if dealing.digests([message.envelope])[0] != message.envelopes[me.seat - 1]:
        raise BadShare("not the envelope dealt")
    # (4) Only now does it decide, and it always decides against somebody.
    try:
        dealing.open_dealing(state, accused, me, key, message.envelope)
    except BadShare:
        return qualified.drop(state, "dealer", accused, "bad-dealing")
    return qualified.drop(state, "receiver", me, "false-complaint")


def _verdict(state: RoundState, sender: PublicKey, _: DkgVerdict) -> RoundState:
    me = _find(qualified.receivers(state), sender)
    if me.satisfied:
        raise refused(Refusal.WRONG_PHASE, "the verdict is in")
    return _with_receiver(state, replace(me, satisfied=True))


def _extraction(state: RoundState, sender: PublicKey, message: DkgExtraction) -> RoundState:
    me = _find(qualified.dealers(state), sender)
    if me.extracted:
        raise refused(Refusal.WRONG_PHASE, "extracted already")
    committed, extracted = commitments.decode(me.commitments), commitments.decode(message.commitments)
    context = (dealing.round_context(state), number(me.seat))
    proofs.verify_consistency(committed, extracted, message.consistency, *context)
    proofs.verify_possession(extracted[0], message.possession, *context)
    return _with_dealer(state, replace(me, extracted=message.commitments))


Handler = Callable[[RoundState, PublicKey, Any], RoundState]

HANDLERS: Final[dict[tuple[type, Phase], Handler]] = {
    (DkgKeys, "keys"): _keys,
    (DkgDealing, "dealing"): _dealing,
    (DkgComplaint, "verdicts"): _complaint,
    (DkgVerdict, "verdicts"): _verdict,
    (DkgExtraction, "extraction"): _extraction,
}

Party = TypeVar("Party", Dealer, Receiver)


def _find(parties: Sequence[Party], sender: PublicKey) -> Party:
    for party in parties:
        if party.member == sender:
            return party
    raise refused(Refusal.NOT_SEATED, "no part in this phase, or dropped")


def _with_dealer(state: RoundState, new: Dealer) -> RoundState:
    return replace(state, dealers=tuple(new if old.seat == new.seat else old for old in state.dealers))


def _with_receiver(state: RoundState, new: Receiver) -> RoundState:
    return replace(state, receivers=tuple(new if old.seat == new.seat else old for old in state.receivers))


def refused(refusal: Refusal, detail: str) -> LedgerRefused:
    """Return the refusal to raise: its stable word and a detail for people."""
    return LedgerRefused(refusal.word, detail)
