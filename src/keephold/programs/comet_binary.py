"""The operator's CometBFT: found by name, asked for its version, refused when it is one that we were not tested with.

v0.38 and v0.39 speak the same ABCI. v1.x speaks another, and `@latest` resolves to an abandoned branch of it, which is
why every message here names a version.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from keephold.base.errors import ConfigurationError

INSTALL: Final = "go install github.com/cometbft/cometbft/cmd/cometbft@v0.38.25"
"""How one is built; Go puts it into ~/go/bin."""

_SUPPORTED: Final = (("0", "38"), ("0", "39"))
_VERSION: Final = re.compile(r"v?(\d+)\.(\d+)\.(\d+)\S*")
_SECONDS: Final = 10.0
_SHOWN: Final = 60


@dataclass(frozen=True, slots=True)
class CometBinary:
    """A CometBFT of this machine."""

    path: Path
    version: str
    """As it says itself, e.g. `0.38.25`."""

    @property
    def is_supported(self) -> bool:
        """Whether a node runs with it."""
        return tuple(self.version.split(".")[:2]) in _SUPPORTED


def look(name: str) -> CometBinary:
    """Return the CometBFT of a name or path, supported or not.

    Raises:
        ConfigurationError: there is none, or what is there does not say a version.
    """
    found = shutil.which(name)
    if found is None:
        raise ConfigurationError(
            f"there is no program {name!r}: `{INSTALL}` builds it, into ~/go/bin; put that on PATH, or name the file "
            "(`cometbft.binary` in node.toml)"
        )
    try:
        said = subprocess.run(  # noqa: S603 - the binary that the operator configured
            [found, "version"], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=_SECONDS
        )
    except (OSError, ValueError, subprocess.TimeoutExpired) as error:
        raise ConfigurationError(f"{found} does not say its version: {error}") from error
    version = said.stdout.strip()
    if said.returncode or not (matched := _VERSION.fullmatch(version)):
        raise ConfigurationError(f"{found} is no CometBFT: asked for its version it says {version[:_SHOWN]!r}")
    return CometBinary(Path(found), matched.group().removeprefix("v"))


def require(name: str) -> CometBinary:
    """Return the CometBFT of a name or path.

    Raises:
        ConfigurationError: there is none, or of a version that is not supported.
    """
    try:
        binary = look(name)
    except ConfigurationError as error:
        raise ConfigurationError(f"cometbft.binary: {error}") from error
    if not binary.is_supported:
        raise ConfigurationError(
            f"cometbft.binary: {binary.path} is v{binary.version}; v0.38 and v0.39 are supported: `{INSTALL}`"
        )
    return binary
