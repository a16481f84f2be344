"""The programs of a devnet and their configuration files, as an operator would write them."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from keephold.client.pinned import GENESIS
from keephold.crypto.hashing import framed, sha256
from keephold.crypto.labels import KEY_CACHE
from keephold.ledger.engines.embedded import DEFAULT_HEARTBEAT
from keephold.programs.cometbft import CometConfig
from keephold.programs.members import Address, found
from keephold.protocol.codec import decode
from keephold.protocol.genesis import Genesis
from keephold.runtime import machine
from keephold.runtime.artefact import GuestArtefact, Progress, cache_directory, silent
from keephold.runtime.cache import CompiledCache
from keephold.testing.build import build_of
from keephold.testing.ceremony import VALIDATOR_SEED, Shape, members, new_seed
from keephold.testing.supervisor import Program
from keephold.testing.vendor import DevelopmentVendor, Machine

_NODE: Final = "keephold.programs.node"
_ENCLAVE: Final = "keephold.testing.enclave"
_COMMIT_SECONDS: Final = 0.1
"""How long CometBFT waits for late votes: on one machine there are none."""

_KEPT_BUILDS: Final = 4
"""Builds of keephold whose compiled guests are kept for each machine, 38 MB each."""


@dataclass(frozen=True, slots=True)
class Consensus:
    """How CometBFT runs on a devnet."""

    binary: Path
    ports: tuple[int, ...]
    """On which the nodes listen for each other, one for each."""
    rpc_ports: tuple[int, ...]
    """Of CometBFT's own RPC, one for each."""


def of_devnet(
    directory: Path,
    vendor: DevelopmentVendor,
    machines: Path,
    host: str,
    ports: Sequence[int],
    shape: Shape,
    guest: bytes,
    consensus: Consensus | None = None,
) -> Iterator[Program]:
    """Yield the programs in the order in which they start; their configuration files are written.

    Args:
        directory: of the devnet.
        vendor: who makes the simulated machines.
        machines: directory with the vendor's seed.
        host: where the nodes listen.
        ports: where the nodes listen, one for each validator.
        shape: how many of what.
        guest: SHA-256 of the guest artefact.
        consensus: of a devnet on CometBFT.

    Raises:
        ConfigurationError: two ports are one.
    """
    if consensus is not None:
        yield from _cluster(directory, host, ports, shape, consensus)
    else:
        yield _alone(directory, host, ports[0])
    nodes = [f"http://{host}:{port}" for port in ports]
    for name in (f"g{number}" for number in range(shape.gatekeepers)):
        yield gatekeeper(directory, machines, name, nodes, guest)
    enclave = build_of("worker", guest).mr_enclave
    for name in (f"w{number}" for number in range(shape.workers)):
        config = {**_enclave(directory, name, nodes), "cache": _cache(vendor, name, enclave)}
        yield _simulated(directory, machines, name, "worker", config, enclave)


def _alone(directory: Path, host: str, port: int) -> Program:
    (name,) = Shape().nodes
    node = {
        "genesis": directory / GENESIS,
        "home": directory / name,
        "validator_key": directory / VALIDATOR_SEED,
        "host": host,
        "port": port,
    }
    return Program(name, _NODE, ("--config", _written(directory / f"{name}.toml", node)))


def _cluster(directory: Path, host: str, ports: Sequence[int], shape: Shape, consensus: Consensus) -> Iterator[Program]:
    genesis = decode((directory / GENESIS).read_bytes(), Genesis)
    addresses = [
        Address(api, p2p, host, rpc) for api, p2p, rpc in zip(ports, consensus.ports, consensus.rpc_ports, strict=True)
    ]
    options = CometConfig(binary=str(consensus.binary), commit=_COMMIT_SECONDS)
    configurations = found(members(directory, shape), addresses, genesis, options, DEFAULT_HEARTBEAT)
    for name, path in zip(shape.nodes, configurations, strict=True):
        yield Program(name, _NODE, ("--config", str(path)))


def gatekeeper(directory: Path, machines: Path, name: str, nodes: list[str], guest: bytes) -> Program:
    """Return one gatekeeper's program, on a machine and of an operator of its own; see `of_devnet`."""
    config = _enclave(directory, name, nodes)
    return _simulated(directory, machines, name, "gatekeeper", config, build_of("gatekeeper", guest).mr_enclave)


def prepare_caches(vendor: DevelopmentVendor, guest: GuestArtefact, shape: Shape, progress: Progress) -> None:
    """Compile the guest for workers that have not run this build yet: seconds, told as they pass, once for all.

    Entries are sealed to machine and build, which makes another build's entries worth nothing here: the oldest go.
    """
    build = build_of("worker", guest.sha256)
    compiled: list[bytes] = []

    def compile_once(wasm: bytes) -> bytes:
        if not compiled:
            compiled.append(machine.compile_component(wasm))
        return compiled[0]

    for name in (f"w{number}" for number in range(shape.workers)):
        directory = _cache(vendor, name, build.mr_enclave)
        if directory.exists():
            continue
        kept = sorted(directory.parent.glob(f"{name}-*"), key=lambda path: path.stat().st_mtime, reverse=True)
        for stale in kept[_KEPT_BUILDS - 1 :]:
            shutil.rmtree(stale, ignore_errors=True)
        key = vendor.platform(Machine.named(name), build).sealing_key(framed(KEY_CACHE))
        CompiledCache(directory, key, compile_once).guest(guest, progress if not compiled else silent).close()


def _cache(vendor: DevelopmentVendor, name: str, enclave: bytes) -> Path:
    return cache_directory() / "compiled" / sha256(vendor.root_der).hex()[:16] / f"{name}-{enclave.hex()[:16]}"


def environment() -> dict[str, str]:
    """Return the environment of a devnet's programs: this one's, and bytecode kept somewhere.

    Five programs that compile their imports at each start take twice as long to come up. Where bytecode is not to be
    written beside the sources, it is written to the cache.
    """
    variables = dict(os.environ)
    if variables.pop("PYTHONDONTWRITEBYTECODE", ""):
        variables["PYTHONPYCACHEPREFIX"] = str(cache_directory() / "bytecode")
    return variables


def _enclave(directory: Path, name: str, nodes: list[str]) -> dict[str, object]:
    seed = directory / f"operator-{name}.seed"
    new_seed(seed)
    return {"nodes": nodes, "genesis": directory / GENESIS, "home": directory / name, "operator_seed": seed}


def _simulated(
    directory: Path, machines: Path, name: str, role: str, config: Mapping[str, object], enclave: bytes
) -> Program:
    path = _written(directory / f"{name}.toml", config)
    arguments = ("--config", path, "--vendor", str(machines), "--machine", name, "--enclave", enclave.hex())
    return Program(name, _ENCLAVE, (role, *arguments))


def _written(path: Path, values: Mapping[str, object]) -> str:
    """Write flat TOML; a JSON string, number or list of strings is spelled alike in TOML."""
    lines = [f"{key} = {json.dumps(value, default=str)}\n" for key, value in values.items()]
    path.write_text("".join(lines))
    return str(path)
