"""The second implementation, its group: proofs and sums of ristretto255 that keys.md and ceremony.md describe.

Points are added and multiplied by libsodium, scalars are Python integers: all of this is public.
"""

from __future__ import annotations

import hashlib

import rbcl

ORDER = 2**252 + 27742317777372353535851937790883648493
SUITE = b"OPRFV1-\x01-ristretto255-SHA512"
ZERO = bytes(32)
G = rbcl.crypto_scalarmult_ristretto255_base((1).to_bytes(32, "little"))


def expand_message(message: bytes, tag: bytes) -> bytes:
    """RFC 9380, section 5.3.1, SHA-512, 64 bytes."""
    suffix = tag + bytes((len(tag),))
    first = hashlib.sha512(bytes(128) + message + b"\x00\x40\x00" + suffix).digest()
    return hashlib.sha512(first + b"\x01" + suffix).digest()


def to_point(message: bytes) -> bytes:
    return bytes(rbcl.crypto_core_ristretto255_from_hash(expand_message(message, b"HashToGroup-" + SUITE)))


def to_scalar(message: bytes) -> int:
    return int.from_bytes(expand_message(message, b"HashToScalar-" + SUITE), "little") % ORDER


def times(scalar: int, point: bytes) -> bytes:
    if scalar % ORDER == 0 or point == ZERO:
        return ZERO
    return bytes(rbcl.crypto_scalarmult_ristretto255((scalar % ORDER).to_bytes(32, "little"), point))


def plus(*points: bytes) -> bytes:
    total = ZERO
    for point in points:
        total = bytes(rbcl.crypto_core_ristretto255_add(total, point))
    return total


def value_at(commitments: list[bytes], seat: int) -> bytes:
    """The commitment to the polynomial's value at a seat."""
    return plus(*(times(pow(seat, power, ORDER), point) for power, point in enumerate(commitments)))


def weights(seats: list[int]) -> list[int]:
    """Lagrange at 0."""
    found = []
    for seat in seats:
        weight = 1
        for other in seats:
            if other != seat:
                weight = weight * other * pow(other - seat, -1, ORDER) % ORDER
        found.append(weight)
    return found


def halves(proof: bytes) -> tuple[int, int]:
    return int.from_bytes(proof[:32], "little"), int.from_bytes(proof[32:], "little")


def schnorr_holds(framed, label: str, base: bytes, public: bytes, proof: bytes, *context: bytes) -> bool:
    """ceremony.md: a proof of knowledge of a logarithm."""
    challenge, response = halves(proof)
    commitment = plus(times(response, base), times(challenge, public))
    return to_scalar(framed(label, b"challenge", base, public, commitment, *context)) == challenge


def extraction_holds(framed, committed: list[bytes], extracted: list[bytes], message: dict, *context: bytes) -> bool:
    """ceremony.md: possession of the constant term, and that the extraction is what was committed to."""
    label = "dkg-consistency/1"
    second = to_point(b"keephold/dkg-generator/1")
    bound = (*committed, *extracted, *context)
    factors = [to_scalar(framed(label, b"weight", bytes((at,)), *bound)) for at in range(len(committed))]
    parts = [
        times(factor, plus(left, times(-1, right)))
        for factor, left, right in zip(factors, committed, extracted, strict=True)
    ]
    return schnorr_holds(
        framed, "dkg-possession/1", G, extracted[0], message["possession"], *context
    ) and schnorr_holds(framed, label, second, plus(*parts), message["consistency"], *bound)


def dleq_holds(public: bytes, inputs: list[bytes], outputs: list[bytes], proof: bytes) -> bool:
    """RFC 9497, section 2.2.2, with A = G and B = `public`."""

    def joined(*parts: bytes) -> bytes:
        return b"".join(len(part).to_bytes(2, "big") + part for part in parts)

    elements = [to_point(x) for x in inputs]
    seed = hashlib.sha512(joined(public, b"Seed-" + SUITE)).digest()
    factors = [
        to_scalar(joined(seed) + at.to_bytes(2, "big") + joined(element, output) + b"Composite")
        for at, (element, output) in enumerate(zip(elements, outputs, strict=True))
    ]
    folded_in = plus(*(times(factor, element) for factor, element in zip(factors, elements, strict=True)))
    folded_out = plus(*(times(factor, output) for factor, output in zip(factors, outputs, strict=True)))
    challenge, response = halves(proof)
    first = plus(times(response, G), times(challenge, public))
    second = plus(times(response, folded_in), times(challenge, folded_out))
    return to_scalar(joined(public, folded_in, folded_out, first, second) + b"Challenge") == challenge
