"""The two keys of an entity, from one seed.

One scalar must not serve both signing and encryption: proofs of security for one say nothing while the other leaks
values of the same key. So the 32-byte seed is neither key; two labels derive two independent seeds, and whoever
certifies the entity certifies both public halves together.
"""

from __future__ import annotations

from typing import Final, Self, final

from keephold.base.errors import BadKey
from keephold.crypto import labels
from keephold.crypto.hpke import EncryptionKey
from keephold.crypto.kdf import KEY_SIZE, derive
from keephold.crypto.opaque import Opaque
from keephold.crypto.secret import SecretBytes
from keephold.crypto.signing import SigningKey


@final
class EntityKeys(Opaque):
    """A signing key and an encryption key with one origin. Neither the seed nor a private half comes out."""

    __slots__ = ("encryption", "signing")

    def __init__(self, seed: SecretBytes) -> None:
        """Expand a 32-byte seed under `SEED_SIGNING` and `SEED_ENCRYPTION`; it stays the caller's to wipe.

        Raises:
            BadKey: the seed is not 32 bytes, or was wiped.
        """
        if len(seed) != KEY_SIZE:
            raise BadKey(f"an entity's seed has {KEY_SIZE} bytes, not {len(seed)}")
        self.signing: Final = SigningKey(derive(seed, labels.SEED_SIGNING))
        self.encryption: Final = EncryptionKey(derive(seed, labels.SEED_ENCRYPTION))

    @classmethod
    def generate(cls) -> Self:
        """Draw keys from the operating system; who must store them draws the seed himself."""
        return cls(SecretBytes.random(KEY_SIZE))
