"""Proof that a batch of elements was multiplied by the secret behind a public key (RFC 9497, section 2.2).

`prove` and `verify` follow GenerateProof and VerifyProof with A = G, byte for byte. The whole batch is folded into one
composite with coefficients drawn from a hash of everything, so one false element spoils the proof.

A nonce used for two different challenges gives the secret away. It is therefore never taken from a random generator
alone: see `nonce`, which mixes the secret and the statement into it, so that a cloned or rolled-back machine with a
repeating generator still draws a fresh nonce for each new statement.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Final

from keephold.base.errors import BadKey, BadShare
from keephold.crypto import ristretto
from keephold.crypto.labels import DLEQ, Label
from keephold.crypto.ristretto import Point, Scalar
from keephold.crypto.secret import SecretBytes
from keephold.crypto.sharing.hash_to_group import CONTEXT, hash_to_scalar

PROOF_SIZE: Final = 64
MAX_BATCH: Final = 1 << 16
"""RFC 9497 numbers the elements of a batch with two bytes."""


def prove(secret: SecretBytes, inputs: Sequence[Point], outputs: Sequence[Point], nonce: SecretBytes) -> bytes:
    """Return the 64-byte proof that `outputs[i] == secret * inputs[i]` under the public key `secret * G`.

    `nonce` is a secret scalar used for this statement only.
    """
    public = ristretto.multiply_base(secret)
    folded = ristretto.IDENTITY
    for element, weight in zip(inputs, _weights(public, inputs, outputs), strict=True):
        folded = ristretto.add(folded, ristretto.multiply(element, weight))
    challenge = _challenge(
        public,
        folded,
        ristretto.multiply(folded, secret),
        ristretto.multiply_base(nonce),
        ristretto.multiply(folded, nonce),
    )
    response = ristretto.secret_subtract(nonce, ristretto.secret_multiply(challenge, secret))
    return challenge + ristretto.disclose(response)


def verify(public: Point, inputs: Sequence[Point], outputs: Sequence[Point], proof: bytes) -> None:
    """Raise BadShare unless `proof` shows each output to be its input times the secret behind `public`."""
    if not 0 < len(inputs) == len(outputs) < MAX_BATCH or len(proof) != PROOF_SIZE:
        raise BadShare("a proof of the wrong shape")
    try:
        ristretto.decode_point(public)
        for element in (*inputs, *outputs):
            ristretto.decode_point(element)
        challenge = ristretto.decode_scalar(proof[:32])
        response = ristretto.decode_scalar(proof[32:])
    except BadKey as error:
        raise BadShare("a proof over malformed elements") from error
    folded_in = folded_out = ristretto.IDENTITY
    for element, output, weight in zip(inputs, outputs, _weights(public, inputs, outputs), strict=True):
        folded_in = ristretto.add(folded_in, ristretto.multiply(element, weight))
        folded_out = ristretto.add(folded_out, ristretto.multiply(output, weight))
    commitment = ristretto.add(ristretto.multiply_base(response), ristretto.multiply(public, challenge))
    image = ristretto.add(ristretto.multiply(folded_in, response), ristretto.multiply(folded_out, challenge))
    if _challenge(public, folded_in, folded_out, commitment, image) != challenge:
        raise BadShare("the proof does not hold")


def nonce(secret: SecretBytes, entropy: SecretBytes, *statement: bytes, label: Label = DLEQ) -> SecretBytes:
    """Return a secret scalar that depends on the secret, on fresh entropy (64 bytes) and on the whole statement."""
    digest = hashlib.sha512()
    for part in (label.encoded, secret.reveal(), entropy.reveal(), *statement):
        digest.update(len(part).to_bytes(8, "big") + part)
    return ristretto.secret_scalar(SecretBytes(digest.digest()))


def _framed(*parts: bytes) -> bytes:
    return b"".join(len(part).to_bytes(2, "big") + part for part in parts)


def _weights(public: Point, inputs: Sequence[Point], outputs: Sequence[Point]) -> list[Scalar]:
    seed = hashlib.sha512(_framed(public, b"Seed-" + CONTEXT)).digest()
    return [
        hash_to_scalar(_framed(seed) + index.to_bytes(2, "big") + _framed(element, output) + b"Composite")
        for index, (element, output) in enumerate(zip(inputs, outputs, strict=True))
    ]


def _challenge(public: Point, folded_in: Point, folded_out: Point, commitment: Point, image: Point) -> Scalar:
    return hash_to_scalar(_framed(public, folded_in, folded_out, commitment, image) + b"Challenge")
