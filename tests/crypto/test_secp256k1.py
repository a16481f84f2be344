from __future__ import annotations

import copy
import pickle  # noqa: TID251 - to show that it refuses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keephold.base.errors import BadKey, BadSignature
from keephold.crypto.secp256k1 import CurveKey, verify_ecdsa, verify_schnorr
from keephold.crypto.secret import SecretBytes

N = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
DIGESTS = st.binary(min_size=32, max_size=32)


def key(scalar: int) -> CurveKey:
    return CurveKey(SecretBytes(scalar.to_bytes(32, "big")))


@given(scalar=st.integers(1, N - 1), digest=DIGESTS)
def test_ecdsa_signs_always_the_same_with_a_low_s_and_the_right_recovery_id(scalar: int, digest: bytes) -> None:
    mine = key(scalar)
    signature = mine.sign_ecdsa(digest)
    assert signature == key(scalar).sign_ecdsa(digest)
    assert 0 < int.from_bytes(signature[32:64], "big") <= N // 2
    verify_ecdsa(mine.public, signature, digest)
    with pytest.raises(BadSignature):
        verify_ecdsa(mine.public, signature[:64] + bytes([signature[64] ^ 1]), digest)


@given(scalar=st.integers(1, N - 1), digest=DIGESTS)
def test_schnorr_signs_always_the_same(scalar: int, digest: bytes) -> None:
    mine = key(scalar)
    signature = mine.sign_schnorr(digest)
    assert signature == key(scalar).sign_schnorr(digest)
    verify_schnorr(mine.x_only, signature, digest)
    assert mine.public[:33] == b"\x04" + mine.x_only


def test_a_signature_with_a_high_s_is_no_second_spelling() -> None:
    mine, digest = key(7), bytes(31) + b"d"
    signature = mine.sign_ecdsa(digest)
    high = (N - int.from_bytes(signature[32:64], "big")).to_bytes(32, "big")
    with pytest.raises(BadSignature):
        verify_ecdsa(mine.public, signature[:32] + high + bytes([signature[64] ^ 1]), digest)


@pytest.mark.parametrize("altered", ["public", "signature", "digest"])
def test_nothing_else_verifies(altered: str) -> None:
    digest = bytes(31) + b"d"
    mine = key(7)
    for verify, public, signature in (
        (verify_ecdsa, mine.public, mine.sign_ecdsa(digest)),
        (verify_schnorr, mine.x_only, mine.sign_schnorr(digest)),
    ):
        given_ = {"public": public, "signature": signature, "digest": digest}
        verify(**given_)
        for value in (bytes([given_[altered][0] ^ 1]) + given_[altered][1:], b"", given_[altered] + b"x"):
            with pytest.raises(BadSignature):
                verify(**given_ | {altered: value})
    with pytest.raises(BadSignature):
        verify_ecdsa(key(8).public, mine.sign_ecdsa(digest), digest)


@pytest.mark.parametrize("scalar", [bytes(32), N.to_bytes(32, "big"), b"\xff" * 32, b"\x01" * 31, b"\x01" * 33, b""])
def test_no_scalar_of_the_group_is_no_key(scalar: bytes) -> None:
    with pytest.raises(BadKey):
        CurveKey(SecretBytes(scalar))


@pytest.mark.parametrize("digest", [b"", bytes(31), bytes(33)])
def test_only_digests_are_signed(digest: bytes) -> None:
    for sign in (key(1).sign_ecdsa, key(1).sign_schnorr):
        with pytest.raises(BadKey):
            sign(digest)


def test_a_key_shows_nothing() -> None:
    mine = key(0x0BADC0DE)
    assert "badc0de" not in repr(mine).lower()
    for leak in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError):
            leak(mine)
    assert not hasattr(mine, "__dict__")
