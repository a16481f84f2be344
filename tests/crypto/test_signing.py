from __future__ import annotations

import pytest
import sr25519
from hypothesis import given
from hypothesis import strategies as st

from keephold.base.errors import BadKey, BadSignature
from keephold.crypto import labels
from keephold.crypto.hashing import tagged_hash
from keephold.crypto.secret import SecretBytes
from keephold.crypto.signing import PUBLIC_SIZE, SIGNATURE_SIZE, SigningKey, check_public, verify

KEY = SigningKey(SecretBytes(bytes(range(32))))
SIGNATURE = KEY.sign(labels.SIGN_GOVERNANCE, b"ab", b"c")
IDENTITY = bytes(32)


def test_a_seed_expands_as_in_substrate() -> None:
    """Substrate's published development account `//Alice`: its mini secret and public key."""
    seed = bytes.fromhex("e5be9a5092b81bca64be81d212e7f2f9eba183bb7a90954f7b76361f6edb5c0a")
    public = SigningKey(SecretBytes(seed)).public
    assert public.hex() == "d43593c715fdd31c61141abd04a99fd6822c8558854ccde39a5684e7a56da27d"


@given(st.lists(st.binary(max_size=40), max_size=4))
def test_what_is_signed_verifies(parts: list[bytes]) -> None:
    signature = KEY.sign(labels.SIGN_OPERATOR, *parts)
    assert len(signature) == SIGNATURE_SIZE
    verify(KEY.public, signature, labels.SIGN_OPERATOR, *parts)


def test_the_signed_message_is_the_tagged_hash() -> None:
    assert sr25519.verify(SIGNATURE, tagged_hash(labels.SIGN_GOVERNANCE, b"ab", b"c"), KEY.public)


def test_key_label_and_each_part_are_bound() -> None:
    for public, label, parts in (
        (SigningKey.generate().public, labels.SIGN_GOVERNANCE, (b"ab", b"c")),
        (KEY.public, labels.SIGN_QUERY, (b"ab", b"c")),
        (KEY.public, labels.SIGN_GOVERNANCE, (b"a", b"bc")),
        (KEY.public, labels.SIGN_GOVERNANCE, (b"abc",)),
        (KEY.public, labels.SIGN_GOVERNANCE, ()),
    ):
        with pytest.raises(BadSignature):
            verify(public, SIGNATURE, label, *parts)


def test_every_altered_bit_is_noticed() -> None:
    for bit in range(8 * SIGNATURE_SIZE):
        altered = bytearray(SIGNATURE)
        altered[bit // 8] ^= 1 << bit % 8
        with pytest.raises(BadSignature):
            verify(KEY.public, bytes(altered), labels.SIGN_GOVERNANCE, b"ab", b"c")


@given(st.binary(max_size=70) | st.binary(min_size=64, max_size=64))
def test_any_signature_bytes_raise_the_one_declared_error(signature: bytes) -> None:
    with pytest.raises(BadSignature):
        verify(KEY.public, signature, labels.SIGN_GOVERNANCE)


@given(st.binary(max_size=40) | st.binary(min_size=32, max_size=32))
def test_any_key_bytes_raise_a_declared_error(public: bytes) -> None:
    with pytest.raises((BadKey, BadSignature)):
        verify(public, SIGNATURE, labels.SIGN_GOVERNANCE, b"ab", b"c")


def test_the_identity_is_no_key_although_the_library_takes_it() -> None:
    message = tagged_hash(labels.SIGN_GOVERNANCE)
    forged = sr25519.sign((IDENTITY, bytes(64)), message)
    assert sr25519.verify(forged, message, IDENTITY)
    with pytest.raises(BadKey):
        verify(IDENTITY, forged, labels.SIGN_GOVERNANCE)
    with pytest.raises(BadKey):
        check_public(IDENTITY)


@pytest.mark.parametrize("public", [b"", KEY.public[:-1], KEY.public + b"\0", b"\xff" * 32, b"\x01" + bytes(31)])
@pytest.mark.parametrize("signature", [SIGNATURE, bytes(64)], ids=["well-formed", "malformed"])
def test_a_malformed_key_is_named_as_such(public: bytes, signature: bytes) -> None:
    with pytest.raises(BadKey):
        verify(public, signature, labels.SIGN_GOVERNANCE, b"ab", b"c")
    with pytest.raises(BadKey):
        check_public(public)


def test_a_good_key_is_accepted() -> None:
    assert check_public(bytes(KEY.public)) == KEY.public
    assert len(KEY.public) == PUBLIC_SIZE


def test_two_signatures_of_one_message_differ() -> None:
    assert KEY.sign(labels.SIGN_OPERATOR) != KEY.sign(labels.SIGN_OPERATOR)


@pytest.mark.parametrize("size", [0, 31, 33, 64])
def test_a_seed_has_32_bytes(size: int) -> None:
    with pytest.raises(BadKey):
        SigningKey(SecretBytes(bytes(size)))
