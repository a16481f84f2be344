"""A node that runs CometBFT: its configuration, its assembly, and the founding of a network of several.

The node starts CometBFT, and both live and end together: when one dies the node ends with the reason, and
`programs.supervisor` starts both again, or does not. CometBFT's own directory is `HOME/cometbft`, written by the node
at each start.

Founding a network of N validators takes two steps, because its genesis names them: `draw` makes the keys of each, and
`found` writes genesis and configuration to each one's directory.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import msgspec
from msgspec.structs import replace

from keephold.base.clock import SystemClock
from keephold.base.errors import ConfigurationError, KeepholdError
from keephold.chain.chain_id import chain_id
from keephold.crypto.ed25519 import ValidatorKey
from keephold.crypto.secret import SecretBytes
from keephold.ledger.application import LedgerApplication
from keephold.ledger.engines.statesync import Origin
from keephold.ledger.snapshots.service import Nowhere
from keephold.ledger.snapshots.shelf import Shelf
from keephold.programs.comet_binary import require
from keephold.programs.history import HistoryConfig, snapshots_of
from keephold.protocol.codec import encode
from keephold.protocol.genesis import Genesis

if TYPE_CHECKING:
    from keephold.ledger.engines.cometbft.adapter import Founding
    from keephold.ledger.engines.cometbft.engine import CometEngine, Consensus
    from keephold.ledger.engines.cometbft.home import StateSync
    from keephold.programs.joining import Source

_LOG: Final = logging.getLogger("keephold.node")
_DIRECTORY: Final = "cometbft"
_SEED: Final = "validator.seed"
_GENESIS: Final = "genesis.bin"
_LOOPBACK: Final = "127.0.0.1"
_HOME: Final = "home"
CONFIG: Final = "node.toml"
"""The node's configuration, in its member's directory."""


HISTORY: Final = HistoryConfig(snapshot_interval=1000)
"""Of a node of several: all history, and a snapshot for newcomers now and then."""

Listening = Annotated[str, msgspec.Meta(pattern=r"^([A-Za-z0-9.-]+:[0-9]{1,5})?$")]
"""`HOST:PORT`, or nothing: closed."""


class CometConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`[cometbft]` in `node.toml`."""

    binary: str = "cometbft"
    """Path or name of the CometBFT binary, v0.38."""
    host: str = "127.0.0.1"
    """Address to listen on for other nodes."""
    port: Annotated[int, msgspec.Meta(ge=1, le=65_535)] = 26656
    peers: tuple[str, ...] = ()
    """`ID@HOST:PORT` of other nodes."""
    commit: Annotated[float, msgspec.Meta(ge=0)] = 0.3
    """Seconds to wait for late votes before the next block begins."""
    log: str = "error"
    """CometBFT's log level."""
    rpc: Listening = ""
    """`HOST:PORT` for CometBFT's own RPC: `cometbft light`, `curl`. It asks nobody who he is: keep it on loopback."""
    prometheus: Listening = ""
    """`HOST:PORT` for CometBFT's own metrics."""
    join: tuple[str, ...] = ()
    """URLs of nodes by whose API a node without blocks joins: it restores a snapshot instead of replaying history."""


def open_comet_engine(
    ledger: LedgerApplication, home: Path, seed: SecretBytes, config: CometConfig, heartbeat: float, shelf: Shelf
) -> CometEngine:
    """Return the engine of a ledger, with a CometBFT process that starts with it.

    Args:
        ledger: The application.
        home: The node's.
        seed: Of the validator's key; a key that is none of the validators' makes a node that only follows.
        config: `[cometbft]`.
        heartbeat: Seconds between blocks without transactions.
        shelf: Snapshots of the ledger.

    Raises:
        ConfigurationError: no such binary or an unsupported one, the extra `cluster` is not installed, or the directory
            is damaged.
        UnavailableError: the nodes to join by do not answer.
        ChainRefused: what they answer does not follow from the genesis.
    """
    with _cluster_extra():
        from keephold.ledger.engines.cometbft.engine import CometEngine
        from keephold.ledger.engines.cometbft.home import CometHome, Settings
        from keephold.ledger.engines.cometbft.lightrpc import LightRpc
        from keephold.ledger.engines.cometbft.process import CometProcess
    binary = require(config.binary)
    _warn_of_age(ledger)
    founding = founding_of(ledger)
    comet = CometHome((home / _DIRECTORY).absolute())
    consensus: Consensus = CometProcess(binary.path, comet.directory)
    origin: Origin = Nowhere()
    sync = None
    if config.join:
        # Only a node that joins follows others: the rest starts sooner without a client's libraries.
        from keephold.programs.joining import JoiningConsensus, Source

        origin = source = Source(ledger.genesis, config.join)
        consensus = JoiningConsensus(consensus, LightRpc(comet.light_socket, founding, source), source)
        sync = _trusted(ledger, source) if ledger.is_untouched else None
    comet.write(
        founding,
        Settings(
            config.host,
            config.port,
            config.peers,
            config.commit,
            heartbeat,
            config.log,
            config.rpc,
            config.prometheus,
            sync,
        ),
        seed,
    )
    if sync is not None:
        # After `write`, which refuses blocks without the record of what the validator signed.
        comet.begin_anew()
    return CometEngine(
        ledger,
        home,
        founding,
        consensus,
        abci_socket=comet.abci_socket,
        rpc_socket=comet.rpc_socket,
        snapshots=snapshots_of(ledger, home, shelf, origin),
        origin=origin,
    )


def _trusted(ledger: LedgerApplication, source: Source) -> StateSync:
    """Return the header at which state sync begins to believe: the newest that follows from the genesis."""
    from keephold.ledger.engines.cometbft.home import StateSync

    try:
        header = source.newest().signed.header
    except KeepholdError:
        source.close()
        raise
    return StateSync(header.height, header.hash(), ledger.genesis.law.timing.trusting_period_ns)


@contextmanager
def _cluster_extra() -> Iterator[None]:
    """Say what to install where an import inside fails."""
    try:
        yield
    except ImportError as error:
        raise ConfigurationError("engine: cometbft needs protobuf: install keephold[cluster]") from error


def founding_of(ledger: LedgerApplication) -> Founding:
    """Return what CometBFT's genesis states of a network.

    CometBFT gives block 1 the time of its genesis, and our rules want time to rise above the network's: one nanosecond.
    """
    from keephold.ledger.engines.cometbft.adapter import Founding

    return Founding(chain_id(ledger.network), ledger.genesis.time_ns + 1, ledger.validators())


def _warn_of_age(ledger: LedgerApplication) -> None:
    """Say so when the chain may begin too late to be followed. A node that joins an old chain cannot tell yet.

    Block 1 carries the genesis time, block 2 the time of its making; a light client follows from one to the other only
    within the trusting period.
    """
    genesis = ledger.genesis
    age_ns = SystemClock().now_ns() - genesis.time_ns
    if ledger.info().height == 0 and age_ns > genesis.law.timing.trusting_period_ns:
        _LOG.warning(
            "the genesis is older than its trusting period: if the network has no blocks yet, nobody will be able to "
            "follow it; found it anew"
        )


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
    with _cluster_extra():
        from keephold.ledger.engines.cometbft.home import CometHome

    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    seed = directory / _SEED
    if not seed.exists():
        seed.touch(mode=0o600)
        seed.write_bytes(SecretBytes.random().reveal())
    public = ValidatorKey.from_seed(SecretBytes(seed.read_bytes())).public
    return Member(directory, public, CometHome(directory / _HOME / _DIRECTORY).node_id())


def check_depth(directory: Path) -> None:
    """Refuse a member's directory that lies too deep for the sockets in it.

    Raises:
        ConfigurationError: that, or the extra `cluster` is not installed.
    """
    with _cluster_extra():
        from keephold.ledger.engines.cometbft.home import CometHome
        from keephold.ledger.engines.cometbft.server import check_path
    check_path(CometHome((directory / _HOME / _DIRECTORY).absolute()).abci_socket)


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
