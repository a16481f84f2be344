"""The VOPRF against the vectors of RFC 9497, and the threshold PRF against the VOPRF."""

from __future__ import annotations

import hashlib
import itertools
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keephold.base.errors import BadShare
from keephold.crypto import ristretto
from keephold.crypto.ristretto import Point, Scalar
from keephold.crypto.secret import SecretBytes
from keephold.crypto.sharing import dleq, polynomial, prf
from keephold.crypto.sharing.hash_to_group import expand_message_xmd, hash_to_group

VECTORS = Path("../shared/fixtures/voprf/rfc9497_ristretto255_sha512.json")


def suite() -> dict[str, Any]:
    if not VECTORS.exists():
        pytest.skip("the recorded vectors of RFC 9497 are not on this machine")
    found = [
        entry
        for entry in json.loads(VECTORS.read_text())
        if entry["identifier"] == "ristretto255-SHA512" and entry["mode"] == 1
    ]
    return found[0]


def split(field: str) -> list[bytes]:
    return [bytes.fromhex(part) for part in field.split(",")]


def entropy(number: int) -> SecretBytes:
    return SecretBytes(hashlib.sha512(number.to_bytes(8, "big")).digest())


def random_scalar(number: int) -> SecretBytes:
    return ristretto.secret_scalar(entropy(number))


def shared(secret: SecretBytes, threshold: int, seats: int) -> tuple[dict[int, SecretBytes], tuple[Point, ...]]:
    coefficients = [secret, *(random_scalar(1000 + k) for k in range(1, threshold))]
    return {i: polynomial.evaluate(coefficients, i) for i in range(1, seats + 1)}, polynomial.feldman(coefficients)


@pytest.mark.fixtures
@pytest.mark.parametrize("number", range(3))
def test_rfc_9497_vectors_proofs_and_batch_included(number: int) -> None:
    entry = suite()
    key = SecretBytes(bytes.fromhex(entry["skSm"]))
    public = ristretto.decode_point(bytes.fromhex(entry["pkSm"]))
    assert ristretto.multiply_base(key) == public
    vector = entry["vectors"][number]
    inputs, blinds = split(vector["Input"]), split(vector["Blind"])
    blinded = [ristretto.multiply(hash_to_group(x), Scalar(b)) for x, b in zip(inputs, blinds, strict=True)]
    assert blinded == split(vector["BlindedElement"])
    evaluated = [ristretto.multiply(element, key) for element in blinded]
    assert evaluated == split(vector["EvaluationElement"])
    proof = dleq.prove(key, blinded, evaluated, SecretBytes(bytes.fromhex(vector["Proof"]["r"])))
    assert proof.hex() == vector["Proof"]["proof"]
    dleq.verify(public, blinded, evaluated, proof)
    for x, blind, element, output in zip(inputs, blinds, evaluated, split(vector["Output"]), strict=True):
        inverse = pow(int.from_bytes(blind, "little"), -1, ristretto.ORDER)
        unblinded = ristretto.multiply(element, ristretto.scalar(inverse))
        transcript = len(x).to_bytes(2, "big") + x + len(unblinded).to_bytes(2, "big") + unblinded + b"Finalize"
        assert hashlib.sha512(transcript).digest() == output


@pytest.mark.fixtures
def test_the_key_of_the_rfc_shared_three_of_five_gives_the_same_elements_in_all_ten_subsets() -> None:
    entry = suite()
    key = SecretBytes(bytes.fromhex(entry["skSm"]))
    shares, commitments = shared(key, 3, 5)
    inputs = [bytes.fromhex("00"), bytes.fromhex("5a" * 17)]
    evaluations = {seat: prf.evaluate(share, inputs, entropy(seat)) for seat, share in shares.items()}
    for seat, evaluation in evaluations.items():
        prf.verify(polynomial.evaluate_commitments(commitments, seat), inputs, evaluation)
    for subset in itertools.combinations(shares, 3):
        for index, x in enumerate(inputs):
            combined = prf.combine({seat: evaluations[seat].points[index] for seat in subset})
            assert combined.reveal() == ristretto.multiply(hash_to_group(x), key)


# RFC 9380, appendix K.3: expand_message_xmd with SHA-512, 32 bytes.
@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (b"", "6b9a7312411d92f921c6f68ca0b6380730a1a4d982c507211a90964c394179ba"),
        (b"abc", "0da749f12fbe5483eb066a5f595055679b976e93abe9be6f0f6318bce7aca8dc"),
    ],
)
def test_rfc_9380_expansion(message: bytes, expected: str) -> None:
    assert expand_message_xmd(message, b"QUUX-V01-CS02-with-expander-SHA512-256", 32).hex() == expected


def test_expansion_has_bounds() -> None:
    for tag, size in ((b"", 0), (b"", 255 * 64 + 1), (bytes(256), 64)):
        with pytest.raises(ValueError, match="bounds"):
            expand_message_xmd(b"", tag, size)


def altered(proof: bytes, at: int) -> bytes:
    return proof[:at] + bytes([proof[at] ^ 1]) + proof[at + 1 :]


@given(st.integers(0, 63))
@settings(max_examples=32, deadline=None)
def test_an_altered_proof_is_refused(at: int) -> None:
    key, inputs = random_scalar(1), [b"a", b"b"]
    good = prf.evaluate(key, inputs, entropy(2))
    with pytest.raises(BadShare):
        prf.verify(ristretto.multiply_base(key), inputs, good._replace(proof=altered(good.proof, at)))


def test_everything_else_wrong_with_an_evaluation_is_refused() -> None:
    key, inputs = random_scalar(1), [b"a", b"b"]
    public = ristretto.multiply_base(key)
    good = prf.evaluate(key, inputs, entropy(2))
    prf.verify(public, inputs, good)
    other = prf.evaluate(random_scalar(9), inputs, entropy(2))
    response_plus_order = int.from_bytes(good.proof[32:], "little") + ristretto.ORDER
    refused = {
        "another key": (ristretto.multiply_base(random_scalar(9)), inputs, good),
        "other inputs": (public, [b"a", b"c"], good),
        "swapped": (public, inputs, good._replace(points=good.points[::-1])),
        "one false point": (public, inputs, good._replace(points=(good.points[0], other.points[1]))),
        "fewer points": (public, inputs, good._replace(points=good.points[:1])),
        "no points": (public, [], good._replace(points=())),
        "short proof": (public, inputs, good._replace(proof=good.proof[:-1])),
        "second spelling": (
            public,
            inputs,
            good._replace(proof=good.proof[:32] + response_plus_order.to_bytes(32, "little")),
        ),
        "identity point": (public, inputs, good._replace(points=(good.points[0], ristretto.IDENTITY))),
        "identity key": (ristretto.IDENTITY, inputs, good),
        "no point": (public, inputs, good._replace(points=(good.points[0], Point(b"\xff" * 32)))),
    }
    for key_used, asked, evaluation in refused.values():
        with pytest.raises(BadShare):
            prf.verify(key_used, asked, evaluation)


def test_a_nonce_differs_with_statement_secret_and_entropy_even_from_a_stuck_generator() -> None:
    stuck = entropy(0)
    nonces = {
        dleq.nonce(random_scalar(1), stuck, b"one").reveal(),
        dleq.nonce(random_scalar(1), stuck, b"two").reveal(),
        dleq.nonce(random_scalar(2), stuck, b"one").reveal(),
        dleq.nonce(random_scalar(1), entropy(1), b"one").reveal(),
        dleq.nonce(random_scalar(1), stuck, b"o", b"ne").reveal(),
    }
    assert len(nonces) == 5


def test_the_identity_is_no_key() -> None:
    with pytest.raises(BadShare):
        prf.combine({1: ristretto.IDENTITY})
