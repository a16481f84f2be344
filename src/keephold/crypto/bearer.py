"""The key that a permit names: Ed25519 (RFC 8032) over tagged hashes.

Accounts sign with sr25519, which no browser knows. A session's key should be one that WebCrypto makes, uses and never
shows: Ed25519 with `extractable: false`. What it signs is 32 bytes, `tagged_hash(label, *parts)`, so that a signature
made for one use means nothing in another. `ed25519` says which public keys are refused and why.
"""

from __future__ import annotations

from typing import Final, final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from keephold.base.errors import BadKey
from keephold.crypto import ed25519
from keephold.crypto.hashing import tagged_hash
from keephold.crypto.labels import Label
from keephold.crypto.opaque import Opaque
from keephold.crypto.secret import SecretBytes

SEED_SIZE: Final = ed25519.SEED_SIZE


@final
class BearerKey(Opaque):
    """A private key of a session. It signs; it never shows itself."""

    __slots__ = ("_private", "public")

    def __init__(self, seed: SecretBytes) -> None:
        """Take a 32-byte RFC 8032 private key; the seed stays the caller's to wipe.

        Raises:
            BadKey: the seed is not 32 bytes, or was wiped.
        """
        if len(seed) != SEED_SIZE:
            raise BadKey(f"a bearer's seed has {SEED_SIZE} bytes, not {len(seed)}")
        self._private: Final = Ed25519PrivateKey.from_private_bytes(seed.reveal())
        self.public: Final = self._private.public_key().public_bytes_raw()

    def sign(self, label: Label, *parts: bytes) -> bytes:
        """Return the 64-byte signature over `tagged_hash(label, *parts)`; always the same one."""
        return self._private.sign(tagged_hash(label, *parts))


def verify(public: bytes, signature: bytes, label: Label, *parts: bytes) -> None:
    """Return when `signature` is by `public` over `tagged_hash(label, *parts)`, else raise.

    Raises:
        BadKey: `public` is not a key: wrong size, no canonical curve point, or of small order.
        BadSignature: by another key, over something else, or malformed.
    """
    ed25519.verify(public, signature, tagged_hash(label, *parts))


def check_public(public: bytes) -> None:
    """Refuse bytes that `verify` would refuse as a key: for whoever names a bearer.

    Raises:
        BadKey
    """
    ed25519.check_public(public)
