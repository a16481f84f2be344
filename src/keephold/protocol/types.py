"""Field types of records: sizes and ranges are checked while decoding, so no rule has to repeat them."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

Bytes16 = Annotated[bytes, Meta(min_length=16, max_length=16)]
Bytes20 = Annotated[bytes, Meta(min_length=20, max_length=20)]
"""A validator's address."""

Bytes32 = Annotated[bytes, Meta(min_length=32, max_length=32)]
Bytes64 = Annotated[bytes, Meta(min_length=64, max_length=64)]

PublicKeyBytes = Annotated[bytes, Meta(min_length=32, max_length=32)]
"""An sr25519 public key."""

EncryptionKeyBytes = Annotated[bytes, Meta(min_length=1216, max_length=1216)]
"""An X-Wing public key: ML-KEM-768 (1184) and X25519 (32)."""

SignatureBytes = Annotated[bytes, Meta(min_length=64, max_length=64)]
"""An sr25519 signature."""

Uint63 = Annotated[int, Meta(ge=0, le=(1 << 63) - 1)]
"""A non-negative integer that every reader's signed 64-bit type holds."""

Positive = Annotated[int, Meta(ge=1, le=(1 << 63) - 1)]
Level = Annotated[int, Meta(ge=1, le=5)]
"""Confidence level: 1 is the best."""

Text = Annotated[str, Meta(max_length=256)]
