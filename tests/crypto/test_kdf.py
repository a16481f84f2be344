from __future__ import annotations

import hashlib
import hmac

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keephold.base.errors import BadKey
from keephold.crypto import labels
from keephold.crypto.hashing import framed
from keephold.crypto.kdf import derive, mac
from keephold.crypto.secret import SecretBytes

SECRET = SecretBytes(bytes(range(32)))


def hkdf(key_material: bytes, salt: bytes, info: bytes, size: int) -> bytes:
    """RFC 5869, written from its text."""
    pseudorandom_key = hmac.digest(salt or bytes(32), key_material, hashlib.sha256)
    output = block = b""
    while len(output) < size:
        block = hmac.digest(pseudorandom_key, block + info + bytes([len(output) // 32 + 1]), hashlib.sha256)
        output += block
    return output[:size]


def test_the_reference_here_agrees_with_rfc_5869() -> None:
    """RFC 5869, appendix A, test cases 1 and 3."""
    salt, info = bytes(range(0x0D)), bytes(range(0xF0, 0xFA))
    assert hkdf(b"\x0b" * 22, salt, info, 42).hex() == (
        "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865"
    )
    assert hkdf(b"\x0b" * 22, b"", b"", 42).hex() == (
        "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8"
    )


@given(st.binary(min_size=1, max_size=80), st.lists(st.binary(max_size=40), max_size=3), st.integers(1, 200))
def test_derive_is_hkdf_over_the_frame(secret: bytes, context: list[bytes], size: int) -> None:
    expected = hkdf(secret, b"", framed(labels.KEY_STATE, *context), size)
    assert derive(SecretBytes(secret), labels.KEY_STATE, *context, size=size).reveal() == expected


def test_mac_is_hmac_over_the_frame() -> None:
    expected = hmac.digest(SECRET.reveal(), framed(labels.SLOT_NONCE, b"a", b"b"), hashlib.sha256)
    assert mac(SECRET, labels.SLOT_NONCE, b"a", b"b") == expected


def test_label_secret_and_each_part_separate() -> None:
    other = SecretBytes(bytes(32))
    outputs = [
        derive(secret, label, *context).reveal()
        for secret in (SECRET, other)
        for label in (labels.KEY_STATE, labels.KEY_TAG)
        for context in ((), (b"",), (b"ab",), (b"a", b"b"), (b"", b"ab"))
    ]
    assert len(set(outputs)) == len(outputs)


def test_a_wiped_secret_derives_nothing() -> None:
    wiped = SecretBytes(bytes(32))
    wiped.wipe()
    with pytest.raises(BadKey):
        derive(wiped, labels.KEY_STATE)
    with pytest.raises(BadKey):
        mac(wiped, labels.KEY_STATE)
