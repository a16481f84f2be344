"""Key derivation and message authentication, both under a registered label.

Every key in keephold comes out of `derive`: one secret, one label, a context of length-prefixed parts. Because the
label and each length enter `info`, two derivations agree only when label and context agree part by part; because
HKDF is a PRF of its secret, outputs under different labels tell nothing about each other or about the secret.
"""

from __future__ import annotations

import hmac
from typing import Final

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from keephold.crypto.hashing import framed
from keephold.crypto.labels import Label
from keephold.crypto.secret import SecretBytes

KEY_SIZE: Final = 32
"""Bytes of every symmetric key and seed."""


def derive(secret: SecretBytes, label: Label, *context: bytes, size: int = KEY_SIZE) -> SecretBytes:
    """Return `size` bytes (1 to 8160) of HKDF-SHA256 (RFC 5869): no salt, `info = framed(label, *context)`.

    `size` is not part of `info`, so a shorter output is a prefix of a longer one: a label has one size.

    Raises:
        BadKey: the secret was wiped.
    """
    info = framed(label, *context)
    return SecretBytes(HKDF(algorithm=SHA256(), length=size, salt=None, info=info).derive(secret.reveal()))


def mac(secret: SecretBytes, label: Label, *parts: bytes) -> bytes:
    """Return the 32-byte HMAC-SHA256 of `framed(label, *parts)`: a tag, or a PRF of the parts.

    Compare tags with `hashing.equal` only. HMAC fills short keys with zeros, so keys that differ in trailing zeros
    alone collide; ours come from `derive` and have one length.

    Raises:
        BadKey: the secret was wiped.
    """
    return hmac.digest(secret.reveal(), framed(label, *parts), "sha256")
