"""A network as its user knows it: one directory with the genesis, the addresses of nodes, and names for contracts.

The genesis in that directory *is* the pin. It is never fetched from a node: whoever could choose the genesis could
choose everything that is verified under it. A devnet writes such a directory; for any other network its user makes one
from the genesis that he was given.

    genesis.cbor           the canonical genesis
    network.json           {"version": 1, "url": "http://…", "others": ["http://…"]}
    contracts.json         names this user gave to contracts
    devnet-accounts.json   devnets only: seeds in the clear, of accounts that are worth nothing
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final, Literal, TypeVar

import msgspec

from keephold.base.errors import ConfigurationError, EncodingError
from keephold.base.ids import NetworkId
from keephold.client.keystore import replace_file
from keephold.contract.address import Address
from keephold.crypto.secret import SecretBytes
from keephold.crypto.signing import SigningKey
from keephold.protocol.codec import decode, encode
from keephold.protocol.genesis import Genesis, network_id

GENESIS: Final = "genesis.cbor"
NETWORK: Final = "network.json"
CONTRACTS: Final = "contracts.json"
DEVNET_ACCOUNTS: Final = "devnet-accounts.json"

_MAX_FILE: Final = 1 << 20
_WARNING: Final = "Seeds in the clear: accounts of a devnet, worth nothing. Never use them anywhere else."
_Hex = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]


def home() -> Path:
    """Return the directory of this user's keephold files: `$KEEPHOLD_HOME`, else `~/.keephold`."""
    given = os.environ.get("KEEPHOLD_HOME")
    return Path(given) if given else Path.home() / ".keephold"


def devnet_link() -> Path:
    """Return the link that a running devnet keeps to its directory: the network that is meant when none is named."""
    return home() / "devnet"


_Url = Annotated[str, msgspec.Meta(pattern="^https?://")]


class _Network(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    version: Literal[1]
    url: _Url
    others: tuple[_Url, ...] = ()


class _Contracts(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    version: Literal[1] = 1
    contracts: dict[str, str] = {}


class _DevnetAccounts(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    warning: str = _WARNING
    seeds: dict[str, _Hex] = {}


T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class PinnedNetwork:
    """A network that its user pinned."""

    directory: Path
    url: str
    genesis: Genesis
    others: tuple[str, ...] = ()
    """Nodes to ask where the first does not answer."""

    @property
    def urls(self) -> tuple[str, ...]:
        """Every node, in the order in which they are asked."""
        return (self.url, *self.others)

    @classmethod
    def read(cls, directory: Path) -> PinnedNetwork:
        """Return the network of a directory.

        Raises:
            ConfigurationError: a file is missing or malformed.
        """
        raw = _content(directory / GENESIS)
        try:
            genesis = decode(raw, Genesis)
        except EncodingError as error:
            raise ConfigurationError(f"{directory / GENESIS}: {error}") from error
        nodes = _json(directory / NETWORK, _Network)
        return cls(directory, nodes.url, genesis, nodes.others)

    def write(self) -> None:
        """Write genesis and URLs."""
        replace_file(self.directory / GENESIS, encode(self.genesis))
        replace_file(self.directory / NETWORK, msgspec.json.encode(_Network(1, self.url, self.others)) + b"\n")

    @property
    def id(self) -> NetworkId:
        """Return the network id.

        Raises:
            ConfigurationError: the genesis cannot be lived under.
        """
        return network_id(self.genesis)

    def devnet_keys(self) -> Mapping[str, SigningKey]:
        """Return the well-known accounts of a devnet; none on any other network."""
        path = self.directory / DEVNET_ACCOUNTS
        if not self.genesis.simulated or not path.exists():
            return {}
        seeds = _json(path, _DevnetAccounts).seeds
        return {name: SigningKey(SecretBytes(bytes.fromhex(seed))) for name, seed in seeds.items()}

    def contracts(self) -> Mapping[str, Address]:
        """Return the names given to contracts."""
        path = self.directory / CONTRACTS
        if not path.exists():
            return {}
        try:
            return {name: Address.parse(text) for name, text in _json(path, _Contracts).contracts.items()}
        except ValueError as error:
            raise ConfigurationError(f"{path}: {error}") from error

    def name_contract(self, name: str, contract: Address) -> None:
        """Remember a contract under a name; a later one takes the name over."""
        texts = {known: address.text for known, address in self.contracts().items()}
        texts[name] = contract.text
        replace_file(self.directory / CONTRACTS, msgspec.json.encode(_Contracts(1, texts)) + b"\n")


def write_devnet_accounts(directory: Path, seeds: Mapping[str, SecretBytes]) -> None:
    """Write the accounts of a devnet, in the clear."""
    plain = _DevnetAccounts(seeds={name: seed.reveal().hex() for name, seed in seeds.items()})
    replace_file(directory / DEVNET_ACCOUNTS, msgspec.json.format(msgspec.json.encode(plain), indent=2) + b"\n")


def _json(path: Path, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(_content(path), type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ConfigurationError(f"{path}: {error}") from error


def _content(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            raw = file.read(_MAX_FILE + 1)
    except OSError as error:
        raise ConfigurationError(f"{path}: {error.strerror}") from error
    if len(raw) > _MAX_FILE:
        raise ConfigurationError(f"{path} is larger than {_MAX_FILE} bytes")
    return raw
