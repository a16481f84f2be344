"""The node: orders transactions, keeps the public ledger, serves the API and the gateway. Holds no enclave's secret.

`python -m keephold.programs.node --config node.toml`

One process: block production in a thread of its own, everything else on one event loop; with the engine `cometbft` a
CometBFT process beside it (`programs.cometbft`). When the engine fails, the node ends with a reason instead of serving
a ledger that has stopped. Whoever supervises it (`programs.supervisor`) is told that reason over a pipe.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import errno
import gc
import logging
import os
import resource
import signal
import socket
import sys
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Final, Literal, NoReturn, Protocol

import msgspec
import uvicorn
import uvloop

from keephold.api.machine import MachineApi
from keephold.api.metrics import Metrics
from keephold.api.people import PeopleApi
from keephold.base.clock import SystemClock
from keephold.base.errors import ConfigurationError, KeepholdError, PortTaken, UnavailableError
from keephold.base.ids import InstanceId, PublicKey
from keephold.chain.chain_id import chain_id
from keephold.crypto.ed25519 import ValidatorKey
from keephold.crypto.secret import SecretBytes
from keephold.gateway.hub import Hub
from keephold.gateway.service import GatewayService
from keephold.ledger.application import LedgerApplication
from keephold.ledger.engines.base import Engine
from keephold.ledger.engines.embedded import DEFAULT_HEARTBEAT, EmbeddedEngine
from keephold.ledger.housekeeping import Housekeeper
from keephold.ledger.reader import LedgerReader
from keephold.programs import web
from keephold.programs.cometbft import CometConfig, open_comet_engine
from keephold.programs.config import load, log_to_stderr, read_genesis
from keephold.programs.halts import diagnose
from keephold.programs.history import HistoryConfig, housekeeper, shelf_of
from keephold.programs.process import die_with_parent
from keephold.programs.restarts import Word
from keephold.protocol.state import Registration, registration_path

_LOG: Final = logging.getLogger("keephold.node")
_SHUTDOWN_SECONDS: Final = 2
_MAX_CONNECTIONS: Final = 4096
"""Beyond, a connection is answered 503 at once: running out of descriptors would stop the ledger's files too."""


class NodeConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`node.toml`. Paths that are not absolute are relative to the file (`read_config`)."""

    genesis: str
    """File with the canonical genesis."""
    home: str
    """Directory of the ledger and the block store."""
    validator_key: str
    """File with the 32-byte Ed25519 seed of this validator; created if absent is a validator nobody knows: refused."""
    host: str = "127.0.0.1"
    port: int = 7707
    """0 takes any free port; the readiness line names it."""
    heartbeat: float = DEFAULT_HEARTBEAT
    engine: Literal["embedded", "cometbft"] = "embedded"
    """What orders transactions: this process alone, or CometBFT with other nodes."""
    cometbft: CometConfig = CometConfig()
    """Of the engine `cometbft`."""
    history: HistoryConfig = HistoryConfig()
    """How far back transactions are kept, and snapshots for nodes that join."""


def read_config(path: Path) -> NodeConfig:
    """Return the configuration in a file, its paths made absolute.

    Raises:
        ConfigurationError: see `load`.
    """
    config = load(path, NodeConfig)
    place = path.absolute().parent
    return msgspec.structs.replace(
        config,
        genesis=str(place / config.genesis),
        home=str(place / config.home),
        validator_key=str(place / config.validator_key),
    )


class RunningEngine(Engine, Protocol):
    """An engine with its life."""

    @property
    def failure(self) -> BaseException | None:
        """What stopped the engine, if something did."""
        ...

    def start(self) -> None:
        """Begin to order transactions."""
        ...

    def stop(self) -> None:
        """End."""
        ...


def open_port(host: str, port: int) -> socket.socket:
    """Return a listening socket.

    Raises:
        PortTaken: another program listens there.
        ConfigurationError: the address is not this machine's.
    """
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(1024)
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            raise PortTaken(f"another program listens on {host}:{port}; give another port, or 0 for any") from error
        raise ConfigurationError(f"cannot listen on {host}:{port}: {error.strerror}") from error
    return listener


def open_ledger(config: NodeConfig) -> tuple[LedgerApplication, RunningEngine, Housekeeper]:
    """Return the ledger and its engine, brought up to what is stored, and who keeps house for them.

    Raises:
        KeepholdError: configuration, or a damaged ledger.
    """
    genesis = read_genesis(Path(config.genesis))
    home = Path(config.home)
    home.mkdir(parents=True, exist_ok=True)
    seed = read_validator_seed(Path(config.validator_key))
    ledger = LedgerApplication(genesis, home)
    # The state lives as long as the process, in millions of small objects. To look through them for cycles, as the
    # interpreter does now and then, stops every thread for seconds.
    gc.collect()
    gc.freeze()
    shelf = shelf_of(home)
    engine: RunningEngine
    if config.engine == "cometbft":
        engine = open_comet_engine(ledger, home, seed, config.cometbft, config.heartbeat, shelf)
        return ledger, engine, housekeeper(config.history, ledger, engine, shelf)
    engine = EmbeddedEngine(
        ledger,
        home,
        ValidatorKey(seed),
        chain_id=chain_id(ledger.network),
        genesis_ns=genesis.time_ns,
        validators=ledger.validators(),
        clock=SystemClock(),
        heartbeat=config.heartbeat,
    )
    return ledger, engine, housekeeper(config.history, ledger, engine, shelf)


def raise_descriptor_limit() -> None:
    """Let this process hold `_MAX_CONNECTIONS` and its own files, as far as the machine allows."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 2 * _MAX_CONNECTIONS if hard == resource.RLIM_INFINITY else min(2 * _MAX_CONNECTIONS, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))


async def serve(config: NodeConfig, listener: socket.socket) -> None:
    """Run until SIGTERM or SIGINT.

    Raises:
        Halted: the engine failed, and starting again would not cure it.
        KeepholdError: configuration, a damaged ledger, or another failure of the engine.
    """
    ledger, engine, keeper = open_ledger(config)
    reader = LedgerReader(ledger, engine)

    async def live_instance(identity: PublicKey) -> InstanceId | None:
        record = reader.record(registration_path(identity), Registration)
        return InstanceId(record.instance) if record is not None and record.status == "live" else None

    gateway = GatewayService(Hub(ledger.network, live_instance, SystemClock()))
    machine = MachineApi(reader, engine)
    endpoints = {**machine.endpoints, "query": gateway.query, "attach": gateway.attach, "answers": gateway.answers}
    streams = {**machine.streams, "queries": gateway.queries}
    routes = web.machine_routes(endpoints, streams) + web.people_routes(PeopleApi(reader, engine))
    routes.append(web.metrics_route(Metrics(reader, engine)))
    server = _Server(
        uvicorn.Config(
            web.application(routes),
            http=web.PromptProtocol,
            log_config=None,
            access_log=False,
            lifespan="off",
            timeout_graceful_shutdown=_SHUTDOWN_SECONDS,
            timeout_keep_alive=75,
            limit_concurrency=_MAX_CONNECTIONS,
        )
    )
    engine.start()
    keeper.start()
    host, port = listener.getsockname()[:2]
    _LOG.info("ready", extra={"url": f"http://{host}:{port}", "network": ledger.network.hex()})
    try:
        async with _watched(engine, server):
            await server.serve(sockets=[listener])
        if engine.failure is not None:
            said = f"the engine stopped: {engine.failure}"
            raise diagnose(said) or UnavailableError(said) from engine.failure
    finally:
        keeper.stop()
        engine.stop()
        ledger.close()


class _Server(uvicorn.Server):
    """A server whose signals are ours: open streams must not keep a node alive that was told to end."""

    @contextlib.contextmanager
    def capture_signals(self):  # type: ignore[no-untyped-def] # noqa: ANN202 - uvicorn's own signature
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._end)
        yield

    def _end(self) -> None:
        self.should_exit = True


@contextlib.asynccontextmanager
async def _watched(engine: RunningEngine, server: uvicorn.Server) -> AsyncGenerator[None, None]:
    """End the server when the engine fails."""

    async def watch() -> None:
        while engine.failure is None:  # noqa: ASYNC110 - the engine's thread owns no event of this loop
            await asyncio.sleep(0.2)
        server.should_exit = True

    watching = asyncio.create_task(watch())
    try:
        yield
    finally:
        watching.cancel()


def read_validator_seed(path: Path) -> SecretBytes:
    """Return the seed of the validator's key.

    Raises:
        ConfigurationError: no such file, or not 32 bytes.
    """
    try:
        seed = path.read_bytes()
    except OSError as error:
        raise ConfigurationError(f"validator_key: cannot read {path}: {error.strerror}") from error
    if len(seed) != 32:
        raise ConfigurationError(f"validator_key: {path} holds {len(seed)} bytes, not a 32-byte seed")
    return SecretBytes(seed)


def main() -> None:
    """Start the node of a configuration file."""
    parser = argparse.ArgumentParser(prog="keephold.programs.node", description="Run a keephold node.")
    parser.add_argument("--config", required=True, type=Path)
    parser.add_argument("--parent", type=int, help="process to end with: whoever supervises this one")
    parser.add_argument("--report", type=int, help="descriptor to write the last word to")
    given = parser.parse_args()
    log_to_stderr()
    if given.parent is not None:
        die_with_parent(given.parent)
    raise_descriptor_limit()
    try:
        config = read_config(given.config)
        with (
            open_port(config.host, config.port) as listener,
            asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner,
        ):
            runner.run(serve(config, listener))
    except KeepholdError as error:
        _end(error, given.report)
    except Exception as error:
        halted = diagnose(f"{type(error).__name__}: {error}")  # a disk that is full or damaged speaks through libraries
        if halted is None:
            raise
        _end(halted, given.report)


def _end(error: KeepholdError, report: int | None) -> NoReturn:
    """Say why, to people and to the supervisor, and end with the error's status."""
    _LOG.critical("stopped", extra={"code": error.code, "detail": str(error)})
    if report is not None:
        with contextlib.suppress(OSError):
            os.write(report, msgspec.json.encode(Word.of(error)))
    sys.exit(error.exit_status)


if __name__ == "__main__":
    main()
