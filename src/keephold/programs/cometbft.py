"""A node that runs CometBFT: its configuration and its assembly.

The node starts CometBFT, and both live and end together: when one dies the node ends with the reason, and
`programs.supervisor` starts both again, or does not. CometBFT's own directory is `HOME/cometbft`, written by the node
at each start.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import msgspec

from keephold.base.clock import SystemClock
from keephold.base.errors import ConfigurationError, KeepholdError
from keephold.chain.chain_id import chain_id
from keephold.crypto.secret import SecretBytes
from keephold.ledger.application import LedgerApplication
from keephold.ledger.engines.statesync import Origin
from keephold.ledger.snapshots.service import Nowhere
from keephold.ledger.snapshots.shelf import Shelf
from keephold.programs.comet_binary import require
from keephold.programs.history import snapshots_of

if TYPE_CHECKING:
    from keephold.ledger.engines.cometbft.adapter import Founding
    from keephold.ledger.engines.cometbft.engine import CometEngine, Consensus
    from keephold.ledger.engines.cometbft.home import StateSync
    from keephold.programs.joining import Source

_LOG: Final = logging.getLogger("keephold.node")
DIRECTORY: Final = "cometbft"
"""CometBFT's own, in the node's home."""

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
    with cluster_extra():
        from keephold.ledger.engines.cometbft.engine import CometEngine
        from keephold.ledger.engines.cometbft.home import CometHome, Settings
        from keephold.ledger.engines.cometbft.lightrpc import LightRpc
        from keephold.ledger.engines.cometbft.process import CometProcess
    binary = require(config.binary)
    _warn_of_age(ledger)
    founding = founding_of(ledger)
    comet = CometHome((home / DIRECTORY).absolute())
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
        ledger.info().height,
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
def cluster_extra() -> Iterator[None]:
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
