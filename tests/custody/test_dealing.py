"""The dealing envelope: it opens in one place only, and what it holds is checked."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from keephold.base.errors import BadShare
from keephold.crypto import ristretto
from keephold.crypto.hpke import EncryptionKey
from keephold.crypto.secret import SecretBytes
from keephold.crypto.sharing import polynomial
from keephold.custody.public import dealing
from keephold.protocol.custody import Dealer, RoundState

KEY = EncryptionKey(SecretBytes(b"k" * 32))
PEPPER = SecretBytes(b"p" * 32)
COEFFICIENTS = [SecretBytes(ristretto.scalar(value)) for value in (3, 5, 7)]
BLINDS = [SecretBytes(ristretto.scalar(value)) for value in (11, 13, 17)]


def dealt(state: RoundState) -> tuple[Dealer, bytes]:
    """A good dealer of the polynomials above, and its envelope to seat 2."""
    receiver = state.receivers[1]
    share = polynomial.evaluate(COEFFICIENTS, receiver.seat)
    if state.purpose == "resharing":
        dealer = replace(state.dealers[0], commitments=polynomial.feldman(COEFFICIENTS))
        return dealer, dealing.seal_dealing(state, dealer, receiver, KEY.public, share)
    commitment = dealing.pepper_commitment(state.network, PEPPER)
    dealer = replace(state.dealers[0], commitments=polynomial.pedersen(COEFFICIENTS, BLINDS), pepper=commitment)
    blind = polynomial.evaluate(BLINDS, receiver.seat)
    return dealer, dealing.seal_dealing(state, dealer, receiver, KEY.public, share, blind, PEPPER)


def test_a_good_envelope_opens(finished: Any) -> None:
    state = finished.opened
    dealer, envelope = dealt(state)
    opened = dealing.open_dealing(state, dealer, state.receivers[1], KEY, envelope)
    assert opened == (polynomial.evaluate(COEFFICIENTS, 2), PEPPER)
    assert len(envelope) == dealing.envelope_size(state)


@pytest.mark.parametrize(
    "change",
    [
        {"network": bytes(32)},
        {"round": 8},
        {"sharing_epoch": 2},
        {"threshold": 2},
        {"purpose": "resharing"},
        {"receivers": ()},
        {"dealers": ()},
    ],
)
def test_an_envelope_is_bound_to_its_round(finished: Any, change: dict[str, Any]) -> None:
    state = finished.opened
    dealer, envelope = dealt(state)
    with pytest.raises(BadShare, match="does not open"):
        dealing.open_dealing(replace(state, **change), dealer, state.receivers[1], KEY, envelope)


@pytest.mark.parametrize(
    ("dealer_change", "receiver_change"),
    [({"seat": 3}, {}), ({"member": bytes(32)}, {}), ({}, {"seat": 3}), ({}, {"member": bytes(32)})],
)
def test_an_envelope_is_bound_to_its_dealer_and_receiver(
    finished: Any, dealer_change: dict[str, Any], receiver_change: dict[str, Any]
) -> None:
    state = finished.opened
    dealer, envelope = dealt(state)
    receiver = replace(state.receivers[1], **receiver_change)
    with pytest.raises(BadShare, match="does not open"):
        dealing.open_dealing(state, replace(dealer, **dealer_change), receiver, KEY, envelope)


def test_a_share_is_no_pepper_and_a_pepper_no_share(finished: Any, reshare: Any) -> None:
    state = reshare(finished.keys, finished.made(), "fgh", 2).opened
    dealer, receiver = state.dealers[0], state.receivers[0]
    share = dealing.seal_dealing(state, dealer, receiver, KEY.public, PEPPER)
    pepper = dealing.seal_pepper(state, dealer, receiver, KEY.public, finished.made()[0].pepper())
    assert dealing.open_pepper(state, dealer, receiver, KEY, pepper) == finished.made()[0].pepper()
    with pytest.raises(BadShare, match="does not open"):
        dealing.open_pepper(state, dealer, receiver, KEY, share)
    with pytest.raises(BadShare, match="does not open"):
        dealing.open_dealing(state, dealer, receiver, KEY, pepper)
    assert len(pepper) == dealing.pepper_envelope_size(state)


def test_a_pepper_that_is_not_on_record_is_refused(finished: Any, reshare: Any) -> None:
    state = reshare(finished.keys, finished.made(), "fgh", 2).opened
    dealer, receiver = state.dealers[0], state.receivers[0]
    right = finished.made()[0].pepper().reveal()
    for wrong in (right[:-32], right + bytes(32), right[32:] + right[:32], right[:-1] + b"\x00", b""):
        sealed = dealing.seal_pepper(state, dealer, receiver, KEY.public, SecretBytes(wrong))
        with pytest.raises(BadShare, match="not the pepper"):
            dealing.open_pepper(state, dealer, receiver, KEY, sealed)


def test_a_share_of_a_resharing_lies_on_the_committed_polynomial(finished: Any, reshare: Any) -> None:
    state = replace(reshare(finished.keys, finished.made(), "fgh", 2).opened, threshold=3)
    dealer, envelope = dealt(state)
    receiver = state.receivers[1]
    assert dealing.open_dealing(state, dealer, receiver, KEY, envelope).share == polynomial.evaluate(COEFFICIENTS, 2)
    for wrong in (ristretto.scalar(0), b"\xff" * 32, polynomial.evaluate(COEFFICIENTS, 3).reveal(), bytes(31)):
        sealed = dealing.seal_dealing(state, dealer, receiver, KEY.public, SecretBytes(wrong))
        with pytest.raises(BadShare):
            dealing.open_dealing(state, dealer, receiver, KEY, sealed)
