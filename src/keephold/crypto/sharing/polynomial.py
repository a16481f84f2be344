"""Secret polynomials over the scalars, and Feldman and Pedersen commitments to them.

Evaluation points are seat numbers from 1; the secret is the constant term. Coefficients and values are secrets and
stay inside libsodium; seat numbers and Lagrange coefficients are public, so Python integers may compute them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from keephold.crypto import ristretto
from keephold.crypto.labels import DKG_GENERATOR
from keephold.crypto.ristretto import ORDER, Point, Scalar
from keephold.crypto.secret import SecretBytes
from keephold.crypto.sharing.hash_to_group import hash_to_group

SECOND_GENERATOR: Final = hash_to_group(DKG_GENERATOR.encoded)
"""H, whose logarithm to the base G nobody knows: Pedersen commitments bind only because of that."""


def evaluate(coefficients: Sequence[SecretBytes], seat: int) -> SecretBytes:
    """Return the polynomial's value at `seat` (Horner)."""
    at = _point_of(seat)
    value = coefficients[-1]
    for coefficient in reversed(coefficients[:-1]):
        value = ristretto.secret_add(ristretto.secret_multiply(value, at), coefficient)
    return ristretto.secret_add(value, ristretto.scalar(0))


def feldman(coefficients: Sequence[SecretBytes]) -> tuple[Point, ...]:
    """Return `a_k * G` for each coefficient: binds unconditionally, hides as the discrete logarithm does."""
    return tuple(ristretto.multiply_base(coefficient) for coefficient in coefficients)


def pedersen(coefficients: Sequence[SecretBytes], blinds: Sequence[SecretBytes]) -> tuple[Point, ...]:
    """Return `a_k * G + b_k * H` for each coefficient: hides unconditionally, binds as the discrete logarithm does."""
    return tuple(pedersen_value(a, b) for a, b in zip(coefficients, blinds, strict=True))


def pedersen_value(value: SecretBytes, blind: SecretBytes) -> Point:
    """Return `value * G + blind * H`."""
    return ristretto.add(ristretto.multiply_base(value), ristretto.multiply(SECOND_GENERATOR, blind))


def evaluate_commitments(commitments: Sequence[Point], seat: int) -> Point:
    """Return the commitment to the value at `seat`, which a committed polynomial implies."""
    at = _point_of(seat)
    result = commitments[-1]
    for commitment in reversed(commitments[:-1]):
        result = ristretto.add(ristretto.multiply(result, at), commitment)
    return result


def lagrange(seats: Sequence[int], at: int = 0) -> tuple[Scalar, ...]:
    """Return the coefficients that interpolate the value at `at` from the values at `seats`.

    Raises:
        ValueError: a seat occurs twice, or is below 1.
    """
    if len(set(seats)) != len(seats) or any(seat < 1 for seat in seats):
        raise ValueError("seats are distinct and positive")
    coefficients = []
    for mine in seats:
        numerator = denominator = 1
        for other in seats:
            if other != mine:
                numerator = numerator * (at - other) % ORDER
                denominator = denominator * (mine - other) % ORDER
        coefficients.append(ristretto.scalar(numerator * pow(denominator, -1, ORDER)))
    return tuple(coefficients)


def weighted_sum(points: Iterable[Point], weights: Iterable[Scalar]) -> Point:
    """Return the sum of `weight * point`: interpolation in the exponent."""
    total = ristretto.IDENTITY
    for point, weight in zip(points, weights, strict=True):
        total = ristretto.add(total, ristretto.multiply(point, weight))
    return total


def secret_weighted_sum(values: Iterable[SecretBytes], weights: Iterable[Scalar]) -> SecretBytes:
    """Return the sum of `weight * value`, a secret."""
    total = SecretBytes(ristretto.scalar(0))
    for value, weight in zip(values, weights, strict=True):
        total = ristretto.secret_add(total, ristretto.secret_multiply(value, weight))
    return total


def _point_of(seat: int) -> Scalar:
    if seat < 1:
        raise ValueError("a seat is at least 1: the secret lies at 0")
    return ristretto.scalar(seat)
