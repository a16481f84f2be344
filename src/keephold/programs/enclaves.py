"""What the worker's and the gatekeeper's program have in common: options, the choice of platform, signals, the end.

The platform is an argument of each program's `run`. The `main` of a production program chooses among the platforms
below by configuration; a simulated one is not among them, so no configuration leads there.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import logging
import os
import signal
from collections.abc import Callable, Coroutine, Iterable
from pathlib import Path
from typing import Final, Literal, TypeVar

import msgspec
import uvloop

from keephold.attestation.platforms.base import Platform
from keephold.attestation.platforms.dstack import DstackKmsPlatform, DstackPlatform
from keephold.attestation.platforms.gramine import GraminePlatform
from keephold.attestation.platforms.tdx import TdxPlatform
from keephold.base.clock import SystemClock
from keephold.base.errors import KeepholdError
from keephold.enclave.session import Session
from keephold.follower.http_remote import HttpRemote
from keephold.programs.config import event, load, log_to_stderr, read_genesis, read_signing_key
from keephold.programs.process import die_with_parent, harden
from keephold.protocol.evidence import Role

_LOG: Final = logging.getLogger("keephold.program")


class EnclaveConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What every enclave program is told. Not trusted: the host writes it; a wrong value stops, it does not leak."""

    nodes: list[str]
    """Base URLs, tried in order."""
    genesis: str
    """File with the canonical genesis. Its hash is the network, which everything is derived from and bound to."""
    home: str
    """Directory of the sealed disk."""
    operator_seed: str
    """File with the operator's seed: the account that answers for this machine."""


class PlatformConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Which hardware this runs on."""

    kind: Literal["tdx", "gramine", "dstack", "dstack-kms"]
    vendor: str
    """The policy's name of the vendor."""


F = TypeVar("F", bound=EnclaveConfig)


def choose_platform(config: PlatformConfig) -> Platform:
    """Return the platform that the configuration names.

    Raises:
        ConfigurationError: this is not such a machine.
    """
    match config.kind:
        case "tdx":
            return TdxPlatform(vendor=config.vendor)
        case "gramine":
            return GraminePlatform(vendor=config.vendor)
        case "dstack":
            return DstackPlatform(vendor=config.vendor, environment=os.environ)
        case "dstack-kms":
            return DstackKmsPlatform(vendor=config.vendor, environment=os.environ)


def begin(logger: logging.Logger, config: EnclaveConfig, platform: Platform, role: Role) -> Session:
    """Return a session that is ready to run, and log so.

    Raises:
        ConfigurationError, EnclaveError
    """
    session = Session(
        genesis=read_genesis(Path(config.genesis)),
        remotes=[HttpRemote(url) for url in config.nodes],
        platform=platform,
        operator=read_signing_key(Path(config.operator_seed)),
        role=role,
        home=Path(config.home),
        clock=SystemClock(),
    )
    event(
        logger,
        "starting",
        identity=session.identity,
        network=session.network,
        platform=platform.name,
        nodes=config.nodes,
    )
    return session


async def attend(logger: logging.Logger, session: Session, work: Coroutine[object, object, None]) -> None:
    """Run `work` of a session until it raises or a signal ends it; log `ready` once the session is registered."""

    async def announce() -> None:
        await session.registrar.wait_registered()
        event(logger, "ready", identity=session.identity, instance=session.instance.id)

    announcement = asyncio.ensure_future(announce())
    try:
        await until_signal(work)
    finally:
        announcement.cancel()


async def until_signal(work: Coroutine[object, object, None]) -> None:
    """Run `work` until it raises, or until SIGTERM or SIGINT ends it in good order."""
    task = asyncio.ensure_future(work)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, task.cancel)
    try:
        with contextlib.suppress(asyncio.CancelledError):
            await task
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)


def options(description: str, arguments: Iterable[str] | None = None) -> argparse.Namespace:
    """Return `--config` and `--die-with-parent`."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--config", type=Path, required=True, help="TOML file")
    parser.add_argument("--die-with-parent", action="store_true", help="end when the process that started this ends")
    return parser.parse_args(None if arguments is None else list(arguments))


def main_of(description: str, kind: type[F], run: Callable[[F], Coroutine[object, object, None]]) -> int:
    """Run a production program with the configuration file that its command line names; return its exit status."""
    given = options(description)

    async def start() -> None:
        await run(load(given.config, kind))

    return run_program(start, bound=given.die_with_parent)


def run_program(start: Callable[[], Coroutine[object, object, None]], *, bound: bool) -> int:
    """Run a program to its end; return its exit status. Each reason to end has its code in the last log line.

    `bound`: end with the parent.
    """
    log_to_stderr()
    harden()
    if bound:
        die_with_parent()
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(start())
    except KeepholdError as error:
        _LOG.critical("stopped", exc_info=error)
        return error.exit_status
    _LOG.info("stopped by signal")
    return 0
