"""Hashing to ristretto255 and its scalars: expand_message_xmd with SHA-512 (RFC 9380, section 5.3.1).

The domain-separation tags are those of the suite `OPRF(ristretto255, SHA-512)`, mode 1, of RFC 9497, so that its test
vectors speak for this code. Our own separation lies in the inputs, which are tagged hashes.
"""

from __future__ import annotations

import hashlib
from typing import Final

from keephold.crypto import ristretto
from keephold.crypto.ristretto import Point, Scalar

CONTEXT: Final = b"OPRFV1-\x01-ristretto255-SHA512"
"""RFC 9497 `contextString`, mode 1 (verifiable)."""

_GROUP_TAG: Final = b"HashToGroup-" + CONTEXT
_SCALAR_TAG: Final = b"HashToScalar-" + CONTEXT
_DIGEST: Final = 64
_BLOCK: Final = 128


def expand_message_xmd(message: bytes, tag: bytes, size: int) -> bytes:
    """Return `size` uniform bytes; `tag` at most 255 bytes, `size` at most 255 digests (ValueError beyond)."""
    blocks = -(-size // _DIGEST)
    if not 0 < blocks <= 255 or len(tag) > 255:
        raise ValueError("outside the bounds of expand_message_xmd")
    suffix = tag + len(tag).to_bytes(1, "big")
    first = hashlib.sha512(bytes(_BLOCK) + message + size.to_bytes(2, "big") + b"\x00" + suffix).digest()
    block = hashlib.sha512(first + b"\x01" + suffix).digest()
    output = block
    for counter in range(2, blocks + 1):
        mixed = bytes(left ^ right for left, right in zip(first, block, strict=True))
        block = hashlib.sha512(mixed + counter.to_bytes(1, "big") + suffix).digest()
        output += block
    return output[:size]


def hash_to_group(message: bytes, tag: bytes = _GROUP_TAG) -> Point:
    """Return a group element whose discrete logarithm nobody knows."""
    return ristretto.point_from_hash(expand_message_xmd(message, tag, ristretto.WIDE))


def hash_to_scalar(message: bytes, tag: bytes = _SCALAR_TAG) -> Scalar:
    """Return a uniform public scalar: challenges and batching coefficients."""
    return ristretto.scalar_from_hash(expand_message_xmd(message, tag, ristretto.WIDE))
