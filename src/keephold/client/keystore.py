"""The keystore: an account's seeds in one file, under one password.

What is in the clear (names, addresses, the default, how the password is stretched) is there so that accounts can be
listed without a password. It is also the context under which the seeds are sealed, so a file altered anywhere does not
open: an attacker who can write it cannot swap two accounts, nor make another one the default.

1. The key is Argon2id of the password; its parameters are read from the file, and `crypto.password` bounds them.
2. Each time the file is written it draws a fresh `revision`, which is part of the context: no context repeats.
3. A file is replaced whole, never edited: a crash leaves the old one or the new one.

A wrong password and an altered file are one error, because they cannot be told apart.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Final, Literal, Self, final

import msgspec

from keephold.base.errors import KeystoreError, SealBroken
from keephold.contract.address import Address
from keephold.crypto import password as stretching
from keephold.crypto.aead import ContextSealer
from keephold.crypto.labels import SEAL_KEYSTORE
from keephold.crypto.secret import SecretBytes
from keephold.crypto.signing import SEED_SIZE, SigningKey

MAX_FILE: Final = 1 << 20
"""Bytes of a keystore file; one account takes about 170."""

_MODE: Final = 0o600
_Hex = Annotated[str, msgspec.Meta(pattern="^([0-9a-f]{2})*$")]

AccountName = Annotated[str, msgspec.Meta(pattern="^[a-z0-9][a-z0-9_-]{0,31}$")]
"""What an account is called on this machine; lower case, so that no two names differ by case alone."""


class Stretching(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How the password becomes a key."""

    function: Literal["argon2id"]
    salt: _Hex
    memory_kib: int
    iterations: int
    lanes: int


class Directory(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The part of the file that is in the clear."""

    version: Literal[1]
    revision: _Hex
    """16 random bytes, new each time the file is written."""
    stretching: Stretching
    default: str
    """Name of the account that is used when none is named; empty while there is none."""
    accounts: dict[AccountName, str]
    """Name to address."""


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    directory: Directory
    seeds: _Hex
    """Sealed JSON object of name to seed, under the directory as context."""


def check_name(name: str) -> str:
    """Return `name` when an account may be called that.

    Raises:
        KeystoreError: it may not.
    """
    try:
        return msgspec.convert(name, AccountName)
    except msgspec.ValidationError:
        raise KeystoreError(
            f"an account's name has 1 to 32 of a-z, 0-9, '_' and '-', and starts with a letter or digit: not {name!r}"
        ) from None


def read_directory(path: Path) -> Directory:
    """Return what a keystore shows without its password; unauthenticated until it is unlocked.

    Raises:
        KeystoreError: missing, too large or malformed.
    """
    return _read(path).directory


@final
class Keystore:
    """An unlocked keystore. Nothing is written until `save`."""

    def __init__(self, path: Path, key: SecretBytes, method: Stretching) -> None:
        """For `create` and `unlock`."""
        self.path: Final = path
        self._key: Final = key
        self._method: Final = method
        self._seeds: dict[str, SecretBytes] = {}
        self.default = ""

    @classmethod
    def create(cls, path: Path, password: SecretBytes) -> Self:
        """Return a new, empty keystore; takes about half a second and 256 MiB.

        Raises:
            KeystoreError: the file exists, or the password is empty.
        """
        if path.exists():
            raise KeystoreError(f"{path} exists already")
        if not len(password):
            raise KeystoreError("an empty password protects nothing")
        salt = secrets.token_bytes(stretching.SALT_SIZE)
        method = Stretching("argon2id", salt.hex(), stretching.MEMORY_KIB, stretching.ITERATIONS, stretching.LANES)
        return cls(path, _stretch(password, method), method)

    @classmethod
    def unlock(cls, path: Path, password: SecretBytes) -> Self:
        """Return the keystore in `path`; takes about half a second.

        Raises:
            KeystoreError: missing or malformed, or it does not open: wrong password, or an altered file.
        """
        file = _read(path)
        store = cls(path, _stretch(password, file.directory.stretching), file.directory.stretching)
        try:
            plain = _sealer(store._key).open(bytes.fromhex(file.seeds), _context(file.directory))
        except SealBroken:
            raise KeystoreError(f"{path} does not open: wrong password, or the file was altered") from None
        seeds = msgspec.json.decode(plain, type=dict[str, _Hex])
        store._seeds = {name: SecretBytes(bytes.fromhex(seed)) for name, seed in seeds.items()}
        store.default = file.directory.default
        return store

    @property
    def addresses(self) -> Mapping[str, Address]:
        """Return name to address, in order of creation."""
        return {name: Address.account(SigningKey(seed).public) for name, seed in self._seeds.items()}

    def key(self, name: str = "") -> SigningKey:
        """Return an account's key; the default account's when no name is given.

        Raises:
            KeystoreError: no such account.
        """
        return SigningKey(self._seed(name or self.default))

    def new(self, name: str) -> Address:
        """Add an account with a fresh key; the first one becomes the default.

        Raises:
            KeystoreError: the name is taken or no name.
        """
        return self.insert(name, SecretBytes.random(SEED_SIZE))

    def insert(self, name: str, seed: SecretBytes) -> Address:
        """Add an account with a key from elsewhere.

        Raises:
            KeystoreError: the name is taken or no name.
            BadKey: the seed is not 32 bytes.
        """
        if check_name(name) in self._seeds:
            raise KeystoreError(f"there is an account {name!r} already")
        address = Address.account(SigningKey(seed).public)
        self._seeds[name] = seed
        self.default = self.default or name
        return address

    def unsafe_export(self, name: str) -> SecretBytes:
        """Return an account's seed, which is the account: whoever sees it can act as its owner for ever.

        Raises:
            KeystoreError: no such account.
        """
        return self._seed(name)

    def save(self) -> None:
        """Replace the file, readable by its owner only."""
        directory = Directory(
            version=1,
            revision=secrets.token_hex(16),
            stretching=self._method,
            default=self.default,
            accounts={name: address.text for name, address in self.addresses.items()},
        )
        plain = msgspec.json.encode({name: seed.reveal().hex() for name, seed in self._seeds.items()})
        sealed = _sealer(self._key).seal(plain, _context(directory))
        text = msgspec.json.format(msgspec.json.encode(_File(directory, sealed.hex())), indent=2)
        self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        replace_file(self.path, text + b"\n")

    def _seed(self, name: str) -> SecretBytes:
        seed = self._seeds.get(name)
        if seed is None:
            known = ", ".join(self._seeds) or "none yet: `keephold account new NAME`"
            raise KeystoreError(f"no account {name!r} in {self.path} (there: {known})")
        return seed


def replace_file(path: Path, content: bytes) -> None:
    """Write `path` whole or not at all, mode 0600, durable when this returns."""
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")  # created 0600
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fchmod(file.fileno(), _MODE)
            os.fsync(file.fileno())
        Path(temporary).replace(path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            Path(temporary).unlink()
        raise
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def _read(path: Path) -> _File:
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_FILE + 1)
    except FileNotFoundError:
        raise KeystoreError(f"no keystore at {path}: `keephold account new NAME` makes one") from None
    except OSError as error:
        raise KeystoreError(f"{path}: {error.strerror}") from error
    if len(raw) > MAX_FILE:
        raise KeystoreError(f"{path} is larger than a keystore may be ({MAX_FILE} bytes)")
    try:
        return msgspec.json.decode(raw, type=_File)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise KeystoreError(f"{path} is not a keystore: {error}") from error


def _stretch(password: SecretBytes, method: Stretching) -> SecretBytes:
    return stretching.stretch(
        password,
        bytes.fromhex(method.salt),
        memory_kib=method.memory_kib,
        iterations=method.iterations,
        lanes=method.lanes,
    )


def _sealer(key: SecretBytes) -> ContextSealer:
    return ContextSealer(key, SEAL_KEYSTORE)


def _context(directory: Directory) -> bytes:
    return msgspec.json.encode(directory, order="sorted")
