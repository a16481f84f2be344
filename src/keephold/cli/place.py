"""Where things are on this machine: the home directory, the network in use, accounts and their names.

$KEEPHOLD_HOME      ~/.keephold by default
keystore.json     accounts, encrypted
devnet            link to the running devnet's directory: the default network
"""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final

from cyclopts import Parameter

from keephold.base.errors import ConfigurationError, InputError, KeystoreError
from keephold.client.account import Account
from keephold.client.keystore import Keystore, read_directory
from keephold.client.pinned import PinnedNetwork, devnet_link, home
from keephold.contract.address import Address
from keephold.crypto.secret import SecretBytes

DEFAULT_ACCOUNT: Final = "alice"
"""Of a devnet."""

_MAX_PASSWORD: Final = 1 << 12


@Parameter(name="*")
@dataclass(frozen=True)
class Shared:
    """Options of every command."""

    json: Annotated[bool, Parameter(negative="", help="Print one JSON object instead of text.")] = False


@Parameter(name="*")
@dataclass(frozen=True)
class OnNetwork(Shared):
    """Options of commands that talk to a network."""

    network: Annotated[
        Path | None,
        Parameter(env_var="KEEPHOLD_NETWORK", help="Directory of a pinned network (default: the running devnet)."),
    ] = None
    deadline: Annotated[
        float | None, Parameter(help="Seconds to wait for an answer (default: 30; 60 to deploy and to rotate).")
    ] = None

    def seconds(self, usual: float = 30.0) -> float:
        """Return how long to wait for an answer.

        Raises:
            InputError: no time at all.
        """
        if self.deadline is not None and not 0 < self.deadline < math.inf:
            raise InputError("--deadline is a number of seconds, more than 0")
        return usual if self.deadline is None else self.deadline

    def pinned(self) -> PinnedNetwork:
        """Return the network that is meant.

        Raises:
            ConfigurationError: none is known, or its files are malformed.
        """
        directory = self.network or devnet_link()
        if not directory.exists():
            where = f"no network at {self.network}" if self.network else "no devnet runs"
            raise ConfigurationError(f"{where}: start one with `keephold devnet`, or name a pinned one with --network")
        return PinnedNetwork.read(directory.resolve())


@Parameter(name="*")
@dataclass(frozen=True)
class AsAccount(OnNetwork):
    """Options of commands that act for an account."""

    as_: Annotated[str, Parameter(name="--as", help="Account that acts (default: the first one).")] = ""
    keystore: Annotated[Path | None, Parameter(help="Keystore file (default: keystore.json in $KEEPHOLD_HOME).")] = None
    password_file: Annotated[Path | None, Parameter(help="File whose first line is the keystore's password.")] = None

    def account(self, pinned: PinnedNetwork) -> Account:
        """Return the account that acts: a devnet's own by its name, else one of the keystore.

        Raises:
            KeystoreError: no such account, or the keystore does not open.
        """
        devnet = pinned.devnet_keys()
        name = self.as_ or (DEFAULT_ACCOUNT if DEFAULT_ACCOUNT in devnet else "")
        if name in devnet:
            return Account(devnet[name], name)
        path = keystore_path(self.keystore)
        # Whether there is such an account shows without the password: nobody is asked for it in vain.
        stored = read_directory(path).accounts if path.exists() or not name else {}
        if name and name not in stored:
            there = ", ".join([*devnet, *stored]) or "none yet"
            raise KeystoreError(f"no account {name!r} (there: {there})")
        store = Keystore.unlock(path, read_password(self.password_file))
        return Account(store.key(name), name or store.default)


SHARED: Final = Shared()
ON_NETWORK: Final = OnNetwork()
AS_ACCOUNT: Final = AsAccount()
"""What commands take where no option is given."""


def keystore_path(given: Path | None) -> Path:
    """Return the keystore file in use."""
    return given or home() / "keystore.json"


def read_password(file: Path | None, *, twice: bool = False) -> SecretBytes:
    """Return the keystore's password: the first line of a file, or asked for on the terminal.

    Raises:
        KeystoreError: there is neither, or the two spellings differ.
    """
    if file is not None:
        try:
            with file.open("rb") as opened:
                return SecretBytes(opened.read(_MAX_PASSWORD).split(b"\n", 1)[0])
        except OSError as error:
            raise KeystoreError(f"--password-file {file}: {error.strerror}") from error
    if not sys.stdin.isatty():
        raise KeystoreError("the keystore needs a password: give --password-file, as there is no terminal to ask on")
    import getpass

    password = getpass.getpass("keystore password: ")
    if twice and getpass.getpass("the same again: ") != password:
        raise KeystoreError("the two passwords differ")
    return SecretBytes(password.encode())


def names(pinned: PinnedNetwork, keystore: Path | None) -> Mapping[str, Address]:
    """Return every name that means an address here: contracts, keystore accounts, devnet accounts."""
    path = keystore_path(keystore)
    stored = read_directory(path).accounts if path.exists() else {}
    devnet = {name: Address.account(key.public) for name, key in pinned.devnet_keys().items()}
    return {**{name: Address.parse(text) for name, text in stored.items()}, **devnet, **pinned.contracts()}


def contract_address(pinned: PinnedNetwork, given: str) -> Address:
    """Return the contract of a name or an address.

    Raises:
        InputError: neither.
    """
    known = pinned.contracts()
    if given in known:
        return known[given]
    try:
        address = Address.parse(given)
    except ValueError as error:
        there = ", ".join(known) or "none yet"
        raise InputError(f"no contract {given!r} (named here: {there}); as an address: {error}") from None
    if address.kind != "contract":
        raise InputError(f"{given} is an account, not a contract")
    return address
