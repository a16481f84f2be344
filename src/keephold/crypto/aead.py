"""Authenticated encryption without a nonce parameter.

The dangerous argument of every AEAD is the nonce: repeat it once and plain AES-GCM gives away its authentication key.
So no caller ever sees one. `ContextSealer` takes the *context* of a message (which contract, which slot, which
version, which direction) and computes everything else. Why that is safe:

1. Two keys are derived from (key, label): one encrypts, one is the PRF that makes nonces. Neither is used elsewhere.
2. The nonce is a PRF of the framed context, so equal contexts give equal nonces, different contexts give independent
   ones. The caller owes a context that is unique per message under one key. Then nonces repeat only by a collision of
   96-bit PRF outputs, and AES-GCM-SIV (RFC 8452) is made to survive repeated nonces.
3. If a caller breaks his promise and repeats a context, AES-GCM-SIV degrades to deterministic encryption: an observer
   learns whether two plaintexts under that context are equal, and nothing more. No key is lost, nothing is forgeable.
   That determinism is wanted: replicas that seal the same state must produce the same bytes.
4. The nonce is not transmitted, because who opens must know the context anyway. The framed context is the associated
   data too, so a ciphertext moved to another context fails twice: by its nonce and by its tag. No byte of a ciphertext
   is free for an attacker to choose.

What it does not do: AES-GCM-SIV is not key-committing. Who knows two keys can build one ciphertext that opens under
both; where that matters (several recipients compare), the protocol hashes key or plaintext into what it signs. Lengths
show: see `padding`.
"""

from __future__ import annotations

import hmac
from typing import Final, final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCMSIV

from keephold.base.errors import BadKey, SealBroken
from keephold.crypto import labels
from keephold.crypto.hashing import framed
from keephold.crypto.kdf import KEY_SIZE, derive
from keephold.crypto.labels import Label
from keephold.crypto.opaque import Opaque
from keephold.crypto.secret import SecretBytes

OVERHEAD: Final = 16
"""Bytes by which a ciphertext is longer than its plaintext: the tag."""

_NONCE_SIZE: Final = 12


@final
class ContextSealer(Opaque):
    """AES-256-GCM-SIV under a key and a label; the nonce is a PRF of each message's context."""

    __slots__ = ("_cipher", "_label", "_nonce_key")

    def __init__(self, key: SecretBytes, label: Label) -> None:
        """Derive both working keys once; a sealer is cheap to use and meant to be kept.

        Raises:
            BadKey: the key is not 32 bytes, or was wiped.
        """
        if len(key) != KEY_SIZE:
            raise BadKey(f"a sealing key has {KEY_SIZE} bytes, not {len(key)}")
        self._label: Final = label
        self._cipher: Final = AESGCMSIV(derive(key, labels.AEAD_KEY, label.encoded).reveal())
        self._nonce_key: Final = derive(key, labels.AEAD_NONCE, label.encoded)

    def seal(self, plaintext: bytes, *context: bytes) -> bytes:
        """Return the ciphertext, `OVERHEAD` bytes longer; the same inputs give the same bytes.

        The caller owes a context that no other message under this key and label has.
        """
        bound = framed(self._label, *context)
        return self._cipher.encrypt(self._nonce(bound), plaintext, bound)

    def open(self, ciphertext: bytes, *context: bytes) -> bytes:
        """Return the plaintext that was sealed under exactly this key, label and context.

        Raises:
            SealBroken: anything differs; deliberately without saying what.
        """
        bound = framed(self._label, *context)
        try:
            return self._cipher.decrypt(self._nonce(bound), ciphertext, bound)
        except (InvalidTag, ValueError):
            raise SealBroken(f"{self._label.name} does not open") from None

    def _nonce(self, bound: bytes) -> bytes:
        return hmac.digest(self._nonce_key.reveal(), bound, "sha256")[:_NONCE_SIZE]
