"""Hashing with domain separation.

Concatenation before a hash is where collisions hide: every part is length-prefixed.
"""

from __future__ import annotations

import hashlib
import hmac

from keephold.crypto.labels import Label


def sha256(data: bytes) -> bytes:
    """Return the 32-byte SHA-256 of `data`: only for formats that others define (CometBFT, X.509)."""
    return hashlib.sha256(data).digest()


def framed(label: Label, *parts: bytes) -> bytes:
    """Return the unambiguous byte string of a label and its parts: each part behind its 8-byte big-endian length."""
    chunks = [len(label.encoded).to_bytes(8, "big"), label.encoded]
    for part in parts:
        chunks.append(len(part).to_bytes(8, "big"))
        chunks.append(part)
    return b"".join(chunks)


def tagged_hash(label: Label, *parts: bytes) -> bytes:
    """Return the 32-byte SHA-256 of `framed(label, *parts)`."""
    return hashlib.sha256(framed(label, *parts)).digest()


def frames(label: Label, *sizes: int) -> tuple[bytes, ...]:
    """Return the constant bytes before each part of a `framed` string whose parts have these sizes.

    For hot loops: `sha256(f[0] + a + f[1] + b)` with `f = frames(label, len(a), len(b))` is `tagged_hash(label, a, b)`.
    """
    head = framed(label)
    return tuple((b"" if at else head) + size.to_bytes(8, "big") for at, size in enumerate(sizes))


def tagged_hash_512(label: Label, *parts: bytes) -> bytes:
    """Return the 64-byte SHA-512 of `framed(label, *parts)`: the size of a quote's report data."""
    return hashlib.sha512(framed(label, *parts)).digest()


def equal(left: bytes, right: bytes) -> bool:
    """Compare in time that depends only on the lengths."""
    return hmac.compare_digest(left, right)


def number(value: int) -> bytes:
    """Return a non-negative integer below 2**64 as 8 big-endian bytes, for use as a part."""
    return value.to_bytes(8, "big")
