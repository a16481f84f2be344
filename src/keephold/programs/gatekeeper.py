"""The gatekeeper program: `python -m keephold.programs.gatekeeper --config gatekeeper.toml`.

It dials out to nodes and listens on nothing. Log lines that others wait for: `ready` (registered; with its identity)
and `speaking` (it answers requests).
"""

from __future__ import annotations

import asyncio
import logging
import sys
from pathlib import Path
from typing import Final

from keephold.attestation.platforms.base import Platform
from keephold.enclave.session import Session
from keephold.gatekeeper.service import Gatekeeper
from keephold.programs.config import event, load
from keephold.programs.enclaves import (
    EnclaveConfig,
    PlatformConfig,
    choose_platform,
    open_session,
    options,
    run_program,
    until_signal,
)

_LOG: Final = logging.getLogger("keephold.gatekeeper")


class GatekeeperConfig(EnclaveConfig, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Nothing beside what every enclave is told."""


class GatekeeperFile(GatekeeperConfig, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The production program's file: the same, and the hardware."""

    platform: PlatformConfig


async def run(config: GatekeeperConfig, platform: Platform) -> None:
    """Run until SIGTERM, or until this gatekeeper must not go on.

    Raises:
        Superseded: a newer instance of this identity is registered.
        RollbackDetected: disk or ledger are older than what was seen.
        ChainRefused, LedgerRefused, ConfigurationError
    """
    session = open_session(config, platform, "gatekeeper")
    gatekeeper = Gatekeeper(session)
    event(
        _LOG, "starting", identity=session.identity, network=session.network, platform=platform.name, nodes=config.nodes
    )
    announcement = asyncio.ensure_future(_announce(session))
    try:
        await until_signal(gatekeeper.run())
    finally:
        announcement.cancel()
        gatekeeper.wipe()


async def _announce(session: Session) -> None:
    await session.registrar.wait_registered()
    event(_LOG, "ready", identity=session.identity, instance=session.instance.id)


def main() -> int:
    """Run as configured."""
    given = options(__doc__ or "")
    return run_program(lambda: _from_file(given.config), bound=given.die_with_parent)


async def _from_file(path: Path) -> None:
    config = load(path, GatekeeperFile)
    await run(config, choose_platform(config.platform))


if __name__ == "__main__":
    sys.exit(main())
