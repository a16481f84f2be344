"""Keys that a contract owns: named here, held by its worker. No private byte is ever a value in contract code.

A `Key` is a name with a public key. Its context looks the public key up; `Call.release` asks for a signature, which is
made outside, after the ledger accepted the call. So there is nothing here that could be printed, stored or sent.

Keys are declared by being used: the ABI lists every `ctx.key("label", "scheme")` in the source whose label and scheme
are literals, and no other key exists for the contract.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Literal, final, get_args

from keephold.contract.errors import ContractTypeError
from keephold.contract.text import Json, canonical

Scheme = Literal["secp256k1", "bip340", "ed25519"]
"""How a key signs.

| scheme | signs | public key | signature |
|---|---|---|---|
| `secp256k1` (ECDSA, RFC 6979) | a digest of 32 bytes | 65 bytes: 4, x, y | 65 bytes: r, s (low), recovery id |
| `bip340` (Schnorr on secp256k1) | a digest of 32 bytes | 32 bytes: x | 64 bytes |
| `ed25519` (RFC 8032) | up to 4096 bytes | 32 bytes | 64 bytes |
"""

SCHEMES: Final[tuple[str, ...]] = get_args(Scheme)
MAX_NAME: Final = 96
"""Characters of a label, of a step of a path, and of a topic."""
MAX_PATH: Final = 8
"""Steps of a path."""
MAX_MESSAGE: Final = 4096
"""Bytes to sign."""
MAX_READERS: Final = 64
"""Accounts that may read one signature."""
DIGEST: Final = 32
"""Bytes that `secp256k1` and `bip340` sign."""

Lookup = Callable[[str], str]
"""Takes a key's spelling, returns its public key in hexadecimal digits."""


@final
class Key:
    """One key of the contract. `ctx.key` makes it; it is good for the call or view that it was made in."""

    __slots__ = ("_lookup", "label", "path", "scheme")

    def __init__(self, lookup: Lookup, label: str, scheme: Scheme, path: tuple[str, ...] = ()) -> None:
        """For `ctx.key` and `derive`.

        Raises:
            ContractTypeError: no such scheme, or a name that is none.
        """
        if scheme not in SCHEMES:
            raise ContractTypeError(f"a key's scheme is one of {', '.join(SCHEMES)}")
        for name in (label, *path):
            check_name("a key's label or step", name)
        if len(path) > MAX_PATH:
            raise ContractTypeError(f"a key's path has at most {MAX_PATH} steps")
        self._lookup: Final = lookup
        self.label: Final = label
        self.scheme: Final[Scheme] = scheme
        self.path: Final = path

    @property
    def public(self) -> bytes:
        """The public key: 65 bytes for `secp256k1`, 32 for the others; the same for as long as the contract lives."""
        return bytes.fromhex(self._lookup(self.spelled))

    def derive(self, step: str) -> Key:
        """Return another key, named by one more step: for each user, deposit, purpose its own.

        Whoever learns a derived private key knows nothing about this one, nor the other way round.

        Raises:
            ContractTypeError: a step that is no name, or too many.
        """
        return Key(self._lookup, self.label, self.scheme, (*self.path, step))

    @property
    def spelled(self) -> str:
        """Scheme, label and path as JSON."""
        return canonical([self.scheme, self.label, list[Json](self.path)])

    def __repr__(self) -> str:
        return f"Key({'/'.join((self.label, *self.path))}, {self.scheme})"


def check_name(what: str, name: object) -> str:
    """Return a name: 1 to 96 printable ASCII characters.

    Raises:
        ContractTypeError: it is none.
    """
    if not isinstance(name, str) or not 0 < len(name) <= MAX_NAME or not (name.isascii() and name.isprintable()):
        raise ContractTypeError(f"{what} is 1 to {MAX_NAME} printable ASCII characters")
    return name


def check_message(key: Key, message: object) -> bytes:
    """Return a message that the key's scheme signs.

    Raises:
        ContractTypeError: no bytes, or of a size that it does not sign.
    """
    if not isinstance(message, bytes):
        raise ContractTypeError("what is signed is bytes")
    if key.scheme != "ed25519" and len(message) != DIGEST:
        raise ContractTypeError(f"{key.scheme} signs a digest of {DIGEST} bytes, not {len(message)}")
    if len(message) > MAX_MESSAGE:
        raise ContractTypeError(f"at most {MAX_MESSAGE} bytes are signed, not {len(message)}")
    return message
