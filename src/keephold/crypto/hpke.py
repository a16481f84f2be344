"""Hybrid public-key encryption to a certified key (RFC 9180, base mode, single shot).

Suite 1 is X-Wing (ML-KEM-768 with X25519, KEM id 0x647a), HKDF-SHA256, AES-256-GCM: recorded traffic stays closed
unless both problems break. The code point comes from a draft, so the first byte on the wire names the suite; HPKE
mixes the suite's identifiers into its key schedule, so an altered byte cannot move a ciphertext between suites.

Single shot: each `seal` makes a fresh key and one message under it, so there is no nonce to repeat. The library
offers no public associated data; everything a ciphertext is bound to goes into `info = framed(label, *context)`.
HPKE here says nothing about the sender: whoever must know signs the ciphertext (`signing`). It is randomised, so its
output never enters anything that replicas compare.

A 32-byte seed is the whole private key: `SHAKE256(seed, 96)` = ML-KEM seed (64) followed by the X25519 scalar (32),
as X-Wing lays down and as its JavaScript implementations do.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache
from typing import Final, Self, final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hpke
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey, MLKEM768PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

from keephold.base.errors import BadKey, SealBroken
from keephold.crypto.hashing import framed
from keephold.crypto.labels import Label
from keephold.crypto.opaque import Opaque
from keephold.crypto.secret import SecretBytes

SEED_SIZE: Final = 32
"""Bytes of a private key's seed."""

_MLKEM_PUBLIC: Final = 1184
PUBLIC_SIZE: Final = _MLKEM_PUBLIC + 32
"""Bytes of a public key: ML-KEM-768 (1184), then X25519 (32)."""

SUITE: Final = b"\x01"
"""First byte on the wire: X-Wing, HKDF-SHA256, AES-256-GCM."""

OVERHEAD: Final = len(SUITE) + 1120 + 16
"""Bytes by which a ciphertext is longer than its plaintext: suite, encapsulated key, tag."""

_XWING: Final = hpke.Suite(hpke.KEM.MLKEM768_X25519, hpke.KDF.HKDF_SHA256, hpke.AEAD.AES_256_GCM)
_REMEMBERED_KEYS: Final = 256


@final
class EncryptionKey(Opaque):
    """A private X-Wing key. It opens; it never shows itself."""

    __slots__ = ("_private", "public")

    def __init__(self, seed: SecretBytes) -> None:
        """Expand a 32-byte X-Wing seed; it stays the caller's to wipe.

        Raises:
            BadKey: the seed is not 32 bytes, or was wiped.
        """
        if len(seed) != SEED_SIZE:
            raise BadKey(f"an encryption seed has {SEED_SIZE} bytes, not {len(seed)}")
        expanded = hashlib.shake_256(seed.reveal()).digest(96)
        mlkem = MLKEM768PrivateKey.from_seed_bytes(expanded[:64])
        x25519 = X25519PrivateKey.from_private_bytes(expanded[64:])
        self._private: Final = hpke.MLKEM768X25519PrivateKey(mlkem, x25519)
        self.public: Final = mlkem.public_key().public_bytes_raw() + x25519.public_key().public_bytes_raw()

    @classmethod
    def generate(cls) -> Self:
        """Draw a key from the operating system; its seed is nowhere but here."""
        return cls(SecretBytes.random(SEED_SIZE))

    def open(self, ciphertext: bytes, label: Label, *context: bytes) -> bytes:
        """Return the plaintext sealed to this key under exactly this label and context.

        Raises:
            SealBroken: other suite, other key, other context, altered or cut bytes; deliberately one error.
        """
        try:
            if ciphertext[:1] != SUITE or len(ciphertext) < OVERHEAD:
                raise ValueError
            return _XWING.decrypt(ciphertext[1:], self._private, framed(label, *context))
        except (InvalidTag, ValueError):
            raise SealBroken(f"{label.name} does not open") from None


def seal(public: bytes, plaintext: bytes, label: Label, *context: bytes) -> bytes:
    """Return suite byte, encapsulated key and ciphertext of `plaintext`, `OVERHEAD` bytes longer than it.

    Randomised: two seals of one plaintext differ.

    Raises:
        BadKey: `public` is not a usable X-Wing public key.
    """
    return SUITE + _XWING.encrypt(plaintext, _imported(public), framed(label, *context))


def check_public(public: bytes) -> None:
    """Refuse bytes that `seal` would refuse: for whoever certifies a key that others will seal to.

    Raises:
        BadKey: wrong size, an ML-KEM half out of range, or an X25519 half of small order.
    """
    _imported(public)


@lru_cache(maxsize=_REMEMBERED_KEYS)
def _imported(public: bytes) -> hpke.MLKEM768X25519PublicKey:
    """Parse and check a public key; remembered (public data, failures excepted), because callers seal repeatedly."""
    if len(public) != PUBLIC_SIZE:
        raise BadKey(f"an encryption key has {PUBLIC_SIZE} bytes, not {len(public)}")
    try:
        mlkem = MLKEM768PublicKey.from_public_bytes(public[:_MLKEM_PUBLIC])
        x25519 = X25519PublicKey.from_public_bytes(public[_MLKEM_PUBLIC:])
        # A point of small order gives every sender the same shared secret. The exchange refuses it, for any scalar.
        X25519PrivateKey.from_private_bytes(bytes(32)).exchange(x25519)
    except ValueError:
        raise BadKey("not a usable X-Wing public key") from None
    return hpke.MLKEM768X25519PublicKey(mlkem, x25519)
