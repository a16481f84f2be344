"""What a member sends, made from the state and its secrets; and what it reads out of the others' dealings."""

from __future__ import annotations

from collections.abc import Mapping

from keephold.base.errors import BadShare
from keephold.crypto.hashing import equal, number
from keephold.crypto.secret import SecretBytes
from keephold.crypto.sharing import polynomial, proofs
from keephold.custody.public import commitments, dealing, qualified
from keephold.custody.public.dealing import Dealt
from keephold.custody.secret.derivation import RoundSecrets
from keephold.custody.secret.share import Share
from keephold.protocol.custody import Dealer, DkgComplaint, DkgDealing, DkgExtraction, DkgKeys, Receiver, RoundState


def make_keys(state: RoundState, secrets: RoundSecrets) -> DkgKeys:
    """Return this receiver's one-time public keys."""
    keys = tuple(secrets.dealing_key(dealer.seat).public for dealer in state.dealers)
    return DkgKeys(state.round, keys, secrets.pepper_key().public if state.purpose == "resharing" else b"")


def has_registered(state: RoundState, secrets: RoundSecrets, me: Receiver) -> bool:
    """Whether the keys on record are those of this root."""
    return equal(dealing.digest_of(dealing.digests(make_keys(state, secrets).keys)), me.keys)


def make_generation_dealing(
    state: RoundState, secrets: RoundSecrets, me: Dealer, registered: Mapping[bytes, DkgKeys]
) -> DkgDealing:
    """Return a fresh polynomial, Pedersen-committed, with a part of the pepper."""
    coefficients, blinds = secrets.coefficients(state), secrets.blinds(state)
    pepper, column = secrets.pepper_part(state), state.dealers.index(me)

    def envelope(receiver: Receiver) -> bytes:
        share, blind = polynomial.evaluate(coefficients, receiver.seat), polynomial.evaluate(blinds, receiver.seat)
        key = registered[receiver.member].keys[column]
        return dealing.seal_dealing(state, me, receiver, key, share, blind, pepper)

    return DkgDealing(
        state.round,
        polynomial.pedersen(coefficients, blinds),
        tuple(envelope(receiver) if _is_in(state, receiver) else b"" for receiver in state.receivers),
        pepper=dealing.pepper_commitment(state.network, pepper),
    )


def make_resharing_dealing(
    state: RoundState, secrets: RoundSecrets, me: Dealer, registered: Mapping[bytes, DkgKeys], inherited: Share
) -> DkgDealing:
    """Return a polynomial whose constant term is the inherited share, and the pepper beside it."""
    coefficients = [inherited.scalar(), *secrets.coefficients(state)[1:]]
    column = state.dealers.index(me)

    def envelope(receiver: Receiver) -> bytes:
        key = registered[receiver.member].keys[column]
        return dealing.seal_dealing(state, me, receiver, key, polynomial.evaluate(coefficients, receiver.seat))

    def pepper(receiver: Receiver) -> bytes:
        return dealing.seal_pepper(state, me, receiver, registered[receiver.member].pepper_key, inherited.pepper())

    return DkgDealing(
        state.round,
        polynomial.feldman(coefficients),
        tuple(envelope(receiver) if _is_in(state, receiver) else b"" for receiver in state.receivers),
        peppers=tuple(pepper(receiver) if _is_in(state, receiver) else b"" for receiver in state.receivers),
    )


def make_complaint(
    state: RoundState, secrets: RoundSecrets, me: Receiver, accused: Dealer, dealt: DkgDealing
) -> DkgComplaint:
    """Return the complaint that lets the rules open `accused`'s envelope to this receiver."""
    return DkgComplaint(
        state.round,
        accused.seat,
        secrets.dealing_seed(accused.seat).reveal(),
        dealing.digests(make_keys(state, secrets).keys),
        dealing.digests(dealt.envelopes),
        dealt.envelopes[me.seat - 1],
    )


def has_dealt(state: RoundState, secrets: RoundSecrets, me: Dealer) -> bool:
    """Whether the Pedersen commitments on record are those of this root."""
    return polynomial.pedersen(secrets.coefficients(state), secrets.blinds(state)) == me.commitments


def make_extraction(state: RoundState, secrets: RoundSecrets, me: Dealer) -> DkgExtraction:
    """Return the Feldman commitments to the polynomial dealt, proven to be those."""
    coefficients, blinds = secrets.coefficients(state), secrets.blinds(state)
    committed, extracted = commitments.decode(me.commitments), polynomial.feldman(coefficients)
    context = (dealing.round_context(state), number(me.seat))
    return DkgExtraction(
        state.round,
        extracted,
        proofs.prove_consistency(committed, extracted, blinds, secrets.entropy(b"consistency"), *context),
        proofs.prove_possession(coefficients[0], secrets.entropy(b"possession"), *context),
    )


def read_dealing(
    state: RoundState, secrets: RoundSecrets, me: Receiver, dealer: Dealer, dealt: DkgDealing
) -> Dealt | None:
    """Return what `dealer` dealt to this receiver; None when it is bad, which calls for a complaint."""
    try:
        return dealing.open_dealing(state, dealer, me, secrets.dealing_key(dealer.seat), dealt.envelopes[me.seat - 1])
    except BadShare:
        return None


def read_pepper(
    state: RoundState, secrets: RoundSecrets, me: Receiver, dealings: Mapping[bytes, DkgDealing]
) -> SecretBytes | None:
    """Return the pepper from the first dealer who handed the right one on; None while nobody has."""
    key = secrets.pepper_key()
    for dealer in qualified.dealers(state):
        try:
            return dealing.open_pepper(state, dealer, me, key, dealings[dealer.member].peppers[me.seat - 1])
        except BadShare:
            continue
    return None


def _is_in(state: RoundState, receiver: Receiver) -> bool:
    return not qualified.is_dropped(state, "receiver", receiver.seat)
