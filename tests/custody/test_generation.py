"""Key generation from end to end: nobody misbehaves, then everybody in turn."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from msgspec.structs import replace

from keephold.crypto import ristretto
from keephold.crypto.secret import SecretBytes
from keephold.crypto.sharing import polynomial
from keephold.custody.public import dealing, transcript
from keephold.custody.secret import messages
from keephold.custody.secret.derivation import RoundSecrets
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

Generate = Callable[..., Any]
ONE = ristretto.scalar(1)


def member_of(ceremony: Any, name: int) -> bytes:
    return ceremony.opened.receivers[name].member


def silent_in(kind: type) -> Callable[[Any, DkgMessage], Sequence[DkgMessage]]:
    return lambda _, message: [] if isinstance(message, kind) else [message]


def reconstructed(ceremony: Any, seats: Sequence[int]) -> SecretBytes:
    shares = {share.seat: share.scalar() for share in ceremony.made()}
    return polynomial.secret_weighted_sum([shares[seat] for seat in seats], polynomial.lagrange(seats))


def resealed(ceremony: Any, sender: int, message: DkgDealing, victim: int, **spoiled: bool) -> DkgDealing:
    """The dealing of seat `sender`, made again with one thing wrong in the envelope to seat `victim`."""
    state, root = ceremony.ledger, ceremony.roots[member_of(ceremony, sender - 1)]
    secrets, dealer, receiver = RoundSecrets(root, state), state.dealers[sender - 1], state.receivers[victim - 1]
    share = polynomial.evaluate(secrets.coefficients(state), victim)
    blind = polynomial.evaluate(secrets.blinds(state), victim)
    pepper = secrets.pepper_part(state)
    if "share" in spoiled:
        share = ristretto.secret_add(share, ONE)
    if "scalar" in spoiled:
        share = SecretBytes(b"\xff" * 32)
    if "pepper" in spoiled:
        pepper = SecretBytes(bytes(32))
    key = next(
        m.keys[sender - 1]
        for _, who, m in ceremony.accepted
        if isinstance(m, DkgKeys) and who == receiver.member and m.round == state.round
    )
    if "recipient" in spoiled:
        receiver = state.receivers[victim % len(state.receivers)]
    envelope = dealing.seal_dealing(state, dealer, receiver, key, share, blind, pepper)
    if "garbage" in spoiled:
        envelope = bytes(len(envelope))
    envelopes = list(message.envelopes)
    envelopes[victim - 1] = envelope
    return replace(message, envelopes=tuple(envelopes))


def test_five_members_make_a_key_that_any_three_share(finished: Any) -> None:
    keys = finished.keys
    assert finished.dropped() == []
    assert [seat.seat for seat in keys.seats] == [1, 2, 3, 4, 5]
    assert (keys.threshold, keys.sharing_epoch, len(keys.peppers)) == (3, 1, 5)
    assert len({bytes(share.pepper().reveal()) for share in finished.made()}) == 1
    secrets = {reconstructed(finished, subset).reveal() for subset in itertools.combinations(range(1, 6), 3)}
    assert len(secrets) == 1
    assert ristretto.multiply_base(SecretBytes(secrets.pop())) == keys.master
    assert reconstructed(finished, [1, 2]) != reconstructed(finished, [1, 3])


def test_nobody_waits_for_a_deadline_when_all_speak(finished: Any) -> None:
    assert finished.ledger.deadline_ns == finished.time_ns + finished.ledger.phase_ns
    assert finished.time_ns == 50


@pytest.mark.parametrize(("names", "threshold"), [("a", 1), ("ab", 1), ("ab", 2), ("abcd", 4), ("abcdefg", 4)])
def test_other_sizes(generate: Generate, names: str, threshold: int) -> None:
    ceremony = generate(names, threshold).run()
    assert len(ceremony.made()) == len(names)
    seats = range(1, threshold + 1)
    assert ristretto.multiply_base(reconstructed(ceremony, seats)) == ceremony.keys.master


@pytest.mark.parametrize(
    ("kind", "reason", "rounds"),
    [
        (DkgKeys, "silent-keys", 0),
        (DkgDealing, "silent-dealing", 0),
        (DkgVerdict, "silent-verdicts", 0),
        (DkgExtraction, "silent-extraction", 1),
    ],
)
def test_the_silent_are_dropped_and_named_and_only_the_last_phase_restarts(
    generate: Generate, kind: type, reason: str, rounds: int
) -> None:
    ceremony = generate(b=silent_in(kind)).run()
    assert ceremony.dropped() == [(2, "dealer" if kind in (DkgDealing, DkgExtraction) else "receiver", reason)]
    assert (ceremony.ledger.restarts, ceremony.ledger.round) == (rounds, 7 + rounds)
    assert [seat.seat for seat in ceremony.keys.seats] == [1, 3, 4, 5]
    assert ristretto.multiply_base(reconstructed(ceremony, [1, 4, 5])) == ceremony.keys.master
    assert ceremony.participants[member_of(ceremony, 1)].share() is None


@pytest.mark.parametrize("spoiled", ["share", "scalar", "pepper", "recipient", "garbage"])
def test_a_bad_dealer_is_dropped_by_one_complaint_and_the_round_goes_on(generate: Generate, spoiled: str) -> None:
    def cheat(ceremony: Any, message: DkgMessage) -> Sequence[DkgMessage]:
        if isinstance(message, DkgDealing):
            return [resealed(ceremony, 2, message, 4, **{spoiled: True})]
        return [message]

    ceremony = generate(b=cheat).run()
    assert ceremony.dropped() == [(2, "dealer", "bad-dealing")]
    assert (ceremony.ledger.restarts, len(ceremony.keys.peppers)) == (0, 4)
    assert ristretto.multiply_base(reconstructed(ceremony, [1, 3, 4])) == ceremony.keys.master


def test_a_complaint_shows_one_envelope_and_opens_no_other(generate: Generate) -> None:
    def cheat(ceremony: Any, message: DkgMessage) -> Sequence[DkgMessage]:
        return [resealed(ceremony, 2, message, 4, share=True)] if isinstance(message, DkgDealing) else [message]

    ceremony = generate(b=cheat).run()
    complaints = [m for _, _, m in ceremony.accepted if isinstance(m, DkgComplaint)]
    assert [complaint.dealer for complaint in complaints] == [2]
    registered = [m.keys for _, who, m in ceremony.accepted if isinstance(m, DkgKeys) and who == member_of(ceremony, 3)]
    shown = dealing.hpke.EncryptionKey(SecretBytes(complaints[0].seed)).public
    assert [key == shown for key in registered[0]] == [False, True, False, False, False]


def complaint_of_c(ceremony: Any) -> tuple[DkgDealing, DkgComplaint]:
    """Return what the first dealer dealt, and the third receiver's complaint about it, with all that is true in it."""
    state, me = ceremony.ledger, member_of(ceremony, 2)
    dealt = next(m for _, who, m in ceremony.accepted if isinstance(m, DkgDealing) and who == member_of(ceremony, 0))
    secrets = RoundSecrets(ceremony.roots[me], state)
    return dealt, messages.make_complaint(state, secrets, state.receivers[2], state.dealers[0], dealt)


def test_a_false_accuser_is_dropped_and_the_dealer_stays(generate: Generate) -> None:
    def accuse(ceremony: Any, message: DkgMessage) -> Sequence[DkgMessage]:
        if not isinstance(message, DkgVerdict):
            return [message]
        return [complaint_of_c(ceremony)[1]]

    ceremony = generate(c=accuse).run()
    assert ceremony.dropped() == [(3, "receiver", "false-complaint")]
    assert [seat.seat for seat in ceremony.keys.seats] == [1, 2, 4, 5]
    assert ristretto.multiply_base(reconstructed(ceremony, [2, 4, 5])) == ceremony.keys.master


@pytest.mark.parametrize("forged", ["key", "envelope"])
def test_an_accuser_cannot_put_its_own_key_or_envelope_in_the_place_of_the_record(
    generate: Generate, forged: str
) -> None:
    """Lists that fit a key or envelope made for the occasion would convict an honest dealer."""

    def accuse(ceremony: Any, message: DkgMessage) -> Sequence[DkgMessage]:
        if not isinstance(message, DkgVerdict):
            return [message]
        _, good = complaint_of_c(ceremony)
        if forged == "key":
            made = dealing.hpke.EncryptionKey(SecretBytes(bytes(32)))
            keys = (dealing.digests([made.public])[0], *good.keys[1:])
            return [replace(good, seed=bytes(32), keys=keys), message]
        garbage = bytes(len(good.envelope))
        envelopes = (*good.envelopes[:2], dealing.digests([garbage])[0], *good.envelopes[3:])
        return [replace(good, envelope=garbage, envelopes=envelopes), message]

    ceremony = generate(c=accuse).run()
    assert ceremony.refused == [(member_of(ceremony, 2), "dealing_refused")]
    assert ceremony.dropped() == []


@pytest.mark.parametrize("field", ["seed", "keys", "envelopes", "envelope", "dealer"])
def test_a_complaint_that_does_not_lead_to_the_record_decides_nothing(generate: Generate, field: str) -> None:
    def accuse(ceremony: Any, message: DkgMessage) -> Sequence[DkgMessage]:
        if not isinstance(message, DkgVerdict):
            return [message]
        dealt, good = complaint_of_c(ceremony)
        false = {
            "seed": bytes(32),
            "keys": good.keys[::-1],
            "envelopes": good.envelopes[::-1],
            "envelope": dealt.envelopes[0],
            "dealer": 2,
        }
        return [replace(good, **{field: false[field]}), message]

    ceremony = generate(c=accuse).run()
    assert ceremony.refused == [(member_of(ceremony, 2), "dealing_refused")]
    assert ceremony.dropped() == []


@pytest.mark.parametrize("what", ["commitments", "degree", "consistency", "possession", "of another"])
def test_a_false_extraction_is_refused_and_its_dealer_falls_silent(generate: Generate, what: str) -> None:
    def cheat(ceremony: Any, message: DkgMessage) -> Sequence[DkgMessage]:
        if not isinstance(message, DkgExtraction):
            return [message]
        first = ristretto.Point(message.commitments[0])
        moved = (ristretto.add(first, ristretto.BASE), *message.commitments[1:])
        state = ceremony.ledger
        anothers = RoundSecrets(ceremony.roots[member_of(ceremony, 0)], state)
        return [
            {
                "commitments": replace(message, commitments=moved),
                "degree": replace(message, commitments=message.commitments[:-1]),
                "consistency": replace(message, consistency=message.possession),
                "possession": replace(message, possession=message.consistency),
                "of another": messages.make_extraction(state, anothers, state.dealers[0]),
            }[what]
        ]

    ceremony = generate(e=cheat).run()
    assert ceremony.refused == [(member_of(ceremony, 4), "dealing_refused")]
    assert ceremony.dropped() == [(5, "dealer", "silent-extraction")]
    assert (ceremony.ledger.round, len(ceremony.keys.seats)) == (8, 4)


def test_a_restart_shares_no_secret_with_the_round_before(generate: Generate) -> None:
    ceremony = generate(e=silent_in(DkgExtraction)).run()
    seen: dict[type, list[set[bytes]]] = {}
    for _, _, message in ceremony.accepted:
        if isinstance(message, DkgKeys):
            seen.setdefault(DkgKeys, [set(), set()])[message.round - 7].update(message.keys)
        elif isinstance(message, DkgDealing):
            seen.setdefault(DkgDealing, [set(), set()])[message.round - 7].update(
                (*message.commitments, message.pepper)
            )
    for first, second in seen.values():
        assert first
        assert second
        assert not first & second


def test_each_restart_costs_a_seat_and_below_t_the_generation_fails_naming_them(generate: Generate) -> None:
    saboteur = silent_in(DkgExtraction)

    def waits(turn: int) -> Callable[[Any, DkgMessage], Sequence[DkgMessage]]:
        return lambda c, message: saboteur(c, message) if message.round >= turn else [message]

    ceremony = generate(a=waits(7), b=waits(8), c=waits(9)).run()
    assert ceremony.ledger.phase == "failed"
    assert ceremony.ledger.restarts == 2
    assert ceremony.dropped() == [(seat, "dealer", "silent-extraction") for seat in (1, 2, 3)]
    assert transcript.outcome(ceremony.ledger) is None
    assert ceremony.made() == []


def test_too_many_silent_at_once_fail_the_generation(generate: Generate) -> None:
    ceremony = generate(**dict.fromkeys("abc", silent_in(DkgDealing))).run()
    assert (ceremony.ledger.phase, len(ceremony.dropped())) == ("failed", 3)


def test_a_replay_of_the_log_gives_the_same_state_and_the_state_has_one_spelling(finished: Any) -> None:
    state = finished.opened
    for time_ns, sender, message in finished.accepted:
        state = transcript.apply(state, sender, message, time_ns=time_ns)
        assert decode(encode(state), RoundState) == state
    assert state == finished.ledger
