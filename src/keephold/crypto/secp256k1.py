"""secp256k1: keys that contracts own on other ledgers. ECDSA (RFC 6979) and Schnorr (BIP-340), by libsecp256k1.

Both are deterministic here: every worker makes the same signature, and no randomness of a machine decides about a
nonce. ECDSA signatures have a low s (BIP-146), so that nobody has a second spelling, and a recovery id, as Ethereum
wants it. BIP-340 takes 32 zero bytes as auxiliary randomness, which the standard allows; what that randomness would
add, cover against faults and side channels of the signing machine, is then missing.

Messages are other ledgers' digests, so there is no label here: what separates them from one another is that format.
One key signs under one scheme only: the derivation names it (`sealing.owned_keys`).

The library is coincurve's build of libsecp256k1, reached through its bindings: coincurve's own classes turn scalars
into Python integers, whose arithmetic takes a time that depends on them. Hence the exact pin of its version.
"""

from __future__ import annotations

from typing import Any, Final, final

from coincurve._libsecp256k1 import ffi as untyped_ffi
from coincurve._libsecp256k1 import lib as untyped_lib
from coincurve.context import GLOBAL_CONTEXT

from keephold.base.errors import BadKey, BadSignature
from keephold.crypto.opaque import Opaque
from keephold.crypto.secret import SecretBytes

DIGEST_SIZE: Final = 32
"""Bytes of what is signed, under either scheme; and of a scalar."""

ECDSA_SIZE: Final = 65
"""Bytes of an ECDSA signature: r, s, and the recovery id, 0 to 3."""

SCHNORR_SIZE: Final = 64
"""Bytes of a BIP-340 signature."""

_ffi: Final[Any] = untyped_ffi
_lib: Final[Any] = untyped_lib
_context: Final[Any] = GLOBAL_CONTEXT.ctx
"""Blinded with randomness when it was made, which changes times, never signatures."""

_UNCOMPRESSED: Final = 65
_X_ONLY: Final = 32
_KEYPAIR: Final = 96
_NO_AUXILIARY: Final = bytes(32)


@final
class CurveKey(Opaque):
    """A private scalar. It signs; it never shows itself."""

    __slots__ = ("_pair", "public", "x_only")

    def __init__(self, scalar: SecretBytes) -> None:
        """Take 32 big-endian bytes; the scalar stays the caller's to wipe.

        Raises:
            BadKey: zero, not below the order of the group, not 32 bytes, or wiped.
        """
        pair = _ffi.new("secp256k1_keypair *")
        if len(scalar) != DIGEST_SIZE or not _lib.secp256k1_keypair_create(_context, pair, scalar.reveal()):
            raise BadKey("not a scalar of secp256k1")
        self._pair: Final = pair
        point, x_only = _ffi.new("secp256k1_pubkey *"), _ffi.new("secp256k1_xonly_pubkey *")
        _lib.secp256k1_keypair_pub(_context, point, pair)
        _lib.secp256k1_keypair_xonly_pub(_context, x_only, _ffi.NULL, pair)
        self.public: Final = _spelled(point)
        """65 bytes: 4, x, y. Either coordinate is read off without arithmetic."""
        self.x_only: Final = _spelled_x(x_only)
        """32 bytes: x, as BIP-340 names keys."""

    def sign_ecdsa(self, digest: bytes) -> bytes:
        """Return the 65-byte signature over a 32-byte digest; always the same one.

        Raises:
            BadKey: the digest is of another size.
        """
        _check_digest(digest)
        signature, scalar = _ffi.new("secp256k1_ecdsa_recoverable_signature *"), _ffi.new("unsigned char[32]")
        try:
            _lib.secp256k1_keypair_sec(_context, scalar, self._pair)
            # No nonce function given: the library's own, which is RFC 6979 with HMAC-SHA256.
            if not _lib.secp256k1_ecdsa_sign_recoverable(_context, signature, digest, scalar, _ffi.NULL, _ffi.NULL):
                raise BadKey("nothing was signed")
        finally:
            _ffi.buffer(scalar)[:] = bytes(DIGEST_SIZE)
        spelled, recovery = _ffi.new("unsigned char[64]"), _ffi.new("int *")
        _lib.secp256k1_ecdsa_recoverable_signature_serialize_compact(_context, spelled, recovery, signature)
        return bytes(_ffi.buffer(spelled)) + bytes((recovery[0],))

    def sign_schnorr(self, digest: bytes) -> bytes:
        """Return the 64-byte BIP-340 signature over a 32-byte digest; always the same one.

        Raises:
            BadKey: the digest is of another size.
        """
        _check_digest(digest)
        signature = _ffi.new("unsigned char[64]")
        if not _lib.secp256k1_schnorrsig_sign32(_context, signature, digest, self._pair, _NO_AUXILIARY):
            raise BadKey("nothing was signed")
        return bytes(_ffi.buffer(signature))

    def __del__(self) -> None:
        pair = getattr(self, "_pair", None)
        if pair is not None:
            _ffi.buffer(pair)[:] = bytes(_KEYPAIR)


def verify_ecdsa(public: bytes, signature: bytes, digest: bytes) -> None:
    """Return when a 65-byte signature is by the 65-byte `public` over `digest`, spelled as `sign_ecdsa` spells it.

    Raises:
        BadSignature: by another key, over something else, with a high s or another recovery id, or malformed.
    """
    if len(signature) != ECDSA_SIZE or len(digest) != DIGEST_SIZE or signature[64] > 3:
        raise BadSignature("not an ECDSA signature over a digest")
    given, plain = _ffi.new("secp256k1_ecdsa_recoverable_signature *"), _ffi.new("secp256k1_ecdsa_signature *")
    point = _ffi.new("secp256k1_pubkey *")
    is_good = (
        _lib.secp256k1_ecdsa_recoverable_signature_parse_compact(_context, given, signature[:64], signature[64])
        and _lib.secp256k1_ecdsa_recover(_context, point, given, digest)
        and _spelled(point) == public
        and _lib.secp256k1_ecdsa_recoverable_signature_convert(_context, plain, given)
        # Refuses a high s, which recovery takes.
        and _lib.secp256k1_ecdsa_verify(_context, plain, digest, point)
    )
    if not is_good:
        raise BadSignature("not signed by this key")


def verify_schnorr(public: bytes, signature: bytes, digest: bytes) -> None:
    """Return when a 64-byte BIP-340 signature is by the 32-byte `public` over `digest`.

    Raises:
        BadSignature: by another key, over something else, or malformed; or no key.
    """
    if (len(public), len(signature), len(digest)) != (_X_ONLY, SCHNORR_SIZE, DIGEST_SIZE):
        raise BadSignature("not a BIP-340 signature over a digest")
    point = _ffi.new("secp256k1_xonly_pubkey *")
    is_good = _lib.secp256k1_xonly_pubkey_parse(_context, point, public) and _lib.secp256k1_schnorrsig_verify(
        _context, signature, digest, DIGEST_SIZE, point
    )
    if not is_good:
        raise BadSignature("not signed by this key")


def _check_digest(digest: bytes) -> None:
    if len(digest) != DIGEST_SIZE:
        raise BadKey(f"{DIGEST_SIZE} bytes are signed here, a digest, not {len(digest)}")


def _spelled(point: Any) -> bytes:
    spelled, size = _ffi.new("unsigned char[65]"), _ffi.new("size_t *", _UNCOMPRESSED)
    _lib.secp256k1_ec_pubkey_serialize(_context, spelled, size, point, _lib.SECP256K1_EC_UNCOMPRESSED)
    return bytes(_ffi.buffer(spelled))


def _spelled_x(point: Any) -> bytes:
    spelled = _ffi.new("unsigned char[32]")
    _lib.secp256k1_xonly_pubkey_serialize(_context, spelled, point)
    return bytes(_ffi.buffer(spelled))
