"""Padding to a few sizes, because encryption hides everything but the length.

A padded plaintext is its 4-byte big-endian length, itself, and zeros up to a bucket. The prefix makes it unambiguous
for every plaintext; checking the zeros makes it canonical: one plaintext and one size have one spelling, so nobody
smuggles bytes in the fill. Padding is applied before sealing and removed after opening, so whoever gets as far as a
padding error already held the key: there is no oracle to guard.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Final

from keephold.base.errors import ConfigurationError, EncodingError

PREFIX: Final = 4
"""Bytes of the length in front of the plaintext."""

_MAX_LENGTH: Final = (1 << 32) - 1


def padded_size(length: int, buckets: Sequence[int]) -> int:
    """Return the size in bytes to which a plaintext of `length` bytes is padded.

    The smallest bucket that holds prefix and plaintext; beyond the last bucket, the smallest multiple of the last.

    Raises:
        ConfigurationError: the buckets are empty, not positive or not strictly ascending.
        EncodingError: the length does not fit the prefix.
    """
    if not buckets or buckets[0] <= 0 or any(a >= b for a, b in pairwise(buckets)):
        raise ConfigurationError("padding buckets are not a strictly ascending list of positive sizes")
    if not 0 <= length <= _MAX_LENGTH:
        raise EncodingError("the plaintext is too long to be padded")
    needed = PREFIX + length
    for bucket in buckets:
        if needed <= bucket:
            return bucket
    last = buckets[-1]
    return -(-needed // last) * last


def pad(plaintext: bytes, buckets: Sequence[int]) -> bytes:
    """Return length prefix, plaintext and zero fill, of exactly `padded_size(len(plaintext), buckets)` bytes.

    Raises:
        ConfigurationError: the buckets are empty, not positive or not strictly ascending.
        EncodingError: the plaintext is too long for the prefix.
    """
    size = padded_size(len(plaintext), buckets)
    return b"".join((len(plaintext).to_bytes(PREFIX, "big"), plaintext, bytes(size - PREFIX - len(plaintext))))


def unpad(padded: bytes) -> bytes:
    """Return the plaintext.

    Raises:
        EncodingError: shorter than its prefix says, or a byte of the fill is not zero.
    """
    end = PREFIX + int.from_bytes(padded[:PREFIX], "big")
    if end > len(padded):  # a cut prefix too, as `end` is at least its size
        raise EncodingError("padded plaintext is shorter than its length prefix says")
    if padded.count(0, end) != len(padded) - end:
        raise EncodingError("padding is not zero")
    return padded[PREFIX:end]
