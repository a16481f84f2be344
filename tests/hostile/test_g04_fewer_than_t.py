"""G4. Fewer than t gatekeepers: what they hold fits every key, what they add to it is found out or is another key."""

from __future__ import annotations

import itertools

import pytest
from hostile_custody import generation
from msgspec.structs import replace

from keephold.base.errors import BadShare
from keephold.base.ids import NetworkId
from keephold.crypto import ristretto
from keephold.crypto.secret import SecretBytes
from keephold.crypto.sharing import polynomial, prf
from keephold.custody.secret import release
from keephold.protocol.lines import ContractLine

ORDER = 2**252 + 27742317777372353535851937790883648493
"""Of the group."""
INPUTS = [release.prf_input(NetworkId(bytes(32)), ContractLine(b"c" * 32, 1))]


def entropy(size: int) -> bytes:
    return b"e" * size


@pytest.fixture(scope="module")
def ceremony():
    return generation().run()


@pytest.fixture(scope="module")
def shares(ceremony):
    return ceremony.made()


def test_two_shares_of_three_fit_every_candidate_for_the_master_key(shares) -> None:
    """For each candidate there is a third share that makes it the key: two shares say nothing about it."""
    held = {share.seat: _integer(share.scalar()) for share in shares[:2]}
    thirds = set()
    for candidate in (1, 2, 4711):
        third = _through({0: candidate, **held}, 3)
        thirds.add(third)
        assert _through({**held, 3: third}, 0) == candidate
    assert len(thirds) == 3
    assert _integer(shares[2].scalar()) not in thirds


def _integer(scalar: SecretBytes) -> int:
    return int.from_bytes(scalar.reveal(), "little")


def _through(points: dict[int, int], at: int) -> int:
    """Return the value at `at` of the polynomial through these points."""
    total = 0
    for x, value in points.items():
        weight = value
        for y in points:
            if y != x:
                weight = weight * (at - y) * pow(x - y, -1, ORDER) % ORDER
        total += weight
    return total % ORDER


def test_a_wrong_third_partial_makes_another_key_and_is_not_combined(shares, ceremony) -> None:
    partials = [release.partial(share, INPUTS, entropy) for share in shares[:3]]
    right = prf.combine({batch.seat: ristretto.Point(batch.points[0]) for batch in partials})
    guessed = ristretto.multiply_base(ristretto.secret_scalar(SecretBytes(b"g" * 64)))
    points = {batch.seat: ristretto.Point(batch.points[0]) for batch in partials[:2]}
    # (1) Whoever combined it unchecked would have another key.
    assert prf.combine({**points, partials[2].seat: guessed}).reveal() != right.reveal()
    # (2) It is not combined: its proof does not hold.
    with pytest.raises(BadShare):
        release.combine([*partials[:2], replace(partials[2], points=(guessed,))], ceremony.keys, INPUTS)


def test_a_partial_made_with_another_seats_share_is_no_partial(shares, ceremony) -> None:
    """One broken gatekeeper, speaking for three."""
    own = release.partial(shares[0], INPUTS, entropy)
    pretended = [own, *(replace(own, seat=share.seat) for share in shares[1:3])]
    with pytest.raises(BadShare, match="1 of 3"):
        release.combine(pretended, ceremony.keys, INPUTS)


def test_any_two_of_five_that_withhold_or_lie_change_nothing_and_three_stop_it(shares, ceremony) -> None:
    partials = {share.seat: release.partial(share, INPUTS, entropy) for share in shares}
    right = release.combine(list(partials.values()), ceremony.keys, INPUTS)[0].reveal()
    for broken in itertools.combinations(partials, 2):
        for lies in itertools.product((False, True), repeat=2):
            liars = [seat for seat, does in zip(broken, lies, strict=True) if does]
            sent = [
                replace(batch, points=partials[seat % 5 + 1].points) if seat in liars else batch
                for seat, batch in partials.items()
                if seat not in broken or seat in liars
            ]
            assert release.examine(sent, ceremony.keys, INPUTS).lying == tuple(liars)
            assert release.combine(sent, ceremony.keys, INPUTS)[0].reveal() == right
    for broken in itertools.combinations(partials, 3):
        with pytest.raises(BadShare, match="2 of 3"):
            release.combine([batch for seat, batch in partials.items() if seat not in broken], ceremony.keys, INPUTS)


def test_two_dishonest_gatekeepers_cannot_lie_about_the_pepper(shares, ceremony) -> None:
    partials = [release.partial(share, INPUTS, entropy) for share in shares]
    right = release.combine(partials, ceremony.keys, INPUTS)[0].reveal()
    liars = [replace(batch, macs=(bytes(32),)) for batch in partials[:2]]
    for order in itertools.permutations([*liars, *partials[2:]], 5):
        examined = release.examine(order, ceremony.keys, INPUTS)
        assert examined.lying == (1, 2)
        assert release.combine(order, ceremony.keys, INPUTS)[0].reveal() == right
        if order[0] is liars[1]:
            break


def test_a_share_lies_on_the_polynomial_that_everybody_sees(shares, ceremony) -> None:
    points = [ristretto.decode_point(seat.public_share) for seat in ceremony.keys.seats]
    for chosen in itertools.combinations(range(5), 3):
        seats = [ceremony.keys.seats[at].seat for at in chosen]
        made = polynomial.weighted_sum((points[at] for at in chosen), polynomial.lagrange(seats))
        assert made == ceremony.keys.master
