"""CometBFT's directory, derived: written anew at each start from what the node knows, so that nobody edits it.

Two files are CometBFT's own memory and are made only once: the node key, which is the node's name among its peers, and
the state of the validator key: what it signed last. Without the second a validator might sign twice at one height; so
if it is missing while there are blocks, nothing starts.

Both sockets lie in the directory, which is open to this user alone. CometBFT's RPC takes transactions and answers
questions without asking who you are; it listens on an address beside its socket only where the operator named one, and
never offers its unsafe methods.

`double_sign_check_height` stays 0: above, a validator that was restarted at once refuses to start, and the only
validator of a network for ever.
"""

from __future__ import annotations

import base64
import json
import secrets
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from keephold.base.errors import ConfigurationError
from keephold.base.limits import MAX_BLOCK_BYTES, MAX_TRANSACTION
from keephold.chain.validators import Validator
from keephold.crypto.ed25519 import ValidatorKey
from keephold.crypto.secret import SecretBytes
from keephold.ledger.engines.cometbft.adapter import Founding
from keephold.ledger.engines.cometbft.records import write_time
from keephold.ledger.engines.cometbft.rpc import MAX_BATCH, MAX_BODY
from keephold.ledger.engines.mempool import MAX_WAITING, MAX_WAITING_BYTES

_EVIDENCE_AGE_NS: Final = 48 * 3600 * 1_000_000_000
"""As long as light clients trust: who signed twice can be named for that time."""

_HEARTBEAT_S: Final = 30

EVIDENCE_BLOCKS: Final = _EVIDENCE_AGE_NS // (_HEARTBEAT_S * 1_000_000_000)
"""Evidence counts until its block is older than that age *and* lies so many blocks back: as many as a network that
rests makes in the time, at its default heartbeat. So while a network runs, the age decides; and one that stands still
for two days does not forget what was signed before.
"""

_BLOCKS: Final = ("blockstore.db", "state.db", "evidence.db", "tx_index.db", "cs.wal")
"""All in CometBFT's data directory but the state of the validator's key."""

_FIRST_STATE: Final = {"height": "0", "round": 0, "step": 0}


@dataclass(frozen=True, slots=True)
class Settings:
    """What differs between two nodes of a network, and between two networks."""

    p2p_host: str = "127.0.0.1"
    """Address to listen on for other validators."""
    p2p_port: int = 26656
    peers: tuple[str, ...] = ()
    """`ID@HOST:PORT` of other nodes; the id is `node_id`."""
    commit_s: float = 0.3
    """Seconds to wait for late votes before the next height begins."""
    heartbeat_s: float = float(_HEARTBEAT_S)
    """Seconds between blocks without transactions."""
    log_level: str = "error"
    rpc: str = ""
    """`HOST:PORT` on which CometBFT's own RPC listens beside the socket; empty: nowhere."""
    prometheus: str = ""
    """`HOST:PORT` of CometBFT's own metrics; empty: none."""
    sync: StateSync | None = None
    """For a node without blocks, to begin with a snapshot; None: with the first block."""


@dataclass(frozen=True, slots=True)
class StateSync:
    """Where CometBFT's state sync begins to believe: at a header that our own light client followed from genesis."""

    height: int
    hash: bytes
    """Of the header there."""
    trusting_ns: int
    """How long it is believed."""


@dataclass(frozen=True, slots=True)
class CometHome:
    """The directory of one CometBFT."""

    directory: Path

    @property
    def abci_socket(self) -> Path:
        """Where we listen for CometBFT."""
        return self.directory / "abci.sock"

    @property
    def rpc_socket(self) -> Path:
        """Where CometBFT listens for us."""
        return self.directory / "rpc.sock"

    @property
    def light_socket(self) -> Path:
        """Where we answer CometBFT's state sync about headers."""
        return self.directory / "light.sock"

    def node_id(self) -> str:
        """Return the node's name among its peers: 40 hexadecimal digits. Draws its key if there is none.

        Raises:
            ConfigurationError: the file is damaged.
        """
        path = self.directory / "config" / "node_key.json"
        if not path.exists():
            self._make_directories()
            seed = SecretBytes.random()
            _write(path, {"priv_key": _private_key(seed)})
        try:
            private = base64.b64decode(json.loads(path.read_bytes())["priv_key"]["value"])
        except (ValueError, KeyError, TypeError) as error:
            raise ConfigurationError(f"{path} is not a node key") from error
        return Validator(private[32:], 1).address.hex()

    def write(self, founding: Founding, settings: Settings, seed: SecretBytes, ledger_height: int = 0) -> None:
        """Write all that CometBFT reads, and forget sockets of an earlier run.

        Args:
            founding: Of the network.
            settings: Of this node.
            seed: Of the validator's key, 32 bytes. A key that is none of the validators' makes a node that follows.
            ledger_height: Of the newest block that the application has; 0 before the first.

        Raises:
            ConfigurationError: the validator's state is missing beside its blocks, or the blocks beside the ledger:
                CometBFT would start from nothing, and panic when it finds the application ahead.
        """
        self._require_blocks(ledger_height)
        self._make_directories()
        self.node_id()
        public = ValidatorKey(seed).public
        address = Validator(public, 1).address.hex().upper()
        _write(
            self.directory / "config" / "priv_validator_key.json",
            {"address": address, "pub_key": _public_key(public), "priv_key": _private_key(seed)},
        )
        _write(self.directory / "config" / "genesis.json", genesis(founding))
        _write_text(self.directory / "config" / "config.toml", self._config(settings))
        state = self.directory / "data" / "priv_validator_state.json"
        if not state.exists():
            if self._block_store.exists():
                raise ConfigurationError(
                    f"{state} is missing beside blocks: the validator cannot know what it signed; restore the file, "
                    "or start with an empty directory and a new validator key"
                )
            _write(state, _FIRST_STATE)
        self.rpc_socket.unlink(missing_ok=True)

    @property
    def _block_store(self) -> Path:
        return self.directory / "data" / "blockstore.db"

    def _require_blocks(self, ledger_height: int) -> None:
        if ledger_height and not self._block_store.exists():
            raise ConfigurationError(
                f"{self._block_store} is missing, and the ledger is at block {ledger_height}: restore both from one "
                "backup; or remove ledger.db and blocks.db as well, and keep priv_validator_state.json if you have it: "
                "then everything is fetched from the other nodes, if there are any"
            )

    def _statesync(self, sync: StateSync | None) -> dict[str, object]:
        """Return the section. CometBFT wants two servers to compare; both are ours, whose answers we have verified."""
        if sync is None:
            return {"enable": False}
        return {
            "enable": True,
            "rpc_servers": ",".join([f"unix://{self.light_socket.absolute()}"] * 2),
            "trust_height": sync.height,
            "trust_hash": sync.hash.hex(),
            "trust_period": f"{sync.trusting_ns}ns",
            "discovery_time": "5s",
            "chunk_request_timeout": "10s",
            "temp_dir": str(self.directory.absolute() / "data"),
        }

    def begin_anew(self) -> None:
        """Forget CometBFT's blocks and state, so that it begins with a snapshot; what its validator signed is kept.

        CometBFT is not safe against a crash between restoring and its first block: it finds a state without blocks, and
        panics at every start. Whoever calls this owes that no block was applied on top of what is forgotten.
        """
        data = self.directory / "data"
        for name in _BLOCKS:
            shutil.rmtree(data / name, ignore_errors=True)

    def _make_directories(self) -> None:
        for directory in (self.directory, self.directory / "config", self.directory / "data"):
            directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.directory.chmod(0o700)

    def _config(self, settings: Settings) -> str:
        sections: dict[str, dict[str, object]] = {
            "": {
                "proxy_app": f"unix://{self.abci_socket.absolute()}",
                "abci": "socket",
                "moniker": self.node_id()[:12],
                "log_level": settings.log_level,
                "log_format": "json",
            },
            "rpc": {
                "laddr": ",".join(
                    [f"unix://{self.rpc_socket.absolute()}", *([f"tcp://{settings.rpc}"] if settings.rpc else [])]
                ),
                "unsafe": False,
                "max_body_bytes": MAX_BODY,
                "max_request_batch_size": MAX_BATCH,
            },
            "p2p": {
                "laddr": f"tcp://{settings.p2p_host}:{settings.p2p_port}",
                "persistent_peers": ",".join(settings.peers),
                # CometBFT takes forty connections; strangers could hold all of them, and so could a larger network.
                "unconditional_peer_ids": ",".join(peer.partition("@")[0] for peer in settings.peers),
                "addr_book_strict": False,
                "allow_duplicate_ip": True,
                "flush_throttle_timeout": "10ms",
            },
            "mempool": {
                "size": MAX_WAITING,
                "max_txs_bytes": MAX_WAITING_BYTES,
                "max_tx_bytes": MAX_TRANSACTION,
                "recheck_timeout": "10s",
            },
            "consensus": {
                "timeout_commit": _duration(settings.commit_s),
                "create_empty_blocks": False,
                "create_empty_blocks_interval": _duration(settings.heartbeat_s),
                "peer_gossip_sleep_duration": "10ms",
            },
            "statesync": self._statesync(settings.sync),
            "storage": {"discard_abci_responses": True},
            "tx_index": {"indexer": "null"},
            "instrumentation": {
                "prometheus": bool(settings.prometheus),
                "prometheus_listen_addr": settings.prometheus,
                "namespace": "cometbft",
            },
        }
        return "\n".join(_section(name, values) for name, values in sections.items())


def genesis(founding: Founding) -> dict[str, object]:
    """Return CometBFT's genesis of a network: the same at every node, as the network id vouches for all it says."""
    return {
        "genesis_time": write_time(founding.time_ns),
        "chain_id": founding.chain_id,
        "initial_height": "1",
        "consensus_params": {
            "block": {"max_bytes": str(MAX_BLOCK_BYTES), "max_gas": "-1"},
            "evidence": {
                "max_age_num_blocks": str(EVIDENCE_BLOCKS),
                "max_age_duration": str(_EVIDENCE_AGE_NS),
                "max_bytes": "1048576",
            },
            "validator": {"pub_key_types": ["ed25519"]},
            "version": {"app": "0"},
            "abci": {"vote_extensions_enable_height": "0"},
        },
        "validators": [
            {
                "address": item.address.hex().upper(),
                "pub_key": _public_key(item.public_key),
                "power": str(item.power),
                "name": "",
            }
            for item in founding.validators.validators
        ],
        "app_hash": "",
    }


def _section(name: str, values: dict[str, object]) -> str:
    head = f"[{name}]\n" if name else ""
    return head + "".join(f"{key} = {json.dumps(value)}\n" for key, value in values.items())


def _duration(seconds: float) -> str:
    return f"{round(seconds * 1000)}ms"


def _public_key(public: bytes) -> dict[str, str]:
    return {"type": "tendermint/PubKeyEd25519", "value": base64.b64encode(public).decode()}


def _private_key(seed: SecretBytes) -> dict[str, str]:
    """Return Go's spelling of a private key: seed and public key. This file is where CometBFT wants it."""
    both = seed.reveal() + ValidatorKey(seed).public
    return {"type": "tendermint/PrivKeyEd25519", "value": base64.b64encode(both).decode()}


def _write(path: Path, content: dict[str, object]) -> None:
    _write_text(path, json.dumps(content, indent=1) + "\n")


def _write_text(path: Path, text: str) -> None:
    """Replace a file in one step, readable by this user alone."""
    draft = path.with_name(f".{path.name}-{secrets.token_hex(4)}")
    draft.touch(mode=0o600)
    draft.write_text(text, encoding="utf-8")
    draft.replace(path)
