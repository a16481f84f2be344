"""The real CometBFT for devnets and tests: a version by name, built once by Go from the module proxy into the cache.

Go checks what it fetches against its checksum database. Production does not come here: there the operator names a
binary of his own.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Final

from keephold.base.errors import ConfigurationError
from keephold.runtime.artefact import cache_directory

VERSION: Final = "v0.38.25"
"""Never `@latest`: that resolves to an abandoned v1.0.1 without later security fixes."""

NEXT: Final = "v0.39.4"
"""Speaks the same ABCI; needs Go 1.25."""

_PACKAGE: Final = "github.com/cometbft/cometbft/cmd/cometbft"


def comet_binary(version: str = VERSION, *, progress: Callable[[str], None] | None = None) -> Path:
    """Return a CometBFT, building it at first: half a minute, of which `progress` is told.

    Raises:
        ConfigurationError: there is no Go, or it cannot build; with what it said.
    """
    directory = cache_directory() / "bin"
    binary = directory / f"cometbft-{version}"
    directory.mkdir(parents=True, exist_ok=True)
    with (directory / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not binary.exists():
            _build(f"{_PACKAGE}@{version}", binary, progress or (lambda _: None))
    return binary


def _build(package: str, binary: Path, progress: Callable[[str], None]) -> None:
    go = shutil.which("go")
    if go is None:
        raise ConfigurationError(f"CometBFT is built by Go, which is not installed: get it, for `go install {package}`")
    progress(f"building CometBFT {package.rpartition('@')[2]} with Go (once, about half a minute)")
    with tempfile.TemporaryDirectory(dir=binary.parent) as scratch:
        built = subprocess.run(
            [go, "install", package],
            env={**os.environ, "GOBIN": scratch},
            cwd=scratch,
            capture_output=True,
            text=True,
            check=False,
        )
        if built.returncode:
            raise ConfigurationError(f"go install {package}: {built.stderr.strip()}")
        (Path(scratch) / "cometbft").replace(binary)
