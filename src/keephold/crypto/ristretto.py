"""The ristretto255 group and its scalars, over libsodium.

Which libsodium. The system's is taken first: the distribution patches it, and an enclave image measures it as a file.
Where a machine has none, the copy inside `rbcl` keeps a plain `pip install` working; `library()` says which one is
loaded, and enclave images accept only the system's. `rbcl` writes its library into the temporary directory at import
and leaves it there, so the file is unlinked as soon as it is mapped.

Three decisions, each against a trap of the C interface:

(1) Functions are total. libsodium reports an identity result and a bad encoding with the same -1; here an identity is
    32 zero bytes and only a bad encoding raises `BadKey`.
(2) Received values are decoded once, at the edge. `decode_point` refuses the identity, which libsodium calls valid and
    which is never a key, a commitment or a proof element. `decode_scalar` refuses values from L up, which libsodium
    reduces silently: without that, proofs are malleable.
(3) A secret scalar is a `SecretBytes` and never becomes a Python integer, not even for a range check: arithmetic on
    Python integers takes time that depends on their value. Integers are for indices and Lagrange coefficients.

cffi in ABI mode releases the GIL around each call, so independent verifications run on all cores. Its declarations are
parsed beforehand (`tools/build_sodium.py`): at start that would cost every program 0.1 s.
"""

from __future__ import annotations

import ctypes.util
import os
from collections.abc import Iterator
from typing import Any, Final, NewType, TypeAlias

from keephold.base.errors import BadKey
from keephold.crypto._sodium import ffi as _ffi
from keephold.crypto.secret import SecretBytes

Point = NewType("Point", bytes)
"""32 bytes: the canonical encoding of a group element."""

Scalar = NewType("Scalar", bytes)
"""32 bytes little-endian, below L: a *public* scalar (index, coefficient, challenge, response)."""

AnyScalar: TypeAlias = Scalar | SecretBytes
"""Operations take either; whatever touches a secret returns a secret."""

SIZE: Final = 32
WIDE: Final = 64
ORDER: Final = 2**252 + 27742317777372353535851937790883648493
"""L, the prime order of the group."""

IDENTITY: Final = Point(bytes(SIZE))
BASE: Final = Point(bytes.fromhex("e2f2ae0a6abc4e71a884a961c500515f58e30b6aa582dd8db6a65945e08d2d76"))
"""G, the generator (RFC 9496, section 4)."""

_SYSTEM_NAMES: Final = ("libsodium.so.26", "libsodium.so.23")


def _names() -> Iterator[str]:
    yield from _SYSTEM_NAMES
    # Last, because asking starts other programs: 0.05 s.
    found = ctypes.util.find_library("sodium")
    if found is not None:
        yield found


def _open_system() -> tuple[Any, str] | None:
    for name in _names():
        try:
            handle = _ffi.dlopen(name)
            handle.crypto_core_ristretto255_from_hash  # noqa: B018 # resolves the symbol: absent before 1.0.18
        except (OSError, AttributeError):
            continue
        return handle, f"system {name}"
    return None


def _open_bundled() -> tuple[Any, str]:
    import rbcl  # only where needed: importing it writes a file

    path = rbcl._sodium._name  # noqa: SLF001 # the path is not exposed in any other way
    handle = _ffi.dlopen(path)
    os.unlink(path)  # noqa: PTH108 # one call, and no Path is at hand
    return handle, "bundled rbcl"


_sodium, _origin = _open_system() or _open_bundled()
if _sodium.sodium_init() < 0:
    raise RuntimeError("libsodium does not initialise")


def library() -> str:
    """Return which libsodium is loaded, e.g. `system libsodium.so.23 1.0.18`: enclaves refuse `bundled`."""
    return f"{_origin} {_ffi.string(_sodium.sodium_version_string()).decode()}"


# --- at the edge: bytes become points and scalars ---


def decode_point(raw: bytes) -> Point:
    """Return `raw` as a group element other than the identity. Raises BadKey."""
    if len(raw) != SIZE or not _sodium.crypto_core_ristretto255_is_valid_point(raw):
        raise BadKey("not the encoding of a group element")
    if raw == IDENTITY:
        raise BadKey("the identity is no key, commitment or proof element")
    return Point(raw)


def decode_scalar(raw: bytes) -> Scalar:
    """Return `raw` as a *public* scalar, canonical. Raises BadKey."""
    if len(raw) != SIZE or int.from_bytes(raw, "little") >= ORDER:
        raise BadKey("not a canonical scalar")
    return Scalar(raw)


def decode_secret_scalar(raw: SecretBytes) -> SecretBytes:
    """Return `raw` when it is a canonical scalar, found without making it an integer. Raises BadKey."""
    if len(raw) != SIZE or _reduce(raw.reveal() + bytes(SIZE)) != raw:
        raise BadKey("not a canonical scalar")
    return raw


def scalar(value: int) -> Scalar:
    """Return a public integer modulo L as a scalar."""
    return Scalar((value % ORDER).to_bytes(SIZE, "little"))


def scalar_from_hash(wide: bytes) -> Scalar:
    """Return 64 uniform *public* bytes modulo L. Raises BadKey on another length."""
    return Scalar(_reduce(wide).reveal())


def secret_scalar(wide: SecretBytes) -> SecretBytes:
    """Return 64 uniform secret bytes modulo L: the bias is below 2**-250. Raises BadKey on another length."""
    return _reduce(wide.reveal())


def point_from_hash(wide: bytes) -> Point:
    """Return the ristretto255 one-way map of 64 uniform bytes. Raises BadKey on another length."""
    if len(wide) != WIDE:
        raise BadKey("the map takes 64 bytes")
    out = bytearray(SIZE)
    _sodium.crypto_core_ristretto255_from_hash(_ffi.from_buffer(out), wide)
    return Point(bytes(out))


# --- the group ---


def add(left: Point, right: Point) -> Point:
    """Return `left + right`. Raises BadKey on a bad encoding."""
    return _combine(_sodium.crypto_core_ristretto255_add, left, right)


def subtract(left: Point, right: Point) -> Point:
    """Return `left - right`. Raises BadKey on a bad encoding."""
    return _combine(_sodium.crypto_core_ristretto255_sub, left, right)


def multiply(point: Point, by: AnyScalar) -> Point:
    """Return `by * point`, the identity included. Raises BadKey on a bad encoding."""
    out = bytearray(SIZE)
    if _sodium.crypto_scalarmult_ristretto255(_ffi.from_buffer(out), _raw(by), _sized(point)) != 0:
        if not _sodium.crypto_core_ristretto255_is_valid_point(point):
            raise BadKey("not the encoding of a group element")
        return IDENTITY
    return Point(bytes(out))


def multiply_base(by: AnyScalar) -> Point:
    """Return `by * G`, the identity included."""
    out = bytearray(SIZE)
    if _sodium.crypto_scalarmult_ristretto255_base(_ffi.from_buffer(out), _raw(by)) != 0:
        return IDENTITY
    return Point(bytes(out))


# --- scalars that may be secret ---


def secret_add(left: AnyScalar, right: AnyScalar) -> SecretBytes:
    """Return `left + right` modulo L."""
    return _arithmetic(_sodium.crypto_core_ristretto255_scalar_add, left, right)


def secret_subtract(left: AnyScalar, right: AnyScalar) -> SecretBytes:
    """Return `left - right` modulo L."""
    return _arithmetic(_sodium.crypto_core_ristretto255_scalar_sub, left, right)


def secret_multiply(left: AnyScalar, right: AnyScalar) -> SecretBytes:
    """Return `left * right` modulo L."""
    return _arithmetic(_sodium.crypto_core_ristretto255_scalar_mul, left, right)


def disclose(value: SecretBytes) -> Scalar:
    """Return a secret scalar as a public one: for the response of a proof, which its nonce hides."""
    return Scalar(value.reveal())


# --- calls into the library ---


def _raw(value: AnyScalar) -> bytes:
    return _sized(value.reveal() if isinstance(value, SecretBytes) else value)


def _sized(raw: bytes) -> bytes:
    if len(raw) != SIZE:
        raise BadKey("points and scalars have 32 bytes")
    return raw


def _take(out: bytearray) -> SecretBytes:
    secret = SecretBytes(out)
    out[:] = bytes(SIZE)
    return secret


def _reduce(wide: bytes) -> SecretBytes:
    if len(wide) != WIDE:
        raise BadKey("reduction takes 64 bytes")
    out = bytearray(SIZE)
    _sodium.crypto_core_ristretto255_scalar_reduce(_ffi.from_buffer(out), wide)
    return _take(out)


def _combine(operation: Any, left: Point, right: Point) -> Point:
    out = bytearray(SIZE)
    if operation(_ffi.from_buffer(out), _sized(left), _sized(right)) != 0:
        raise BadKey("not the encoding of a group element")
    return Point(bytes(out))


def _arithmetic(operation: Any, left: AnyScalar, right: AnyScalar) -> SecretBytes:
    out = bytearray(SIZE)
    operation(_ffi.from_buffer(out), _raw(left), _raw(right))
    return _take(out)
