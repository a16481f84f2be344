"""sr25519 signatures (schnorrkel, as Substrate uses them) over tagged hashes.

The library's signing context is fixed ("substrate"), so what separates one use from another has to be in the message:
a signature is always over `tagged_hash(label, *parts)`, never over bytes that a peer chose. A signature made for a
transaction therefore means nothing as a permit.

Signatures are randomised: two over one message differ. None may enter anything that replicas compare or hash.

The library signs with whatever public half it is given, unchecked. So the pair is built in one place, from a seed, and
never taken apart. The identity point is a valid encoding under which anyone can sign anything: it is
refused as a key, always.
"""

from __future__ import annotations

from typing import Final, Self, final

import sr25519

from keephold.base.errors import BadKey, BadSignature
from keephold.base.ids import PublicKey
from keephold.crypto.hashing import tagged_hash
from keephold.crypto.labels import Label
from keephold.crypto.opaque import Opaque
from keephold.crypto.secret import SecretBytes

SEED_SIZE: Final = 32
"""Bytes of a private key's seed (schnorrkel's Ed25519 expansion, as in Substrate)."""

PUBLIC_SIZE: Final = 32
"""Bytes of a public key."""

SIGNATURE_SIZE: Final = 64
"""Bytes of a signature."""

_IDENTITY: Final = bytes(PUBLIC_SIZE)
_WELL_FORMED: Final = bytes(63) + b"\x80"
"""A signature that parses and verifies under no key but the identity: asks the library about a key alone."""


@final
class SigningKey(Opaque):
    """A private sr25519 key. It signs; it never shows itself."""

    __slots__ = ("_pair", "public")

    def __init__(self, seed: SecretBytes) -> None:
        """Expand a 32-byte seed; it stays the caller's to wipe.

        Raises:
            BadKey: the seed is not 32 bytes, or was wiped.
        """
        if len(seed) != SEED_SIZE:
            raise BadKey(f"a signing seed has {SEED_SIZE} bytes, not {len(seed)}")
        pair: tuple[bytes, bytes] = sr25519.pair_from_seed(seed.reveal())
        self._pair: Final = pair
        self.public: Final = PublicKey(pair[0])

    @classmethod
    def generate(cls) -> Self:
        """Draw a key from the operating system; its seed is nowhere but here."""
        return cls(SecretBytes.random(SEED_SIZE))

    def sign(self, label: Label, *parts: bytes) -> bytes:
        """Return a 64-byte signature over `tagged_hash(label, *parts)`; a different one each time."""
        signature: bytes = sr25519.sign(self._pair, tagged_hash(label, *parts))
        return signature


def verify(public: bytes, signature: bytes, label: Label, *parts: bytes) -> None:
    """Return when `signature` is by `public` over `tagged_hash(label, *parts)`, else raise.

    Raises:
        BadKey: `public` is not a key: wrong size, not a canonical point, or the identity.
        BadSignature: by another key, over something else, or malformed.
    """
    # (1) The identity verifies forgeries; (2) sizes, before the library sees them; (3) the equation itself.
    if len(public) != PUBLIC_SIZE or public == _IDENTITY:
        raise BadKey("not a usable sr25519 public key")
    if len(signature) != SIGNATURE_SIZE:
        raise BadSignature(f"a signature has {SIGNATURE_SIZE} bytes, not {len(signature)}")
    try:
        if sr25519.verify(signature, tagged_hash(label, *parts), public):
            return
    except ValueError:
        # The library words a bad key and a bad signature alike: ask about the key alone, off the fast path.
        check_public(public)
    raise BadSignature(f"{label.name}: not signed by this key")


def check_public(public: bytes) -> PublicKey:
    """Return `public` as a key that `verify` accepts: for whoever certifies a key that others will check against.

    Raises:
        BadKey: wrong size, not a canonical point, or the identity.
    """
    if len(public) != PUBLIC_SIZE or public == _IDENTITY:
        raise BadKey("not a usable sr25519 public key")
    try:
        sr25519.verify(_WELL_FORMED, b"", public)
    except ValueError:
        raise BadKey("not a usable sr25519 public key") from None
    return PublicKey(public)
