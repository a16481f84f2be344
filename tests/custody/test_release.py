"""Partials: what t honest answers give, and what a liar can do (be named, be routed around)."""

from __future__ import annotations

import copy
import itertools
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from keephold.base.errors import BadShare, KeepholdError
from keephold.base.ids import NetworkId
from keephold.crypto import ristretto
from keephold.crypto.secret import SecretBytes
from keephold.custody.secret import release
from keephold.custody.secret.share import Share
from keephold.protocol.codec import decode, encode
from keephold.protocol.custody import PartialBatch
from keephold.protocol.lines import ChannelLine, ContractLine, SigningLine

NETWORK = NetworkId(bytes(32))
INPUTS = [release.prf_input(NETWORK, ContractLine(b"c" * 32, epoch)) for epoch in (1, 2)]


def stuck(size: int) -> bytes:
    return bytes(size)


@pytest.fixture(scope="module")
def partials(finished: Any) -> list[PartialBatch]:
    return [release.partial(share, INPUTS, stuck) for share in finished.made()]


def revealed(seeds: list[SecretBytes]) -> list[bytes]:
    return [seed.reveal() for seed in seeds]


def test_any_three_of_five_give_the_same_keys(finished: Any, partials: list[PartialBatch]) -> None:
    keys = {
        tuple(revealed(release.combine(subset, finished.keys, INPUTS)))
        for size in (3, 4, 5)
        for subset in itertools.permutations(partials, size)
        if size == 3 or subset[0].seat == 5
    }
    assert len(keys) == 1
    first, second = keys.pop()
    assert first != second


def test_two_of_five_give_none(finished: Any, partials: list[PartialBatch]) -> None:
    for subset in itertools.combinations(partials, 2):
        with pytest.raises(BadShare, match="2 of 3"):
            release.combine(subset, finished.keys, INPUTS)


def test_a_seat_counts_once(finished: Any, partials: list[PartialBatch]) -> None:
    with pytest.raises(BadShare, match="2 of 3"):
        release.combine([partials[0], partials[1], partials[0]], finished.keys, INPUTS)


def other_point(batch: PartialBatch) -> PartialBatch:
    moved = ristretto.add(ristretto.Point(batch.points[0]), ristretto.BASE)
    return replace(batch, points=(moved, *batch.points[1:]))


LIES = {
    "point": other_point,
    "swapped points": lambda b: replace(b, points=b.points[::-1]),
    "no point": lambda b: replace(b, points=(b"\xff" * 32, b.points[1])),
    "identity": lambda b: replace(b, points=(bytes(32), b.points[1])),
    "proof": lambda b: replace(b, proof=bytes(64)),
    "mac": lambda b: replace(b, macs=(bytes(32), b.macs[1])),
    "fewer": lambda b: replace(b, points=b.points[:1], macs=b.macs[:1]),
    "epoch": lambda b: replace(b, sharing_epoch=b.sharing_epoch + 1),
}


@pytest.mark.parametrize("lie", LIES.values(), ids=list(LIES))
def test_a_lie_is_named_and_routed_around(finished: Any, partials: list[PartialBatch], lie: Any) -> None:
    right = revealed(release.combine(partials, finished.keys, INPUTS))
    false = [lie(partials[0]), *partials[1:]]
    assert revealed(release.combine(false, finished.keys, INPUTS)) == right
    assert release.examine(false, finished.keys, INPUTS).lying == (1,)
    both = [lie(partials[0]), lie(partials[1]), *partials[2:]]
    assert revealed(release.combine(both, finished.keys, INPUTS)) == right
    with pytest.raises(BadShare):
        release.combine(both[:4], finished.keys, INPUTS)


def test_a_wrong_third_partial_is_named_when_only_three_answered(finished: Any, partials: list[PartialBatch]) -> None:
    with pytest.raises(BadShare, match="seats that lie: 3"):
        release.combine([*partials[:2], other_point(partials[2])], finished.keys, INPUTS)


def test_nobody_crowds_a_seat_out_by_speaking_first(finished: Any, partials: list[PartialBatch]) -> None:
    forged = replace(partials[1], seat=1)
    examined = release.examine([forged, *partials[:3]], finished.keys, INPUTS)
    assert [batch.seat for batch in examined.agreeing] == [1, 2, 3]
    assert examined.lying == ()


def test_the_first_proven_answer_of_a_seat_counts(finished: Any, partials: list[PartialBatch]) -> None:
    later = replace(partials[0], macs=(bytes(32), bytes(32)))
    examined = release.examine([partials[0], later, *partials[1:3]], finished.keys, INPUTS)
    assert [batch.seat for batch in examined.agreeing] == [1, 2, 3]


def test_answers_of_the_wrong_length_are_refused_even_from_all(finished: Any, partials: list[PartialBatch]) -> None:
    for cut in ({"macs": ()}, {"points": ()}, {"points": (), "macs": ()}):
        with pytest.raises(BadShare, match="seats that lie: 1, 2, 3, 4, 5"):
            release.combine([replace(batch, **cut) for batch in partials], finished.keys, INPUTS)


def test_an_unknown_seat_is_no_gatekeeper(finished: Any, partials: list[PartialBatch]) -> None:
    assert release.examine([replace(partials[0], seat=9), *partials], finished.keys, INPUTS).lying == (9,)


def test_the_pepper_is_in_the_key(finished: Any, partials: list[PartialBatch]) -> None:
    """Three colluding seats would decide the macs: that is t, and no promise covers t."""
    false = [replace(batch, macs=(bytes(32), bytes(32))) for batch in partials[:3]]
    assert revealed(release.combine(false, finished.keys, INPUTS)) != revealed(
        release.combine(partials, finished.keys, INPUTS)
    )


def test_inputs_separate_networks_lines_contracts_and_epochs() -> None:
    one, other = b"c" * 32, b"d" * 32
    variants = [
        (NETWORK, ContractLine(one, 1)),
        (NetworkId(b"n" * 32), ContractLine(one, 1)),
        (NETWORK, ContractLine(other, 1)),
        (NETWORK, ContractLine(one, 2)),
        (NETWORK, SigningLine(one)),
        (NETWORK, SigningLine(other)),
        (NetworkId(b"n" * 32), SigningLine(one)),
        (NETWORK, ChannelLine(one, 1, other, 1)),
        (NETWORK, ChannelLine(other, 1, one, 1)),
        (NETWORK, ChannelLine(one, 2, other, 1)),
        (NETWORK, ChannelLine(one, 1, other, 2)),
        (NetworkId(b"n" * 32), ChannelLine(one, 1, other, 1)),
    ]
    assert len({release.prf_input(*variant) for variant in variants}) == len(variants)


def test_a_share_survives_the_sealed_disk(finished: Any, partials: list[PartialBatch]) -> None:
    for share, batch in zip(finished.made(), partials, strict=True):
        again = Share.from_sealed_bytes(share.to_sealed_bytes())
        assert release.partial(again, INPUTS, stuck) == batch


@given(flipped=st.integers(1, 255), data=st.data())
@settings(max_examples=4, deadline=None)
def test_an_altered_stored_share_is_refused_or_is_the_same_share(
    finished: Any, flipped: int, data: st.DataObject
) -> None:
    """Each byte in its turn: the scalar is 32 of many."""
    share = finished.made()[0]
    raw = share.to_sealed_bytes().reveal()
    altered = [raw[:at] + bytes([raw[at] ^ flipped]) + raw[at + 1 :] for at in range(len(raw))]
    for stored in (*altered, raw[: data.draw(st.integers(0, len(raw) - 1))]):
        try:
            again = Share.from_sealed_bytes(SecretBytes(stored))
        except KeepholdError:
            continue
        assert again.scalar() == share.scalar()
        assert again.pepper() == share.pepper()


def test_a_share_does_not_show_itself(finished: Any) -> None:
    share = finished.made()[0]
    assert repr(share) == "Share(opaque)"
    with pytest.raises(TypeError):
        copy.deepcopy(share)
    assert repr(finished.participants[finished.accepted[0][1]]) == "Participant(opaque)"


def test_partials_travel(partials: list[PartialBatch]) -> None:
    assert decode(encode(partials[0]), PartialBatch) == partials[0]
