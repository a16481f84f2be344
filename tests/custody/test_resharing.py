"""Handing the MasterKey on: the same key, fresh shares, any t dealers, the pepper carried over."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
from msgspec.structs import replace

from keephold.base.errors import BadShare, ConfigurationError
from keephold.crypto import ristretto
from keephold.crypto.secret import SecretBytes
from keephold.crypto.sharing import polynomial
from keephold.custody.public import dealing
from keephold.custody.secret import release
from keephold.custody.secret.dealer import Participant
from keephold.protocol.custody import DkgComplaint, DkgDealing, DkgKeys, DkgMessage, DkgVerdict

Make = Callable[..., Any]
INPUTS = [b"x" * 32, b"y" * 32]


def zeros(size: int) -> bytes:
    return bytes(size)


def seeds(ceremony: Any) -> list[bytes]:
    partials = [release.partial(share, INPUTS, zeros) for share in ceremony.made()]
    return [seed.reveal() for seed in release.combine(partials, ceremony.keys, INPUTS)]


def silent_in(kind: type) -> Callable[[Any, DkgMessage], Sequence[DkgMessage]]:
    return lambda _, message: [] if isinstance(message, kind) else [message]


def spoil_envelopes(field: str) -> Callable[[Any, DkgMessage], Sequence[DkgMessage]]:
    def tamper(_: Any, message: DkgMessage) -> Sequence[DkgMessage]:
        if not isinstance(message, DkgDealing):
            return [message]
        return [replace(message, **{field: tuple(bytes(len(e)) for e in getattr(message, field))})]

    return tamper


def test_three_of_five_becomes_four_of_seven_becomes_two_of_three(finished: Any, reshare: Make) -> None:
    wider = reshare(finished.keys, finished.made(), "cdefghi", 4).run()
    narrower = reshare(wider.keys, wider.made(), "ixy", 2, round_number=21).run()
    assert wider.dropped() == narrower.dropped() == []
    assert finished.keys.master == wider.keys.master == narrower.keys.master
    assert [k.keys.sharing_epoch for k in (finished, wider, narrower)] == [1, 2, 3]
    assert finished.keys.peppers == wider.keys.peppers == narrower.keys.peppers
    assert len(wider.keys.seats) == 7
    assert seeds(finished) == seeds(wider) == seeds(narrower)


def test_a_refresh_leaves_nothing_in_common_with_the_old_shares(finished: Any, reshare: Make) -> None:
    fresh = reshare(finished.keys, finished.made(), "abcde", 3).run()
    assert seeds(fresh) == seeds(finished)
    old, new = finished.made(), fresh.made()
    assert all(before.scalar() != after.scalar() for before, after in zip(old, new, strict=True))
    mixed = [old[0].scalar(), new[1].scalar(), new[2].scalar()]
    wrong = polynomial.secret_weighted_sum(mixed, polynomial.lagrange([1, 2, 3]))
    assert ristretto.multiply_base(wrong) != finished.keys.master


def test_partials_of_two_sharing_epochs_never_combine(finished: Any, reshare: Make) -> None:
    fresh = reshare(finished.keys, finished.made(), "abcde", 3).run()
    old = [release.partial(share, INPUTS, zeros) for share in finished.made()[:1]]
    new = [release.partial(share, INPUTS, zeros) for share in fresh.made()[1:3]]
    for keys in (finished.keys, fresh.keys):
        with pytest.raises(BadShare, match="partials agree"):
            release.combine([*old, *new], keys, INPUTS)
    renamed = [replace(batch, sharing_epoch=2) for batch in old]
    with pytest.raises(BadShare, match="seats that lie: 1"):
        release.combine([*renamed, *new], fresh.keys, INPUTS)


@pytest.mark.parametrize("field", ["envelopes", "peppers"])
def test_any_t_honest_dealers_suffice(finished: Any, reshare: Make, field: str) -> None:
    tampers = dict.fromkeys("ab", spoil_envelopes(field))
    after = reshare(finished.keys, finished.made(), "fghij", 3, **tampers).run()
    named = [(1, "dealer", "bad-dealing"), (2, "dealer", "bad-dealing")]
    assert after.dropped() == (named if field == "envelopes" else [])
    assert seeds(after) == seeds(finished)


def test_a_complaint_in_a_resharing_does_not_open_the_pepper(finished: Any, reshare: Make) -> None:
    after = reshare(finished.keys, finished.made(), "fghij", 3, a=spoil_envelopes("envelopes")).run()
    shown = [m for _, _, m in after.accepted if isinstance(m, DkgComplaint)]
    assert shown
    dealt = [m for _, _, m in after.accepted if isinstance(m, DkgDealing)]
    for complaint in shown:
        key = dealing.hpke.EncryptionKey(SecretBytes(complaint.seed))
        for receiver in after.opened.receivers:
            for dealer in after.opened.dealers:
                for message in dealt:
                    with pytest.raises(BadShare):
                        dealing.open_pepper(after.opened, dealer, receiver, key, message.peppers[receiver.seat - 1])


def test_fewer_than_t_dealers_fail_and_the_old_shares_stay_good(finished: Any, reshare: Make) -> None:
    after = reshare(finished.keys, finished.made(), "fghij", 3, **dict.fromkeys("abc", silent_in(DkgDealing))).run()
    assert (after.ledger.phase, after.ledger.restarts) == ("failed", 0)
    assert after.dropped() == [(seat, "dealer", "silent-dealing") for seat in (1, 2, 3)]
    assert not any(isinstance(message, DkgVerdict) for _, _, message in after.accepted)
    assert seeds(finished)


@pytest.mark.parametrize("kind", [DkgKeys, DkgVerdict])
def test_fewer_than_t_receivers_fail(finished: Any, reshare: Make, kind: type) -> None:
    after = reshare(finished.keys, finished.made(), "fghij", 3, **dict.fromkeys("fgh", silent_in(kind))).run()
    assert after.ledger.phase == "failed"
    assert after.made() == []


@pytest.mark.parametrize(("kind", "reason"), [(DkgKeys, "silent-keys"), (DkgVerdict, "silent-verdicts")])
def test_a_silent_receiver_takes_no_seat(finished: Any, reshare: Make, kind: type, reason: str) -> None:
    after = reshare(finished.keys, finished.made(), "fghij", 3, g=silent_in(kind)).run()
    assert after.dropped() == [(2, "receiver", reason)]
    assert [seat.seat for seat in after.keys.seats] == [1, 3, 4, 5]
    assert seeds(after) == seeds(finished)


def test_dropped_as_receiver_is_not_dropped_as_dealer(finished: Any, reshare: Make) -> None:
    after = reshare(finished.keys, finished.made()[:3], "cfghi", 3, c=silent_in(DkgKeys)).run()
    assert (1, "receiver", "silent-keys") in after.dropped()
    assert [d.seat for d in after.ledger.dealers if d.envelopes] == [1, 2, 3]
    assert seeds(after) == seeds(finished)


def test_a_dealing_that_is_not_of_the_share_is_refused(finished: Any, reshare: Make) -> None:
    def other_anchor(_: Any, message: DkgMessage) -> Sequence[DkgMessage]:
        if not isinstance(message, DkgDealing):
            return [message]
        return [replace(message, commitments=(ristretto.BASE, *message.commitments[1:]))]

    after = reshare(finished.keys, finished.made(), "fghij", 3, a=other_anchor).run()
    assert after.refused == [(after.opened.dealers[0].member, "dealing_refused")]
    assert after.dropped() == [(1, "dealer", "silent-dealing")]


@pytest.mark.parametrize("peppers", [(), (b"",) * 5, (b"\x01" * 1297,) * 4, (b"\x01" * 1200,) * 5])
def test_a_dealing_that_hands_no_pepper_on_is_refused(finished: Any, reshare: Make, peppers: tuple[bytes, ...]) -> None:
    def keeps(_: Any, message: DkgMessage) -> Sequence[DkgMessage]:
        return [replace(message, peppers=peppers)] if isinstance(message, DkgDealing) else [message]

    after = reshare(finished.keys, finished.made(), "fghij", 3, a=keeps).run()
    assert after.refused == [(after.opened.dealers[0].member, "dealing_refused")]


@pytest.mark.parametrize("pepper_key", [b"", bytes(1216), b"\x01" * 32])
def test_keys_without_a_usable_pepper_key_are_refused(finished: Any, reshare: Make, pepper_key: bytes) -> None:
    def spoils(_: Any, message: DkgMessage) -> Sequence[DkgMessage]:
        return [replace(message, pepper_key=pepper_key)] if isinstance(message, DkgKeys) else [message]

    after = reshare(finished.keys, finished.made(), "fghij", 3, f=spoils).run()
    assert after.refused == [(after.opened.receivers[0].member, "dealing_refused")]


def test_a_member_without_the_share_of_this_epoch_does_not_deal(finished: Any, reshare: Make) -> None:
    fresh = reshare(finished.keys, finished.made(), "abcde", 3).run()
    stale = reshare(fresh.keys, [*finished.made()[:1], *fresh.made()[1:]], "fgh", 2).run()
    assert stale.dropped() == [(1, "dealer", "silent-dealing")]
    assert seeds(stale) == seeds(finished)


def test_a_new_member_resumes_from_its_root(finished: Any, reshare: Make) -> None:
    after = reshare(finished.keys, finished.made(), "fghij", 3).run()
    who = after.opened.receivers[0].member
    again = Participant(SecretBytes(after.roots[who].reveal()), member=who, opened=after.opened)
    for time_ns, sender, message in after.accepted:
        again.observe(sender, message, time_ns=time_ns)
    assert again.share().scalar() == after.participants[who].share().scalar()


def test_committees_that_cannot_be(finished: Any, reshare: Make, generate: Make) -> None:
    for names, threshold in (("aa", 1), ("abc", 4), ("abc", 0), ("", 0)):
        with pytest.raises(ConfigurationError):
            generate(names, threshold)
        with pytest.raises(ConfigurationError):
            reshare(finished.keys, finished.made(), names, threshold)


def test_a_share_is_dealt_only_where_its_own_public_share_is_the_anchor(finished: Any, reshare: Make) -> None:
    shifted = replace(
        finished.keys,
        seats=tuple(
            replace(seat, public_share=finished.keys.seats[index - 1].public_share)
            for index, seat in enumerate(finished.keys.seats)
        ),
    )
    after = reshare(shifted, finished.made(), "fghij", 3).run()
    assert not any(isinstance(message, DkgDealing) for _, _, message in after.accepted)
    assert after.refused == []
