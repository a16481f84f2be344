from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keephold.base.errors import BadKey, SealBroken
from keephold.crypto import hpke, labels
from keephold.crypto.hpke import OVERHEAD, PUBLIC_SIZE, EncryptionKey, check_public, seal
from keephold.crypto.secret import SecretBytes

KEY = EncryptionKey(SecretBytes(bytes(range(32))))
OTHER = EncryptionKey.generate()

P = 2**255 - 19
SMALL_ORDER = [0, 1, P - 1, P, P + 1, 0xB8495F16056286FDB1329CEB8D09DA6AC49FF1FAE35616AEB8413B7C7AEBE0]
"""X25519 coordinates of small order: RFC 7748, section 6.1, and https://cr.yp.to/ecdh.html."""


def test_a_seed_expands_as_x_wing_lays_down() -> None:
    """draft-connolly-cfrg-xwing-kem, appendix C, first vector: head and tail of the public key."""
    seed = bytes.fromhex("7f9c2ba4e88f827d616045507605853ed73b8093f6efbc88eb1a6eacfa66ef26")
    public = EncryptionKey(SecretBytes(seed)).public
    assert public.hex().startswith("e2236b35a8c24b39b10aa1323a96a919a2ced88400633a7b07131713fc14b2b5b19cfc3d")
    assert public.hex().endswith("ef6534")
    assert len(public) == PUBLIC_SIZE


@given(st.binary(max_size=200), st.lists(st.binary(max_size=20), max_size=3))
def test_what_is_sealed_opens(plaintext: bytes, context: list[bytes]) -> None:
    sealed = seal(KEY.public, plaintext, labels.SEAL_CALL, *context)
    assert len(sealed) == len(plaintext) + OVERHEAD
    assert KEY.open(sealed, labels.SEAL_CALL, *context) == plaintext


def test_key_label_and_each_part_of_the_context_are_bound() -> None:
    sealed = seal(KEY.public, b"call", labels.SEAL_CALL, b"ab", b"c")
    for key, label, context in (
        (OTHER, labels.SEAL_CALL, (b"ab", b"c")),
        (KEY, labels.SEAL_QUERY, (b"ab", b"c")),
        (KEY, labels.SEAL_CALL, (b"a", b"bc")),
        (KEY, labels.SEAL_CALL, (b"ab",)),
        (KEY, labels.SEAL_CALL, (b"ab", b"c", b"")),
        (KEY, labels.SEAL_CALL, ()),
    ):
        with pytest.raises(SealBroken):
            key.open(sealed, label, *context)


def test_every_altered_byte_is_noticed() -> None:
    sealed = seal(KEY.public, b"call", labels.SEAL_CALL)
    for position in range(len(sealed)):
        altered = bytearray(sealed)
        altered[position] ^= 1
        with pytest.raises(SealBroken):
            KEY.open(bytes(altered), labels.SEAL_CALL)


@pytest.mark.parametrize("size", [0, 1, 2, 1089, 1121, OVERHEAD - 1, OVERHEAD, OVERHEAD + 3])
def test_a_cut_ciphertext_does_not_open(size: int) -> None:
    sealed = seal(KEY.public, b"call", labels.SEAL_CALL)
    with pytest.raises(SealBroken):
        KEY.open(sealed[:size], labels.SEAL_CALL)


@given(st.binary(max_size=40).flatmap(lambda tail: st.just(b"\x01" + bytes(1120) + tail)) | st.binary(max_size=40))
def test_any_bytes_open_or_raise_the_one_declared_error(data: bytes) -> None:
    with pytest.raises(SealBroken):
        KEY.open(data, labels.SEAL_CALL)


def test_two_seals_differ() -> None:
    assert seal(KEY.public, b"call", labels.SEAL_CALL) != seal(KEY.public, b"call", labels.SEAL_CALL)


BAD_KEYS = [
    pytest.param(b"", id="empty"),
    pytest.param(KEY.public[:-1], id="short"),
    pytest.param(KEY.public + b"\0", id="long"),
    pytest.param(b"\xff" * PUBLIC_SIZE, id="ML-KEM coefficients out of range"),
    *(pytest.param(KEY.public[:1184] + u.to_bytes(32, "little"), id=f"small order {u:x}") for u in SMALL_ORDER),
]


@pytest.mark.parametrize("public", BAD_KEYS)
def test_nothing_is_sealed_to_a_bad_key(public: bytes) -> None:
    with pytest.raises(BadKey):
        seal(public, b"call", labels.SEAL_CALL)
    with pytest.raises(BadKey):
        check_public(public)


def test_a_key_is_parsed_once_and_the_memory_is_bounded() -> None:
    hpke._imported.cache_clear()
    for _ in range(3):
        seal(KEY.public, b"call", labels.SEAL_CALL)
    assert hpke._imported.cache_info().misses == 1
    assert hpke._imported.cache_info().maxsize == 256


@pytest.mark.parametrize("size", [0, 31, 33])
def test_a_seed_has_32_bytes(size: int) -> None:
    with pytest.raises(BadKey):
        EncryptionKey(SecretBytes(bytes(size)))
