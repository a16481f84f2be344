"""The worker program: `python -m keephold.programs.worker --config worker.toml`.

It dials out to nodes and gateways and listens on nothing. Its execution processes inherit one end of a socket pair and
the compiled guest. The log line that others wait for: `ready` (registered; with its identity and instance).

It ends with the status of its error: 11 when a newer instance of its identity is registered or its disk was rolled
back, 7 when its lease ran out or its registration is refused for good. In every case its keys end with it.
"""

from __future__ import annotations

import asyncio
import logging
import sys
from pathlib import Path
from typing import Final

from keephold.attestation.platforms.base import Platform, SealingPlatform
from keephold.base.errors import ConfigurationError
from keephold.crypto.hashing import framed, sha256
from keephold.crypto.labels import KEY_CACHE
from keephold.crypto.secret import SecretBytes
from keephold.enclave.session import Session
from keephold.follower.http_remote import HttpRemote
from keephold.programs.enclaves import EnclaveConfig, PlatformConfig, attend, begin, choose_platform, main_of
from keephold.runtime.artefact import GuestArtefact, cache_directory, guest_artefact
from keephold.runtime.cache import CompiledCache, CompiledGuest
from keephold.worker.service import Worker

_LOG: Final = logging.getLogger("keephold.worker")


class WorkerConfig(EnclaveConfig, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a worker is told beside that."""

    cache: str
    """Directory of compiled guests; entries are authenticated under a key of the platform."""
    gateways: list[str] = []  # noqa: RUF012 - msgspec copies an empty default for each instance
    """Base URLs of gateways to hold lines to; the nodes, when empty."""


class WorkerFile(WorkerConfig, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The production program's file: the same, and the hardware."""

    platform: PlatformConfig


def open_guest(session: Session, platform: Platform, cache: Path) -> CompiledGuest:
    """Return the network's guest, compiled for this machine: from the cache, or now (seconds).

    Raises:
        ConfigurationError: the guest at hand is not the one that genesis names.
    """
    artefact = find_guest(session.view.genesis.guest)
    # A platform that cannot seal compiles at each boot: nothing on its disk is worth believing.
    key = platform.sealing_key(framed(KEY_CACHE)) if isinstance(platform, SealingPlatform) else SecretBytes.random()
    return CompiledCache(cache, key).guest(artefact, _LOG.info)


def find_guest(expected: bytes) -> GuestArtefact:
    """Return the guest with this hash: the one of this installation, or one that an earlier state of it left.

    Raises:
        ConfigurationError: neither is.
    """
    artefact = guest_artefact(_LOG.info)
    if artefact.sha256 == expected:
        return artefact
    for path in sorted(cache_directory().glob("guest-*.wasm")):
        if sha256(path.read_bytes()) == expected:
            return GuestArtefact(path, expected)
    raise ConfigurationError(f"the guest here is {artefact.sha256.hex()}, the network's is {expected.hex()}")


async def run(config: WorkerConfig, platform: Platform) -> None:
    """Run until SIGTERM, or until this worker must not go on.

    Raises:
        Superseded: a newer instance of this identity is registered.
        RollbackDetected: disk or ledger are older than what was seen.
        ChainRefused, LedgerRefused, ConfigurationError
    """
    session = begin(_LOG, config, platform, "worker")
    gateways = [HttpRemote(url) for url in config.gateways or config.nodes]
    try:
        with await asyncio.to_thread(open_guest, session, platform, Path(config.cache)) as guest:
            await attend(_LOG, session, Worker(session, gateways, guest).run())
    finally:
        for gateway in gateways:
            await gateway.aclose()


def main() -> int:
    """Run as configured."""
    return main_of(__doc__ or "", WorkerFile, lambda config: run(config, choose_platform(config.platform)))


if __name__ == "__main__":
    sys.exit(main())
