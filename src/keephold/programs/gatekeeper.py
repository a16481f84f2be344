"""The gatekeeper program: `python -m keephold.programs.gatekeeper --config gatekeeper.toml`.

It dials out to nodes and listens on nothing. Log lines that others wait for: `ready` (registered; with its identity)
and `speaking` (it answers requests).
"""

from __future__ import annotations

import logging
import sys
from typing import Final

from keephold.attestation.platforms.base import Platform
from keephold.gatekeeper.service import Gatekeeper
from keephold.programs.enclaves import EnclaveConfig, PlatformConfig, attend, begin, choose_platform, main_of

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
    session = begin(_LOG, config, platform, "gatekeeper")
    gatekeeper = Gatekeeper(session)
    try:
        await attend(_LOG, session, gatekeeper.run())
    finally:
        gatekeeper.wipe()


def main() -> int:
    """Run as configured."""
    return main_of(__doc__ or "", GatekeeperFile, lambda config: run(config, choose_platform(config.platform)))


if __name__ == "__main__":
    sys.exit(main())
