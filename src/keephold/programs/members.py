"""The directories of a network's members: each one's keys, genesis and configuration.

Founding a network of N validators takes two steps, because its genesis names them: `draw` makes the keys of each, and
`found` writes genesis and configuration to each one's directory. `join` does the second for one who comes later.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from msgspec.structs import replace

from keephold.base.errors import ConfigurationError
from keephold.crypto.ed25519 import ValidatorKey
from keephold.crypto.secret import SecretBytes
from keephold.programs.cometbft import DIRECTORY, CometConfig, cluster_extra
from keephold.programs.history import HistoryConfig
from keephold.protocol.codec import encode
from keephold.protocol.genesis import Genesis

_SEED: Final = "validator.seed"
_GENESIS: Final = "genesis.bin"
_LOOPBACK: Final = "127.0.0.1"
_HOME: Final = "home"
CONFIG: Final = "node.toml"
"""The node's configuration, in its member's directory."""

HISTORY: Final = HistoryConfig(snapshot_interval=1000)
"""Of a node of several: all history, and a snapshot for newcomers now and then."""


@dataclass(frozen=True, slots=True)
class Member:
    """One validator's directory, with its keys drawn."""

    directory: Path
    public_key: bytes
    """Of the validator: for the genesis."""
    node_id: str
    """Its name among its peers."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where one member's node listens."""

    api_port: int
    p2p_port: int
    host: str = "127.0.0.1"
    rpc_port: int = 0
    """Of CometBFT's own RPC, on the loopback of that machine; 0: closed."""

    @property
    def ports(self) -> tuple[int, ...]:
        """All that this node takes of its host."""
        return (self.api_port, self.p2p_port, *((self.rpc_port,) if self.rpc_port else ()))

    @property
    def rpc(self) -> str:
        """The base URL of CometBFT's own RPC, as its host calls it; empty: closed."""
        return f"http://{_LOOPBACK}:{self.rpc_port}" if self.rpc_port else ""


@dataclass(frozen=True, slots=True)
class Node:
    """One node as others see it."""

    node_id: str
    at: Address


def draw(directory: Path) -> Member:
    """Make a validator's directory and draw its keys; one that exists keeps them.

    Raises:
        ConfigurationError: the extra `cluster` is not installed.
    """
    with cluster_extra():
        from keephold.ledger.engines.cometbft.home import CometHome

    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    seed = directory / _SEED
    if not seed.exists():
        seed.touch(mode=0o600)
        seed.write_bytes(SecretBytes.random().reveal())
    public = ValidatorKey(SecretBytes(seed.read_bytes())).public
    return Member(directory, public, CometHome(directory / _HOME / DIRECTORY).node_id())


def check_depth(directory: Path) -> None:
    """Refuse a member's directory that lies too deep for the sockets in it.

    Raises:
        ConfigurationError: that, or the extra `cluster` is not installed.
    """
    with cluster_extra():
        from keephold.ledger.engines.cometbft.home import CometHome
        from keephold.ledger.engines.cometbft.server import check_path
    check_path(CometHome((directory / _HOME / DIRECTORY).absolute()).abci_socket)


def found(
    members: Sequence[Member],
    addresses: Sequence[Address],
    genesis: Genesis,
    options: CometConfig,
    heartbeat: float,
    history: HistoryConfig = HISTORY,
) -> list[Path]:
    """Write genesis and configuration to each member's directory; return the configurations.

    Paths in a configuration are relative to it, so that a directory may be moved to the machine it is for.

    Args:
        members: All of them.
        addresses: One for each; on one host no port twice.
        genesis: Whose law names validators among the members; the other members only follow.
        options: What all share; host, port and peers are each member's own.
        heartbeat: Seconds between blocks without transactions.
        history: What each of them keeps.

    Raises:
        ConfigurationError: the genesis names a validator who is no member, or two nodes want one port.
    """
    if not {entry.public_key for entry in genesis.law.validators} <= {member.public_key for member in members}:
        raise ConfigurationError("genesis: its validators are not these members")
    ports = [(at.host, port) for at in addresses for port in at.ports]
    if len(set(ports)) != len(ports):
        raise ConfigurationError("two nodes of one host want the same port")
    nodes = [Node(member.node_id, at) for member, at in zip(members, addresses, strict=True)]
    return [
        configure(member, at, nodes, genesis, options, heartbeat, history)
        for member, at in zip(members, addresses, strict=True)
    ]


def configure(
    member: Member,
    at: Address,
    nodes: Sequence[Node],
    genesis: Genesis,
    options: CometConfig,
    heartbeat: float,
    history: HistoryConfig = HISTORY,
) -> Path:
    """Write genesis and configuration of a network's member to its directory; return the configuration.

    Args:
        member: With its keys.
        at: Where its node listens.
        nodes: Those to dial; its own among them is left out.
        genesis: Of the network.
        options: As for `found`.
        heartbeat: Likewise.
        history: Likewise.
    """
    peers = [f"{node.node_id}@{node.at.host}:{node.at.p2p_port}" for node in nodes if node.node_id != member.node_id]
    return _write(member, at, genesis, replace(options, peers=tuple(peers)), heartbeat, history)


def join(
    member: Member,
    at: Address,
    genesis: Genesis,
    options: CometConfig,
    heartbeat: float,
    history: HistoryConfig = HISTORY,
) -> Path:
    """Write the directory of a node that joins a network which runs already; return its configuration.

    It follows, and orders nothing until governance makes its key a validator's.

    Args:
        member: With keys of its own.
        at: Where it listens.
        genesis: Of the network: what it believes, so it is pinned and not asked for.
        options: With `peers`, other nodes' CometBFT, and `join`, the API of some of them.
        heartbeat: Seconds between blocks without transactions, as the other nodes have it.
        history: What it keeps.

    Raises:
        ConfigurationError: nobody is named to join by.
    """
    if not options.peers or not options.join:
        raise ConfigurationError("a node joins by the API of one node or more, and their CometBFT as peers")
    return _write(member, at, genesis, options, heartbeat, history)


def _write(
    member: Member, at: Address, genesis: Genesis, options: CometConfig, heartbeat: float, history: HistoryConfig
) -> Path:
    (member.directory / _GENESIS).write_bytes(encode(genesis))
    path = member.directory / CONFIG
    path.write_text(_node_toml(at, options, heartbeat, history), encoding="utf-8")
    return path


def _node_toml(at: Address, options: CometConfig, heartbeat: float, history: HistoryConfig) -> str:
    node: dict[str, object] = {
        "genesis": _GENESIS,
        "home": _HOME,
        "validator_key": _SEED,
        "host": at.host,
        "port": at.api_port,
        "heartbeat": heartbeat,
        "engine": "cometbft",
    }
    comet: dict[str, object] = {
        "binary": options.binary,
        "host": at.host,
        "port": at.p2p_port,
        "peers": list(options.peers),
        "commit": options.commit,
        "log": options.log,
        "rpc": f"{_LOOPBACK}:{at.rpc_port}" if at.rpc_port else "",
    }
    if options.join:
        comet["join"] = list(options.join)
    kept = {"keep_hours": history.keep_hours, "snapshot_interval": history.snapshot_interval}
    lines = [f"{key} = {json.dumps(value)}" for key, value in node.items()]
    lines += ["", "[cometbft]", *(f"{key} = {json.dumps(value)}" for key, value in comet.items())]
    lines += ["", "[history]", *(f"{key} = {json.dumps(value)}" for key, value in kept.items())]
    return "\n".join(lines) + "\n"
