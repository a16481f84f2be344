"""Every recorded case gives its recorded outcome. The data is described in vectors/README.md."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from keephold.base.errors import KeepholdError
from keephold.crypto import ed25519, labels, signing
from keephold.crypto.aead import ContextSealer
from keephold.crypto.entity import EntityKeys
from keephold.crypto.hashing import tagged_hash, tagged_hash_512
from keephold.crypto.hpke import EncryptionKey
from keephold.crypto.kdf import derive, mac
from keephold.crypto.labels import Label
from keephold.crypto.padding import pad, unpad
from keephold.crypto.password import stretch
from keephold.crypto.secp256k1 import CurveKey, verify_schnorr
from keephold.crypto.secret import SecretBytes

Case = dict[str, Any]

VECTORS = Path(__file__).parent / "vectors"
LABELS = {label.name: label for label in vars(labels).values() if isinstance(label, Label)}


def octets(case: Case, field: str) -> bytes:
    return bytes.fromhex(case[field])


def secret(case: Case, field: str) -> SecretBytes:
    return SecretBytes(octets(case, field))


def bound(case: Case) -> tuple[Any, ...]:
    return (LABELS[case["label"]], *(bytes.fromhex(part) for part in case["parts"]))


def entity(case: Case) -> bytes:
    keys = EntityKeys(secret(case, "seed"))
    return keys.signing.public + keys.encryption.public


FUNCTIONS: dict[str, Callable[[Case], bytes | None]] = {
    "tagged_hash": lambda c: tagged_hash(*bound(c)),
    "tagged_hash_512": lambda c: tagged_hash_512(*bound(c)),
    "derive": lambda c: derive(secret(c, "secret"), *bound(c), size=c["size"]).reveal(),
    "mac": lambda c: mac(secret(c, "secret"), *bound(c)),
    "context_seal": lambda c: ContextSealer(secret(c, "key"), bound(c)[0]).seal(octets(c, "plaintext"), *bound(c)[1:]),
    "context_open": lambda c: ContextSealer(secret(c, "key"), bound(c)[0]).open(octets(c, "ciphertext"), *bound(c)[1:]),
    "pad": lambda c: pad(octets(c, "plaintext"), c["buckets"]),
    "unpad": lambda c: unpad(octets(c, "padded")),
    "entity": entity,
    "hpke_open": lambda c: EncryptionKey(secret(c, "seed")).open(octets(c, "ciphertext"), *bound(c)),
    "sr25519_verify": lambda c: signing.verify(octets(c, "public"), octets(c, "signature"), *bound(c)),
    "ed25519_verify": lambda c: ed25519.verify(octets(c, "public"), octets(c, "signature"), octets(c, "message")),
    "bip340_sign": lambda c: CurveKey(secret(c, "secret")).sign_schnorr(octets(c, "message")),
    "bip340_verify": lambda c: verify_schnorr(octets(c, "public"), octets(c, "signature"), octets(c, "message")),
    "rfc6979_sign": lambda c: CurveKey(secret(c, "secret")).sign_ecdsa(octets(c, "message"))[:64],
    "stretch": lambda c: stretch(
        secret(c, "password"),
        octets(c, "salt"),
        memory_kib=c["memory_kib"],
        iterations=c["iterations"],
        lanes=c["lanes"],
    ).reveal(),
}

CASES = [
    pytest.param(name, case, id=f"{name}: {case['name']}")
    for name in FUNCTIONS
    for case in json.loads((VECTORS / f"{name}.json").read_text())
]


def outcome(function: str, case: Case) -> tuple[str, str | None]:
    try:
        output = FUNCTIONS[function](case)
    except KeepholdError as refusal:
        return refusal.code, None
    return "ok", None if output is None else output.hex()


@pytest.mark.parametrize(("function", "case"), CASES)
def test_the_recorded_outcome_is_the_outcome(function: str, case: Case) -> None:
    assert outcome(function, case) == (case["outcome"], case.get("output"))


def test_every_vector_file_has_a_function() -> None:
    assert {path.stem for path in VECTORS.glob("*.json")} == set(FUNCTIONS)
