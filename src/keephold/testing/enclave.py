"""A simulated enclave: the production program of a role, on a machine of the development vendor.

    python -m keephold.testing.enclave worker --config worker.toml --vendor DIR --machine w0 --enclave HEX

A processor would measure the code it loads; here whoever starts the program says what it measures as. That is why this
is another program, and why nothing that production starts can be configured into it.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Coroutine
from pathlib import Path

from keephold.attestation.platforms.base import Platform
from keephold.programs.config import load
from keephold.programs.enclaves import run_program
from keephold.testing.vendor import DevelopmentVendor, Machine, SgxBuild


def main() -> int:
    """Run a role until it ends."""
    parser = argparse.ArgumentParser(description="A simulated enclave of a devnet.")
    parser.add_argument("role", choices=("worker", "gatekeeper"))
    parser.add_argument("--config", type=Path, required=True, help="TOML file of the role's program")
    parser.add_argument("--vendor", type=Path, required=True, help="directory of the development vendor")
    parser.add_argument("--machine", required=True, help="name of the simulated computer")
    parser.add_argument("--enclave", required=True, help="MRENCLAVE, 64 hexadecimal digits")
    given = parser.parse_args()

    async def start() -> None:
        vendor = DevelopmentVendor.create_or_load(given.vendor)
        platform = vendor.platform(Machine.named(given.machine), SgxBuild(bytes.fromhex(given.enclave)))
        await _program(given.role, given.config, platform)

    return run_program(start, bound=False)


def _program(role: str, config: Path, platform: Platform) -> Coroutine[object, object, None]:
    # A gatekeeper loads no runtime: each role imports its own program only.
    if role == "gatekeeper":
        from keephold.programs.gatekeeper import GatekeeperConfig
        from keephold.programs.gatekeeper import run as keep

        return keep(load(config, GatekeeperConfig), platform)
    from keephold.programs.worker import WorkerConfig
    from keephold.programs.worker import run as work

    return work(load(config, WorkerConfig), platform)


if __name__ == "__main__":
    sys.exit(main())
