from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from hypothesis import given
from hypothesis import strategies as st

from keephold.base.errors import BadKey, BadSignature
from keephold.crypto.ed25519 import ValidatorKey, check_public, verify
from keephold.crypto.secret import SecretBytes

KEY = ValidatorKey(SecretBytes(bytes(range(32))))
SIGNATURE = KEY.sign(b"vote")

P = 2**255 - 19
ORDER_8 = 0x05FC536D880238B13933C6D305ACDFD5F098EFF289F4C345B027B2C28F95E826
SIGN = 1 << 255
SMALL_ORDER = [y | sign for y in (1, P - 1, 0, ORDER_8, P - ORDER_8) for sign in (0, SIGN)]
NOT_CANONICAL = [y | sign for y in (P, P + 1, P + 3, 2**255 - 1) for sign in (0, SIGN)]


def test_the_first_case_of_rfc_8032() -> None:
    """RFC 8032, section 7.1, test 1."""
    seed = bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")
    key = ValidatorKey(SecretBytes(seed))
    assert key.public.hex() == "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"
    assert key.sign(b"").hex() == (
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595b"
        "be24655141438e7a100b"
    )


@given(st.binary(max_size=100))
def test_what_is_signed_verifies(message: bytes) -> None:
    key = ValidatorKey.generate()
    verify(key.public, key.sign(message), message)
    assert key.sign(message) == key.sign(message)


def test_every_altered_bit_is_noticed() -> None:
    for bit in range(8 * 64):
        altered = bytearray(SIGNATURE)
        altered[bit // 8] ^= 1 << bit % 8
        with pytest.raises(BadSignature):
            verify(KEY.public, bytes(altered), b"vote")


@pytest.mark.parametrize("signature", [b"", SIGNATURE[:-1], SIGNATURE + b"\0"])
def test_a_signature_has_64_bytes(signature: bytes) -> None:
    with pytest.raises(BadSignature):
        verify(KEY.public, signature, b"vote")


def test_key_and_message_are_bound() -> None:
    with pytest.raises(BadSignature):
        verify(KEY.public, SIGNATURE, b"veto")
    with pytest.raises(BadSignature):
        verify(ValidatorKey.generate().public, SIGNATURE, b"vote")


def test_the_library_takes_a_key_of_small_order() -> None:
    identity = (1).to_bytes(32, "little")
    Ed25519PublicKey.from_public_bytes(identity).verify(identity + bytes(32), b"anything at all")


@pytest.mark.parametrize("point", SMALL_ORDER + NOT_CANONICAL, ids=hex)
def test_small_order_and_second_spellings_are_no_keys(point: int) -> None:
    with pytest.raises(BadKey):
        check_public(point.to_bytes(32, "little"))


@given(st.binary(max_size=40) | st.binary(min_size=32, max_size=32))
def test_any_key_bytes_raise_a_declared_error(public: bytes) -> None:
    with pytest.raises((BadKey, BadSignature)):
        verify(public, SIGNATURE, b"vote")


def test_about_half_of_all_bytes_are_no_point() -> None:
    """y = 2 is not on the curve, y = 3 is: the square root decides."""
    with pytest.raises(BadKey):
        check_public((2).to_bytes(32, "little"))
    check_public((3).to_bytes(32, "little"))


@pytest.mark.parametrize("size", [0, 31, 33, 64])
def test_a_seed_has_32_bytes(size: int) -> None:
    with pytest.raises(BadKey):
        ValidatorKey(SecretBytes(bytes(size)))
