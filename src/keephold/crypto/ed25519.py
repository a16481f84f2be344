"""Ed25519 (RFC 8032): validators' votes, in the format that CometBFT defines, and keys that contracts own elsewhere.

Messages are the consensus engine's own sign bytes, or another ledger's, so there is no label here and no tagged hash:
chain id, height and type inside them are the separation. Deterministic, unlike `signing`.

The library checks the cofactorless equation and refuses scalars out of range; it does not judge keys. Points of small
order verify chosen messages without any private key, and a non-canonical encoding gives one key two names: both are
refused here. CometBFT verifies by ZIP-215, which accepts a superset; the two differ only on signatures that no honest
signer makes, and being stricter can cost a crafted vote, never admit one.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final, Self, final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from keephold.base.errors import BadKey, BadSignature
from keephold.crypto.opaque import Opaque
from keephold.crypto.secret import SecretBytes

SEED_SIZE: Final = 32
"""Bytes of a private key."""

PUBLIC_SIZE: Final = 32
"""Bytes of a public key."""

SIGNATURE_SIZE: Final = 64
"""Bytes of a signature."""

_P: Final = 2**255 - 19
_D: Final = -121665 * pow(121666, -1, _P) % _P
_REMEMBERED_KEYS: Final = 1024


@final
class ValidatorKey(Opaque):
    """A private Ed25519 key. It signs; it never shows itself."""

    __slots__ = ("_private", "public")

    def __init__(self, seed: SecretBytes) -> None:
        """Take a 32-byte RFC 8032 private key; it stays the caller's to wipe.

        Raises:
            BadKey: the seed is not 32 bytes, or was wiped.
        """
        if len(seed) != SEED_SIZE:
            raise BadKey(f"a validator's seed has {SEED_SIZE} bytes, not {len(seed)}")
        self._private: Final = Ed25519PrivateKey.from_private_bytes(seed.reveal())
        self.public: Final = self._private.public_key().public_bytes_raw()

    @classmethod
    def generate(cls) -> Self:
        """Draw a key from the operating system; its seed is nowhere but here."""
        return cls(SecretBytes.random(SEED_SIZE))

    def sign(self, message: bytes) -> bytes:
        """Return the 64-byte signature over `message`; always the same one."""
        return self._private.sign(message)


def verify(public: bytes, signature: bytes, message: bytes) -> None:
    """Return when `signature` is by `public` over `message`, else raise.

    Raises:
        BadKey: `public` is not a key: wrong size, no canonical curve point, or of small order.
        BadSignature: by another key, over something else, or malformed.
    """
    key = _imported(public)
    try:
        key.verify(signature, message)
    except InvalidSignature:
        raise BadSignature("not signed by this key") from None


def check_public(public: bytes) -> None:
    """Refuse bytes that `verify` would refuse as a key: for whoever admits a validator.

    Raises:
        BadKey: wrong size, no canonical curve point, or of small order.
    """
    _imported(public)


@lru_cache(maxsize=_REMEMBERED_KEYS)
def _imported(public: bytes) -> Ed25519PublicKey:
    """Parse and check a public key; remembered (public data, failures excepted), because validators vote often."""
    if len(public) != PUBLIC_SIZE or not _is_usable_point(public):
        raise BadKey("not a usable Ed25519 public key")
    return Ed25519PublicKey.from_public_bytes(public)


def _is_usable_point(encoded: bytes) -> bool:
    """Return whether 32 bytes are the canonical encoding of a curve point outside the small-order subgroup.

    Integers are fine here: the value is public.
    """
    packed = int.from_bytes(encoded, "little")
    y = packed & ((1 << 255) - 1)
    # (1) Canonical: y is reduced. (A point with x = 0 and a sign bit is of small order, which (3) refuses.)
    if y >= _P:
        return False
    # (2) On the curve: x² = (y² - 1) / (d·y² + 1) is a square. The denominator is never zero, as -1/d is no square.
    square = y * y % _P
    x_square = (square - 1) * pow(_D * square + 1, -1, _P) % _P
    if pow(x_square, (_P - 1) // 2, _P) not in (0, 1):
        return False
    # (3) Not of order 1 or 2 (x = 0), 4 (y = 0), 8 (its double has y = 0, that is x² + y² = 0).
    return x_square != 0 and square != 0 and (x_square + square) % _P != 0
