"""Commitments as they arrive: decoded once, then compared with dealt values and with each other."""

from __future__ import annotations

from collections.abc import Sequence

from keephold.base.errors import BadKey, BadShare
from keephold.crypto import ristretto
from keephold.crypto.hashing import equal
from keephold.crypto.ristretto import Point
from keephold.crypto.secret import SecretBytes
from keephold.crypto.sharing import polynomial


def decode(raw: Sequence[bytes]) -> tuple[Point, ...]:
    """Return the commitments as group elements. Raises BadShare for a bad encoding or the identity."""
    try:
        return tuple(ristretto.decode_point(item) for item in raw)
    except BadKey as error:
        raise BadShare("a commitment is no group element") from error


def check_feldman(on_record: Sequence[bytes], seat: int, share: SecretBytes) -> None:
    """Raise BadShare unless `share` is the value at `seat` of the polynomial behind Feldman commitments."""
    if not equal(polynomial.evaluate_commitments(decode(on_record), seat), ristretto.multiply_base(share)):
        raise BadShare("the share is not on the committed polynomial")


def check_pedersen(on_record: Sequence[bytes], seat: int, share: SecretBytes, blind: SecretBytes) -> None:
    """Raise BadShare unless `share` and `blind` are the values at `seat` behind Pedersen commitments."""
    if not equal(polynomial.evaluate_commitments(decode(on_record), seat), polynomial.pedersen_value(share, blind)):
        raise BadShare("the share is not on the committed polynomial")


def total(polynomials: Sequence[Sequence[bytes]], weights: Sequence[ristretto.Scalar]) -> tuple[Point, ...]:
    """Return the weighted sum of committed polynomials, coefficient by coefficient. Raises BadShare as `decode`."""
    decoded = [decode(commitments) for commitments in polynomials]
    return tuple(polynomial.weighted_sum(coefficients, weights) for coefficients in zip(*decoded, strict=True))
