"""Schnorr proofs of knowledge of a logarithm, to the base G or H, bound to a label and a statement.

`prove_consistency` is what lets a generation do without complaints about its last message. A dealer committed to its
polynomial with Pedersen commitments C_k = a_k G + b_k H and now publishes A_k = a_k G. If each A_k is right, every
C_k - A_k is a multiple of H that the dealer knows, and so is each weighted sum of them. If one is wrong, a sum with
weights drawn from a hash of everything keeps a multiple of G (but for a chance of 1/L), and who knew its logarithm to
the base H would know that of G. So one Schnorr proof to the base H for the whole polynomial convinces everybody, and
shows nothing else.
"""

from __future__ import annotations

from collections.abc import Sequence

from keephold.base.errors import BadKey, BadShare
from keephold.crypto import ristretto
from keephold.crypto.hashing import framed
from keephold.crypto.labels import DKG_CONSISTENCY, DKG_POSSESSION, Label
from keephold.crypto.ristretto import BASE, Point, Scalar
from keephold.crypto.secret import SecretBytes
from keephold.crypto.sharing import dleq
from keephold.crypto.sharing.hash_to_group import hash_to_scalar
from keephold.crypto.sharing.polynomial import SECOND_GENERATOR, secret_weighted_sum, weighted_sum


def prove_possession(secret: SecretBytes, entropy: SecretBytes, *context: bytes) -> bytes:
    """Return the 64-byte proof that its maker knows the logarithm of `secret * G`. `entropy`: 64 bytes."""
    return _prove(BASE, ristretto.multiply_base(secret), secret, entropy, DKG_POSSESSION, *context)


def verify_possession(public: Point, proof: bytes, *context: bytes) -> None:
    """Raise BadShare unless `proof` shows knowledge of the logarithm of `public`, for this context."""
    _verify(BASE, public, proof, DKG_POSSESSION, *context)


def prove_consistency(
    committed: Sequence[Point],
    extracted: Sequence[Point],
    blinds: Sequence[SecretBytes],
    entropy: SecretBytes,
    *context: bytes,
) -> bytes:
    """Return the 64-byte proof that `extracted` are the G-parts of the Pedersen commitments `committed`."""
    weights = _weights(committed, extracted, context)
    difference = _difference(committed, extracted, weights)
    blind = secret_weighted_sum(blinds, weights)
    return _prove(SECOND_GENERATOR, difference, blind, entropy, DKG_CONSISTENCY, *committed, *extracted, *context)


def verify_consistency(committed: Sequence[Point], extracted: Sequence[Point], proof: bytes, *context: bytes) -> None:
    """Raise BadShare unless `proof` shows `extracted` to be the G-parts of `committed`, for this context."""
    if len(committed) != len(extracted):
        raise BadShare("polynomials of two degrees")
    difference = _difference(committed, extracted, _weights(committed, extracted, context))
    _verify(SECOND_GENERATOR, difference, proof, DKG_CONSISTENCY, *committed, *extracted, *context)


def _weights(committed: Sequence[Point], extracted: Sequence[Point], context: Sequence[bytes]) -> list[Scalar]:
    return [
        hash_to_scalar(framed(DKG_CONSISTENCY, b"weight", bytes([index]), *committed, *extracted, *context))
        for index in range(len(committed))
    ]


def _difference(committed: Sequence[Point], extracted: Sequence[Point], weights: Sequence[Scalar]) -> Point:
    parts = [ristretto.subtract(left, right) for left, right in zip(committed, extracted, strict=True)]
    return weighted_sum(parts, weights)


def _prove(
    base: Point, public: Point, secret: SecretBytes, entropy: SecretBytes, label: Label, *context: bytes
) -> bytes:
    nonce = dleq.nonce(secret, entropy, public, *context, label=label)
    challenge = _challenge(base, public, ristretto.multiply(base, nonce), label, context)
    response = ristretto.secret_subtract(nonce, ristretto.secret_multiply(challenge, secret))
    return challenge + ristretto.disclose(response)


def _verify(base: Point, public: Point, proof: bytes, label: Label, *context: bytes) -> None:
    try:
        challenge, response = ristretto.decode_scalar(proof[:32]), ristretto.decode_scalar(proof[32:])
        commitment = ristretto.add(ristretto.multiply(base, response), ristretto.multiply(public, challenge))
    except BadKey as error:
        raise BadShare("a malformed proof") from error
    if _challenge(base, public, commitment, label, context) != challenge:
        raise BadShare("the proof does not hold")


def _challenge(base: Point, public: Point, commitment: Point, label: Label, context: Sequence[bytes]) -> Scalar:
    return hash_to_scalar(framed(label, b"challenge", base, public, commitment, *context))
