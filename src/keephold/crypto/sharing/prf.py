"""The threshold PRF: `Z = k * H2G(x)` computed from shares of k, never from k. RFC 9497 without the blinding.

Blinding would hide the input from who evaluates; our inputs are public (they name a contract and an epoch).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from keephold.base.errors import BadShare
from keephold.crypto import ristretto
from keephold.crypto.ristretto import Point
from keephold.crypto.secret import SecretBytes
from keephold.crypto.sharing import dleq
from keephold.crypto.sharing.hash_to_group import hash_to_group
from keephold.crypto.sharing.polynomial import lagrange, weighted_sum


class Evaluation(NamedTuple):
    """One share's answer to a list of inputs, with one proof for all."""

    points: tuple[Point, ...]
    proof: bytes


def evaluate(share: SecretBytes, inputs: Sequence[bytes], entropy: SecretBytes) -> Evaluation:
    """Return `share * H2G(x)` for each input, proven. `entropy`: 64 bytes."""
    elements = [hash_to_group(x) for x in inputs]
    points = tuple(ristretto.multiply(element, share) for element in elements)
    nonce = dleq.nonce(share, entropy, *elements)
    return Evaluation(points, dleq.prove(share, elements, points, nonce))


def verify(public_share: Point, inputs: Sequence[bytes], evaluation: Evaluation) -> None:
    """Raise BadShare unless the evaluation was made with the share behind `public_share`, for these inputs."""
    dleq.verify(public_share, [hash_to_group(x) for x in inputs], evaluation.points, evaluation.proof)


def combine(points: Mapping[int, Point]) -> SecretBytes:
    """Return `k * H2G(x)` from t *verified* points by seat; it is the secret from which a key is derived.

    Raises:
        BadShare: the result is the identity, which no honest committee produces.
    """
    seats = sorted(points)
    result = weighted_sum((points[seat] for seat in seats), lagrange(seats))
    if result == ristretto.IDENTITY:
        raise BadShare("the identity is no key")
    return SecretBytes(result)
