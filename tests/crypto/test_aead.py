from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCMSIV
from hypothesis import given
from hypothesis import strategies as st

from keephold.base.errors import BadKey, SealBroken
from keephold.crypto import labels
from keephold.crypto.aead import OVERHEAD, ContextSealer
from keephold.crypto.hashing import framed
from keephold.crypto.kdf import derive, mac
from keephold.crypto.secret import SecretBytes

KEY = SecretBytes(bytes(range(32)))
SEALER = ContextSealer(KEY, labels.SEAL_SLOT)
CONTEXTS = st.lists(st.binary(max_size=20), max_size=3)


def test_the_cipher_is_that_of_rfc_8452() -> None:
    """RFC 8452, appendix C.2, the empty and the eight-byte plaintext."""
    cipher = AESGCMSIV(b"\x01" + bytes(31))
    nonce = b"\x03" + bytes(11)
    assert cipher.encrypt(nonce, b"", b"").hex() == "07f5f4169bbf55a8400cd47ea6fd400f"
    expected = "c2ef328e5c71c83b843122130f7364b761e0b97427e3df28"
    assert cipher.encrypt(nonce, b"\x01" + bytes(7), b"").hex() == expected


def test_a_seal_is_composed_as_documented() -> None:
    encryption = derive(KEY, labels.AEAD_KEY, labels.SEAL_SLOT.encoded)
    nonce = mac(derive(KEY, labels.AEAD_NONCE, labels.SEAL_SLOT.encoded), labels.SEAL_SLOT, b"a", b"b")[:12]
    expected = AESGCMSIV(encryption.reveal()).encrypt(nonce, b"value", framed(labels.SEAL_SLOT, b"a", b"b"))
    assert SEALER.seal(b"value", b"a", b"b") == expected


@given(st.binary(max_size=200), CONTEXTS)
def test_what_is_sealed_opens(plaintext: bytes, context: list[bytes]) -> None:
    sealed = SEALER.seal(plaintext, *context)
    assert len(sealed) == len(plaintext) + OVERHEAD
    assert SEALER.open(sealed, *context) == plaintext


@given(st.binary(max_size=60), CONTEXTS, CONTEXTS)
def test_it_opens_in_its_own_context_only(plaintext: bytes, context: list[bytes], other: list[bytes]) -> None:
    sealed = SEALER.seal(plaintext, *context)
    if other != context:
        with pytest.raises(SealBroken):
            SEALER.open(sealed, *other)


@given(st.binary(max_size=80))
def test_any_bytes_open_or_raise_the_one_declared_error(data: bytes) -> None:
    with pytest.raises(SealBroken):
        SEALER.open(data, b"context")


def test_every_altered_bit_is_noticed() -> None:
    sealed = SEALER.seal(b"v", b"context")
    for bit in range(8 * len(sealed)):
        altered = bytearray(sealed)
        altered[bit // 8] ^= 1 << bit % 8
        with pytest.raises(SealBroken):
            SEALER.open(bytes(altered), b"context")


def test_key_and_label_separate() -> None:
    sealed = SEALER.seal(b"value", b"context")
    for stranger in (
        ContextSealer(SecretBytes(bytes(32)), labels.SEAL_SLOT),
        ContextSealer(KEY, labels.SEAL_EVENT),
    ):
        assert stranger.seal(b"value", b"context") != sealed
        with pytest.raises(SealBroken):
            stranger.open(sealed, b"context")


def test_replicas_seal_alike_and_contexts_hide_equal_plaintexts() -> None:
    replica = ContextSealer(SecretBytes(KEY.reveal()), labels.SEAL_SLOT)
    assert replica.seal(b"value", b"1") == SEALER.seal(b"value", b"1")
    assert SEALER.seal(b"value", b"1")[:5] != SEALER.seal(b"value", b"2")[:5]


def test_a_repeated_context_gives_away_equality_only() -> None:
    one, two = SEALER.seal(b"value 1", b"same"), SEALER.seal(b"value 2", b"same")
    keystream_one = bytes(a ^ b for a, b in zip(one, b"value 1", strict=False))
    keystream_two = bytes(a ^ b for a, b in zip(two, b"value 2", strict=False))
    assert keystream_one != keystream_two


@pytest.mark.parametrize("size", [0, 16, 31, 33])
def test_a_key_has_32_bytes(size: int) -> None:
    with pytest.raises(BadKey):
        ContextSealer(SecretBytes(bytes(size)), labels.SEAL_SLOT)


def test_a_sealer_outlives_the_wiping_of_its_key() -> None:
    key = SecretBytes(KEY.reveal())
    sealer = ContextSealer(key, labels.SEAL_SLOT)
    key.wipe()
    assert sealer.open(SEALER.seal(b"value")) == b"value"
