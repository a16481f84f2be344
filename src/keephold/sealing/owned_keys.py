"""The keys that a contract owns: derived from its signing seed, used inside its worker, read by nobody.

    seed ── HKDF: network, contract ── root ── HKDF: scheme, label, path ── one private key

The seed comes on a line of its own that names no key epoch (`protocol.lines`), so a public key stays what it is for as
long as the MasterKey lives. Every part of a name is length-prefixed: no two names meet, and knowing the private key of
one tells nothing about the seed or the others, "derived" ones included: unlike BIP-32 without hardening, nobody
derives public keys from a public key.

A scalar of secp256k1 has to be below the order of the group: candidates that are not, one in 2^128, are passed over,
in the same order by every worker.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Final, final

from keephold.base.errors import BadKey
from keephold.base.ids import ContractId, NetworkId
from keephold.crypto import ed25519, labels, secp256k1
from keephold.crypto.hashing import number
from keephold.crypto.kdf import derive
from keephold.crypto.opaque import Opaque
from keephold.crypto.secret import SecretBytes
from keephold.protocol.messages import KeyName

_REMEMBERED: Final = 1024
"""Public keys kept."""

_ATTEMPTS: Final = 16
"""Candidates for a scalar."""


@final
class OwnedKeys(Opaque):
    """The signing keys of one contract, all of them."""

    __slots__ = ("_public", "_root")

    def __init__(self, seed: SecretBytes, network: NetworkId, contract: ContractId) -> None:
        """Derive from the 32-byte seed of the contract's signing line; it stays the caller's to wipe."""
        self._root: Final = derive(seed, labels.OWNED_ROOT, network, contract)
        self._public: Final[dict[KeyName, bytes]] = {}

    def public(self, name: KeyName) -> bytes:
        """Return a public key: 65 bytes (4, x, y) for `secp256k1`, 32 for `bip340` (x) and for `ed25519`."""
        known = self._public.get(name)
        if known is None:
            if len(self._public) >= _REMEMBERED:
                self._public.clear()
            known = self._public[name] = self._derived_public(name)
        return known

    def sign(self, name: KeyName, message: bytes) -> bytes:
        """Return the signature of a key: 65 bytes (r, s, recovery id) for `secp256k1`, 64 for the others.

        Raises:
            BadKey: `secp256k1` and `bip340` sign 32 bytes.
        """
        match name.scheme:
            case "secp256k1":
                return self._curve_key(name).sign_ecdsa(message)
            case "bip340":
                return self._curve_key(name).sign_schnorr(message)
            case "ed25519":
                return self._edwards_key(name).sign(message)

    def _derived_public(self, name: KeyName) -> bytes:
        match name.scheme:
            case "secp256k1":
                return self._curve_key(name).public
            case "bip340":
                return self._curve_key(name).x_only
            case "ed25519":
                return self._edwards_key(name).public

    def _curve_key(self, name: KeyName) -> secp256k1.CurveKey:
        for attempt in range(_ATTEMPTS):
            material = self._material(name, attempt)
            with suppress(BadKey):
                return secp256k1.CurveKey(material)
        raise BadKey("no candidate is a scalar")

    def _edwards_key(self, name: KeyName) -> ed25519.ValidatorKey:
        return ed25519.ValidatorKey(self._material(name, 0))

    def _material(self, name: KeyName, attempt: int) -> SecretBytes:
        path = (number(len(name.path)), *(step.encode() for step in name.path))
        return derive(self._root, labels.OWNED_KEY, name.scheme.encode(), name.label.encode(), *path, number(attempt))


def verify_owned(name: KeyName, public: bytes, signature: bytes, message: bytes) -> None:
    """Return when a signature is by the key that `public` spells, under the name's scheme.

    Raises:
        BadKey, BadSignature: it is not.
    """
    match name.scheme:
        case "secp256k1":
            secp256k1.verify_ecdsa(public, signature, message)
        case "bip340":
            secp256k1.verify_schnorr(public, signature, message)
        case "ed25519":
            ed25519.verify(public, signature, message)
