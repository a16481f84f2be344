"""Stretching passwords with Argon2id (RFC 9106): the one place where a key comes from something a person remembers.

The parameters are read from a keystore file, and a file may be hostile. Too large, and opening it exhausts the
machine: each parameter has a ceiling in `limits`. Too small is no attack on who opens it (the result never leaves the
process), and the writer takes the defaults here. A salt below 16 bytes is refused: it would make tables worthwhile.
"""

from __future__ import annotations

from typing import Final

from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

from keephold.base.errors import KeystoreError
from keephold.base.limits import MAX_STRETCH_ITERATIONS, MAX_STRETCH_LANES, MAX_STRETCH_MEMORY_KIB
from keephold.crypto.kdf import KEY_SIZE
from keephold.crypto.secret import SecretBytes

MEMORY_KIB: Final = 256 << 10
"""Memory for a new keystore, in KiB: 256 MiB."""

ITERATIONS: Final = 3
"""Passes over the memory for a new keystore."""

LANES: Final = 4
"""Parallel lanes for a new keystore."""

SALT_SIZE: Final = 16
"""Bytes of salt in a new keystore, and the fewest accepted."""

_MAX_SALT: Final = 64
_KIB_PER_LANE: Final = 8


def stretch(
    password: SecretBytes,
    salt: bytes,
    *,
    memory_kib: int = MEMORY_KIB,
    iterations: int = ITERATIONS,
    lanes: int = LANES,
) -> SecretBytes:
    """Return the 32-byte Argon2id hash of a password; takes as long and as much memory as the parameters say.

    Raises:
        KeystoreError: a parameter or the salt's size is out of bounds, or the machine lacks the memory.
        BadKey: the password was wiped.
    """
    if not 1 <= lanes <= MAX_STRETCH_LANES:
        raise KeystoreError(f"argon2id lanes {lanes} not in 1..{MAX_STRETCH_LANES}")
    if not 1 <= iterations <= MAX_STRETCH_ITERATIONS:
        raise KeystoreError(f"argon2id iterations {iterations} not in 1..{MAX_STRETCH_ITERATIONS}")
    if not _KIB_PER_LANE * lanes <= memory_kib <= MAX_STRETCH_MEMORY_KIB:
        raise KeystoreError(
            f"argon2id memory {memory_kib} KiB not in {_KIB_PER_LANE * lanes}..{MAX_STRETCH_MEMORY_KIB}"
        )
    if not SALT_SIZE <= len(salt) <= _MAX_SALT:
        raise KeystoreError(f"argon2id salt of {len(salt)} bytes not in {SALT_SIZE}..{_MAX_SALT}")
    function = Argon2id(salt=salt, length=KEY_SIZE, iterations=iterations, lanes=lanes, memory_cost=memory_kib)
    try:
        return SecretBytes(function.derive(password.reveal()))
    except MemoryError:
        raise KeystoreError(f"this machine cannot spare {memory_kib} KiB for argon2id") from None
