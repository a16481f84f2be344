"""The keys that a contract owns: what they are, for whom, and that names never meet."""

from __future__ import annotations

import copy
import json
import pickle  # noqa: TID251 - to show that it refuses
from pathlib import Path
from typing import Any

import pytest

from keephold.base.errors import BadKey, BadSignature
from keephold.crypto.secret import SecretBytes
from keephold.protocol.messages import KeyName
from keephold.sealing import owned_keys
from keephold.sealing.owned_keys import OwnedKeys, verify_owned

NETWORK, CONTRACT = b"n" * 32, b"c" * 32
CASES = json.loads(Path(__file__).with_name("owned_public.json").read_text())
SCHEMES = ("secp256k1", "bip340", "ed25519")
DIGEST = bytes(range(32))


def owned(seed: bytes = b"s" * 32, network: bytes = NETWORK, contract: bytes = CONTRACT) -> OwnedKeys:
    return OwnedKeys(SecretBytes(seed), network, contract)


@pytest.mark.parametrize("case", CASES, ids=[case["name"] for case in CASES])
def test_recorded_public_keys(case: dict[str, Any]) -> None:
    keys = owned(*(bytes.fromhex(case[name]) for name in ("seed", "network", "contract")))
    name = KeyName(case["scheme"], case["label"], tuple(case["path"]))
    assert keys.public(name).hex() == case["output"]


@pytest.mark.parametrize("scheme", SCHEMES)
def test_what_a_key_signs_its_public_half_verifies(scheme: Any) -> None:
    name = KeyName(scheme, "treasury", ("a",))
    signature = owned().sign(name, DIGEST)
    assert signature == owned().sign(name, DIGEST)
    verify_owned(name, owned().public(name), signature, DIGEST)
    for other in (KeyName(scheme, "treasury"), KeyName(scheme, "treasury", ("b",))):
        with pytest.raises(BadSignature):
            verify_owned(other, owned().public(other), signature, DIGEST)


def test_seeds_networks_contracts_schemes_and_names_give_other_keys() -> None:
    base = KeyName("secp256k1", "a")
    publics = [
        owned().public(base),
        owned(seed=b"t" * 32).public(base),
        owned(network=b"m" * 32).public(base),
        owned(contract=b"d" * 32).public(base),
        owned().public(KeyName("secp256k1", "b")),
    ]
    assert len(set(publics)) == len(publics)
    # The same scalar under two schemes would let a signature of one help to forge one of the other.
    assert owned().public(KeyName("bip340", "a")) != owned().public(base)[1:33]


def cuts(text: str) -> list[tuple[str, ...]]:
    """Return every way to cut a text into parts."""
    if not text:
        return [()]
    return [(text[:at], *rest) for at in range(1, len(text) + 1) for rest in cuts(text[at:])]


def test_no_two_names_meet() -> None:
    """Names whose parts, put together, are the same."""
    keys = owned()
    names = [KeyName("ed25519", label, tuple(path)) for label, *path in cuts("aaaaa") + cuts("ab/ab")]
    assert len(names) == 32
    assert len({keys.public(name) for name in names}) == len(names)


def test_a_candidate_that_is_no_scalar_is_passed_over_by_everybody(monkeypatch: pytest.MonkeyPatch) -> None:
    derive, name = owned_keys.derive, KeyName("secp256k1", "a")

    def first_is_out_of_range(secret: SecretBytes, label: Any, *context: bytes) -> SecretBytes:
        if label is owned_keys.labels.OWNED_KEY and context[-1] == bytes(8):
            return SecretBytes(b"\xff" * 32)
        return derive(secret, label, *context)

    usual = owned().public(name)
    monkeypatch.setattr(owned_keys, "derive", first_is_out_of_range)
    assert owned().public(name) == owned().public(name) != usual
    zero = SecretBytes(bytes(32))
    monkeypatch.setattr(owned_keys, "derive", lambda *given: zero)
    with pytest.raises(BadKey):
        owned().public(name)


@pytest.mark.parametrize("scheme", ["secp256k1", "bip340"])
def test_curve_keys_sign_digests_only(scheme: Any) -> None:
    with pytest.raises(BadKey):
        owned().sign(KeyName(scheme, "a"), b"a whole message")


def test_the_holder_shows_nothing() -> None:
    keys = owned()
    assert repr(keys) == "OwnedKeys(opaque)"
    for leak in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError):
            leak(keys)
