"""The founding of a production network of several validators: from a law to each validator's directory.

All keys are drawn where this runs, so whoever runs it could be every validator: it is for one operator with several
machines; independent ones use `programs.membership`. Validators hold no enclave's secret; together they can stop the
network, not read it.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from msgspec.structs import replace

from keephold.base.errors import ConfigurationError
from keephold.chain.chain_id import chain_id
from keephold.client.pinned import PinnedNetwork
from keephold.programs import members as directories
from keephold.programs.cometbft import CometConfig
from keephold.programs.law import constitution
from keephold.programs.law_tables import Law
from keephold.programs.members import Address, Member, draw
from keephold.protocol.genesis import Genesis, network_id

PINNED: Final = "network"
"""Directory for clients: the genesis and a node's URL."""

HEARTBEAT: Final = 30.0
"""Seconds between blocks without transactions."""

MAX_VALIDATORS: Final = 100
_MAX_PORT: Final = 65_535


def is_host(text: str) -> bool:
    """Whether this is an IPv4 address or a name."""
    return bool(text) and set(text.lower()) <= set("abcdefghijklmnopqrstuvwxyz0123456789.-")


@dataclass(frozen=True, slots=True)
class Plan:
    """Where the validators of a new network are to be."""

    hosts: tuple[str, ...]
    """Address or name of each validator's machine; one host may stand there more than once."""
    api_port: int = 7707
    p2p_port: int = 26656
    """Of the first validator on a host; the next one there has the next port."""
    rpc_port: int = 26757
    """Of CometBFT's own RPC, on loopback, likewise; 0: closed everywhere."""
    binary: str = "cometbft"

    def addresses(self) -> list[Address]:
        """Return where each node listens, no port of a host twice.

        Raises:
            ConfigurationError: too many or no validators, a host that is none, or ports that run out.
        """
        if not 1 <= len(self.hosts) <= MAX_VALIDATORS:
            raise ConfigurationError(f"--validators {len(self.hosts)} is not in 1..{MAX_VALIDATORS}")
        seen: dict[str, int] = {}
        addresses = []
        for host in self.hosts:
            if not is_host(host):
                raise ConfigurationError(f"--host {host!r} is neither an IPv4 address nor a name")
            place = seen.get(host, 0)
            seen[host] = place + 1
            rpc_port = self.rpc_port + place if self.rpc_port else 0
            addresses.append(Address(self.api_port + place, self.p2p_port + place, host, rpc_port))
        listening = [(at.host, port) for at in addresses for port in at.ports]
        for host, port in listening:
            if not 1 <= port <= _MAX_PORT:
                raise ConfigurationError(f"port {port} of {host} is not in 1..{_MAX_PORT}")
        if len(set(listening)) != len(listening):
            raise ConfigurationError("--port, --p2p-port, --rpc-port: two nodes of one host would want the same port")
        return addresses


@dataclass(frozen=True, slots=True)
class Founded:
    """A network on paper: directories, and nothing that runs."""

    genesis: Genesis
    members: tuple[Path, ...]
    """Each validator's directory, to be taken to its machine."""
    urls: tuple[str, ...]
    rpcs: tuple[str, ...]
    """Of CometBFT's own RPC, each as its own host calls it; empty: closed."""
    pinned: Path
    """For clients: `--network` of every command."""


def found(directory: Path, law: Law, plan: Plan, *, now_ns: int | None = None) -> Founded:
    """Draw the validators' keys and write genesis and configurations: `v0`, `v1`, … and `network`, in a new directory.

    Everything that can be refused is refused before anything is written: a directory that a failure left would hold
    keys of a network that does not exist.

    Raises:
        ConfigurationError: law or plan cannot be lived under, or the directory has something in it.
    """
    addresses = plan.addresses()
    network_id(genesis_of(law, [number.to_bytes(32) for number in range(len(addresses))], 1))
    try:
        if directory.exists() and any(directory.iterdir()):
            raise ConfigurationError(f"--out {directory} is not empty: a network is founded once")
        members = [draw(directory / f"v{number}") for number in range(len(addresses))]
        pinned = directory / PINNED
        pinned.mkdir()
        genesis = genesis_of(law, [member.public_key for member in members], now_ns or time.time_ns())
        directories.found(members, addresses, genesis, CometConfig(binary=plan.binary), HEARTBEAT)
        urls = tuple(f"http://{at.host}:{at.api_port}" for at in addresses)
        PinnedNetwork(pinned, urls[0], genesis, urls[1:]).write()
    except OSError as error:
        raise ConfigurationError(f"--out {directory}: {error.strerror}") from error
    return Founded(
        genesis, tuple(member.directory for member in members), urls, tuple(at.rpc for at in addresses), pinned
    )


def join(directory: Path, pinned: PinnedNetwork, nodes: Sequence[str], at: Address, options: CometConfig) -> Member:
    """Draw the keys of a node that joins a running network, and write its configuration, in a new directory.

    Args:
        directory: Of the node.
        pinned: The network: its genesis is what the node believes.
        nodes: URLs of nodes by whose API it joins; none: the pinned one.
        at: Where it listens.
        options: With the other nodes' CometBFT as peers.

    Raises:
        ConfigurationError: the directory has something in it, or no peers are named.
    """
    options = replace(options, join=tuple(nodes) or pinned.urls)
    try:
        if directory.exists() and any(directory.iterdir()):
            raise ConfigurationError(f"--out {directory} is not empty: a node joins once")
        if not options.peers:
            raise ConfigurationError("--peer ID@HOST:PORT: at least one node of the network")
        member = draw(directory)
        directories.join(member, at, pinned.genesis, options, HEARTBEAT)
    except OSError as error:
        raise ConfigurationError(f"--out {directory}: {error.strerror}") from error
    return member


def genesis_of(law: Law, validators: Sequence[bytes], now_ns: int) -> Genesis:
    """Return the genesis of a law, its validators at equal power."""
    return speakable(Genesis(law.name, now_ns, bytes.fromhex(law.guest), constitution(law, validators)))


def speakable(genesis: Genesis) -> Genesis:
    """Return the genesis, some nanoseconds later if need be: so that the network's chain id begins with no hyphen.

    One in 64 would, and CometBFT's commands take such a word for an option of theirs.
    """
    while chain_id(network_id(genesis)).startswith("-"):
        genesis = replace(genesis, time_ns=genesis.time_ns + 1)
    return genesis
