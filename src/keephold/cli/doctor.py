"""`keephold doctor`: everything that a bug report needs, and nothing secret."""

from __future__ import annotations

import os
import platform
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final

from keephold.base.errors import KeepholdError
from keephold.cli.output import emit
from keephold.cli.place import SHARED, Shared
from keephold.client.pinned import PinnedNetwork, devnet_link, home
from keephold.crypto import ristretto
from keephold.crypto.hashing import sha256
from keephold.programs import comet_binary
from keephold.runtime import artefact
from keephold.version import __version__

_LIBRARIES: Final = (
    "apsw", "cbor2", "cffi", "cryptography", "cyclopts", "dcap-qvl", "httpx2", "msgspec", "protobuf",
    "py-sr25519-bindings", "rbcl", "rich", "starlette", "uvicorn", "uvloop", "wasmtime", "componentize-py",
)  # fmt: skip


def doctor(*, shared: Shared = SHARED) -> None:
    """Print versions, libraries, guest, cache and devnet of this machine."""
    facts: dict[str, object] = {
        "keephold": __version__,
        "python": f"{platform.python_implementation()} {platform.python_version()} ({sys.executable})",
        "platform": f"{platform.platform()} {platform.machine()}, {os.cpu_count()} processors",
        "libsodium": ristretto.library(),
        "guest": _guest(),
        "cache": str(artefact.cache_directory()),
        "home": str(home()),
        "devnet": _devnet(),
        "tee": _tee(),
        "cometbft": _comet(),
        "libraries": {name: _version(name) for name in _LIBRARIES},
    }
    lines = [f"{name:<10} {value}" for name, value in facts.items() if name != "libraries"]
    lines.append("libraries  " + "  ".join(f"{name} {_version(name)}" for name in _LIBRARIES))
    emit(facts, "\n".join(lines), as_json=shared.json)


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"


def _guest() -> str:
    directory = artefact.cache_directory()
    built = sorted(directory.glob("guest-*.wasm"), key=lambda path: path.stat().st_mtime) if directory.is_dir() else []
    if not built:
        return "not built yet: `keephold devnet` builds it once, unless it came with the package"
    return f"{sha256(built[-1].read_bytes()).hex()} ({built[-1]})"


def _devnet() -> str:
    link = devnet_link()
    if not link.exists():
        return "none running"
    try:
        pinned = PinnedNetwork.read(link.resolve())
    except KeepholdError as error:
        return str(error)
    return f"{pinned.url} in {pinned.directory}, network {pinned.id.hex()}"


def _comet() -> str:
    try:
        found = comet_binary.look("cometbft")
    except KeepholdError as error:
        return str(error)
    support = "supported" if found.is_supported else f"not supported: `{comet_binary.INSTALL}`"
    return f"v{found.version} ({found.path}), {support}"


def _tee() -> str:
    """Return which TEE interfaces this machine shows; what they are worth only a verified quote says."""
    places = {
        "tdx (configfs-tsm)": "/sys/kernel/config/tsm/report",
        "tdx guest": "/dev/tdx_guest",
        "gramine": "/dev/attestation/quote",
        "sgx": "/dev/sgx_enclave",
        "dstack": "/var/run/dstack.sock",
    }
    return ", ".join(name for name, path in places.items() if Path(path).exists()) or "none"
