"""What a devnet's enclaves measure as: a hash of this package's sources and of the guest.

Real measurements cover the whole image. This one moves when the code moves, which is what development needs of it: a
changed keephold is another build, refused by a genesis that names the old one, unable to open what the old one sealed.

    python -m keephold.testing.build worker        prints it, for whoever starts a simulated enclave by hand
"""

from __future__ import annotations

import argparse
import hashlib
import sys
from functools import cache
from pathlib import Path
from typing import Final

from keephold.protocol.evidence import Role
from keephold.runtime.artefact import guest_artefact, silent
from keephold.testing.vendor import SgxBuild

_PACKAGE: Final = Path(__file__).parent.parent
_UNMEASURED: Final = ("cli", "client", "testing")
"""Packages that no enclave runs."""


@cache
def source_hash() -> bytes:
    """Return the 32-byte hash of the sources that enclaves run, as they were when this process first asked."""
    digest = hashlib.sha256()
    for path in sorted(_PACKAGE.rglob("*.py")):
        name = path.relative_to(_PACKAGE)
        if name.parts[0] in _UNMEASURED:
            continue
        content = path.read_bytes()
        digest.update(f"{name}\0{len(content)}\0".encode() + content)
    return digest.digest()


def build_of(role: Role, guest: bytes) -> SgxBuild:
    """Return the build of a role: sources, and for workers the guest they run."""
    part = guest if role == "worker" else b""
    return SgxBuild(hashlib.sha256(b"simulated/1\0" + role.encode() + b"\0" + source_hash() + part).digest())


def main() -> int:
    """Print what a role's simulated enclave measures as: its MRENCLAVE, 64 hexadecimal digits."""
    parser = argparse.ArgumentParser(description="What a simulated enclave of this installation measures as.")
    parser.add_argument("role", choices=("worker", "gatekeeper"))
    role: Role = parser.parse_args().role
    sys.stdout.write(build_of(role, guest_artefact(silent).sha256).mr_enclave.hex() + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
